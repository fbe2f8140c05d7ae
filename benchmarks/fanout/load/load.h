/* The load of the fan-out benchmark: one program, one thread, three roles.
 *
 *   load kite     a Kite-like broker: sends binary quotes to whoever subscribes
 *   load publish  the same ticks as ready-made JSON, for peers that carry opaque messages
 *   load clients  C WebSocket clients that count and time what reaches them
 *
 * Each role is driven by lines on stdin, answers with one JSON object a line on stdout, and ends
 * with its stdin. Every tick carries two numbers through the system under test: the time of its
 * making (CLOCK_MONOTONIC microseconds modulo 2^32, in "volume") and how many ticks its symbol has
 * had (in "last_trade_quantity"), so that delay and loss are read from the messages themselves.
 */
#ifndef LOAD_H
#define LOAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct options {
    int port;            /* the peer's; 0 for the kite role, which takes a free one */
    int symbols;         /* SYM00000 ... */
    int clients;
    int each;            /* symbols of one client, drawn anew for each; 0: all of them */
    int stallable;       /* the first of the clients, which the command "stall" stops reading */
    int batch;           /* ticks in one message of the feed */
    int packet;          /* bytes of a Kite packet: 44 quote, 184 full */
    int watch;           /* process whose CPU time is read together with the counters */
    const char *dialect; /* openalgo, plain or nats; lines or nats for publish */
    const char *api_key;
};

int run_kite(const struct options *options);
int run_publish(const struct options *options);
int run_clients(const struct options *options);

/* ---- process.c: time, failure, commands */

uint64_t now_us(void);
/* CPU time, user and system, of a whole process; 0 means this one. */
uint64_t cpu_ns(pid_t pid);
_Noreturn void die(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* Next complete line of stdin without its end, or NULL; call it when stdin is readable and until NULL.
 * Ends the process at end of file, so that no load outlives its harness. */
char *next_command(bool readable);

/* ---- histogram.c: delays in microseconds, 1.6 % wide buckets */

enum { HISTOGRAM_BUCKETS = 64 + 26 * 64 };

struct histogram {
    uint64_t count;
    uint32_t max;
    uint32_t bucket[HISTOGRAM_BUCKETS];
};

static inline void histogram_add(struct histogram *h, uint32_t us)
{
    unsigned shift = us < 64 ? 0 : 26u - (unsigned)__builtin_clz(us);
    h->bucket[us < 64 ? us : shift * 64 + (us >> (shift - 1) & 63)]++;
    h->count++;
    if (us > h->max) h->max = us;
}
/* Upper edge of the bucket that holds the quantile q. */
uint32_t histogram_at(const struct histogram *h, double q);

/* ---- socket.c */

int dial(int port, int receive_buffer);
int listen_any(int *port);
int accept_one(int listener);
/* Writes everything, waiting for room up to 10 s; false when the peer is gone. */
bool send_all(int fd, const void *data, size_t size);

/* ---- websocket.c */

enum opcode { OP_CONTINUE = 0, OP_TEXT = 1, OP_BINARY = 2, OP_CLOSE = 8, OP_PING = 9, OP_PONG = 10 };

/* Cuts a byte stream into the payloads of its frames, however the reads are cut. */
struct unframer {
    uint64_t left;      /* payload bytes of the current frame still to come */
    uint8_t header[14];
    uint8_t got;        /* header bytes so far */
    bool inside;        /* the header is complete */
    uint8_t turn;       /* position in the mask */
};

struct span {
    uint8_t *data;
    size_t size;
    enum opcode opcode;
    bool ends;          /* this span completes the message */
};

/* Takes the next piece of payload off *data; false when the bytes are used up. Unmasks in place. */
bool next_span(struct unframer *u, uint8_t **data, size_t *size, struct span *out);
size_t frame_header(uint8_t *out, enum opcode opcode, size_t size);
bool send_masked(int fd, enum opcode opcode, const void *payload, size_t size);
void upgrade_request(char *out, size_t room, int port);
/* The 101 answer to a complete request; false when the request has no key. */
bool upgrade_answer(const char *request, char *out, size_t room);

/* ---- feed.c: batches of ticks, at a fixed rate or as fast as they are taken */

struct sink {
    int fd;
    int *symbols;       /* fed in turn */
    int count, next;
    uint8_t *pending;   /* made, not yet taken by the socket */
    size_t begin, end, room;
};

struct feed;
/* Writes one batch of ticks to out, returns its size. */
typedef size_t (*batch_writer)(struct feed *feed, struct sink *sink, uint8_t *out);

struct feed {
    batch_writer write;
    size_t batch_room;  /* bytes that one batch takes at most */
    int batch;
    int symbols;
    struct sink *sinks;
    int sink_count;
    uint32_t *made;     /* ticks so far, by symbol */
    uint64_t ticks;
    bool running;
    double rate;        /* ticks a second; 0: as fast as the sockets take them */
    uint64_t since, batches, behind;
};

void feed_init(struct feed *feed, batch_writer write, size_t batch_room, const struct options *options);
/* Obeys "run RATE" and "halt"; true when the line was one of them. */
bool feed_command(struct feed *feed, const char *line);
/* Sends what is due and what is pending; returns microseconds until the next batch, or -1 for none. */
int64_t feed_pump(struct feed *feed);
/* Picks the sink's next symbol and counts its tick. */
int feed_next(struct feed *feed, struct sink *sink);

#endif
