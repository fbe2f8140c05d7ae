#include "load.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

/* Token of symbol i, as the harness lists it: exchange token 1000 + i, segment 1 (NSE). */
enum { FIRST_TOKEN = 1000, SEGMENT = 1, MAX_SOCKETS = 16, HEARTBEAT_US = 1000000 };

static struct sink sinks[MAX_SOCKETS];
static struct reader {
    struct unframer in;
    char *text; /* the request, later the current message */
    size_t used, room;
    bool upgraded;
} readers[MAX_SOCKETS];
static struct feed feed = {.sinks = sinks};
static int packet_size;

static void put(uint8_t **out, uint32_t value, int bytes)
{
    for (int i = bytes - 1; i >= 0; i--) *(*out)++ = (uint8_t)(value >> 8 * i);
}

/* Kite Connect v3: count, then length and packet each; see the offsets in Kite's documentation. Prices
 * end in 5 paise, as on the exchange, and so have the same width in every message. */
static size_t write_packets(struct feed *f, struct sink *sink, uint8_t *out)
{
    size_t size = 2 + (size_t)f->batch * (2 + (size_t)packet_size);
    uint8_t *at = out + frame_header(out, OP_BINARY, size);
    uint32_t stamp = (uint32_t)now_us();
    put(&at, (uint32_t)f->batch, 2);
    for (int i = 0; i < f->batch; i++) {
        int symbol = feed_next(f, sink);
        uint32_t count = f->made[symbol], price = 150005 + (count * 7 + (uint32_t)symbol) % 400 * 10;
        put(&at, (uint32_t)packet_size, 2);
        put(&at, (uint32_t)(FIRST_TOKEN + symbol) << 8 | SEGMENT, 4);
        put(&at, price, 4);
        put(&at, count, 4);
        put(&at, 151235, 4);
        put(&at, stamp, 4);
        put(&at, 90211, 4);
        put(&at, 120034, 4);
        put(&at, 150015, 4);
        put(&at, 154095, 4);
        put(&at, 149985, 4);
        put(&at, 149825, 4);
        if (packet_size == 44) continue;
        uint32_t now = (uint32_t)time(NULL);
        put(&at, now, 4);
        put(&at, 0, 4);
        put(&at, 0, 4);
        put(&at, 0, 4);
        put(&at, now, 4);
        for (uint32_t level = 0; level < 10; level++) {
            put(&at, 100 + level, 4);
            put(&at, level < 5 ? price - 5 * level : price + 5 * (level - 4), 4);
            put(&at, 3 + level, 2);
            put(&at, 0, 2);
        }
    }
    return (size_t)(at - out);
}

static int subscribed(void)
{
    int total = 0;
    for (int i = 0; i < feed.sink_count; i++) total += sinks[i].count;
    return total;
}

/* {"a":"subscribe","v":[tokens]}; the mode is not looked at, nor is anything taken off again. */
static void obey(struct sink *sink, char *text, int symbols)
{
    char *at = strstr(text, "\"v\"");
    if (strstr(text, "\"subscribe\"") == NULL || at == NULL || (at = strchr(at, '[')) == NULL) return;
    int before = subscribed();
    sink->symbols = realloc(sink->symbols, (size_t)symbols * sizeof *sink->symbols);
    while (*at != ']' && *at != '\0') {
        char *end;
        long symbol = (strtol(at + 1, &end, 10) >> 8) - FIRST_TOKEN;
        if (symbol < 0 || symbol >= symbols || sink->count == symbols) die("not a token of ours: %.40s", at);
        sink->symbols[sink->count++] = (int)symbol;
        at = end + strspn(end, " ");
    }
    printf("{\"subscribed\": %d, \"new\": %d, \"sockets\": %d}\n", subscribed(), subscribed() - before, feed.sink_count);
    fflush(stdout);
}

static void append(struct reader *r, const void *data, size_t size)
{
    if (r->used + size + 1 > r->room) r->text = realloc(r->text, r->room = (r->used + size + 1) * 2);
    memcpy(r->text + r->used, data, size);
    r->text[r->used += size] = '\0';
}

static void receive(struct sink *sink, struct reader *r, const struct options *options)
{
    uint8_t buffer[65536], *data = buffer;
    ssize_t n = recv(sink->fd, buffer, sizeof buffer, 0);
    if (n < 0 && errno == EAGAIN) return;
    if (n <= 0) die("the gateway closed its broker connection");
    if (!r->upgraded) {
        char answer[256];
        append(r, buffer, (size_t)n);
        if (strstr(r->text, "\r\n\r\n") == NULL) return;
        if (!upgrade_answer(r->text, answer, sizeof answer)) die("no WebSocket upgrade: %.80s", r->text);
        send_all(sink->fd, answer, strlen(answer));
        r->upgraded = true;
        r->used = 0;
        return; /* a client sends no frame before the answer */
    }
    size_t size = (size_t)n;
    struct span span;
    while (next_span(&r->in, &data, &size, &span)) {
        append(r, span.data, span.size);
        if (!span.ends) continue;
        if (span.opcode == OP_CLOSE) die("the gateway closed its broker connection with a close frame");
        if (span.opcode == OP_PING && r->used < 126) {
            uint8_t pong[128];
            size_t at = frame_header(pong, OP_PONG, r->used);
            memcpy(pong + at, r->text, r->used);
            if (!feed.running) send_all(sink->fd, pong, at + r->used);
        } else if (span.opcode == OP_TEXT) {
            obey(sink, r->text, options->symbols);
        }
        r->used = 0;
    }
}

static void heartbeat(void)
{
    static uint64_t last;
    uint64_t now = now_us();
    if (feed.running || now - last < HEARTBEAT_US) return;
    last = now;
    for (int i = 0; i < feed.sink_count; i++)
        if (readers[i].upgraded && sinks[i].begin == sinks[i].end) send_all(sinks[i].fd, "\x82\x01", 3);
}

int run_kite(const struct options *options)
{
    int port, listener = listen_any(&port);
    packet_size = options->packet;
    feed_init(&feed, write_packets, 16 + (size_t)options->batch * (2 + (size_t)packet_size), options);
    feed.sinks = sinks;
    printf("{\"port\": %d}\n", port);
    fflush(stdout);
    for (;;) {
        int64_t wait = feed_pump(&feed);
        heartbeat();
        struct pollfd ready[2 + MAX_SOCKETS] = {{.fd = STDIN_FILENO, .events = POLLIN}, {.fd = listener, .events = POLLIN}};
        for (int i = 0; i < feed.sink_count; i++) {
            bool more = sinks[i].begin < sinks[i].end || (feed.running && feed.rate == 0);
            ready[2 + i] = (struct pollfd){.fd = sinks[i].fd, .events = (short)(POLLIN | (more ? POLLOUT : 0))};
        }
        if (wait < 0 || wait > HEARTBEAT_US / 4) wait = HEARTBEAT_US / 4;
        struct timespec timeout = {.tv_nsec = wait * 1000};
        int known = feed.sink_count;
        ppoll(ready, 2 + (nfds_t)known, &timeout, NULL);
        for (int i = 0; i < known; i++)
            if (ready[2 + i].revents & ~POLLOUT) receive(&sinks[i], &readers[i], options);
        if (ready[1].revents && feed.sink_count < MAX_SOCKETS) {
            int fd = accept_one(listener);
            if (fd >= 0) sinks[feed.sink_count++].fd = fd;
        }
        for (char *line = next_command(ready[0].revents != 0); line; line = next_command(false))
            if (!feed_command(&feed, line)) die("no such command: %.80s", line);
    }
}
