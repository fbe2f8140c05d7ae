#include "dialect.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { READ_SIZE = 128 * 1024, DIALS_AT_ONCE = 16, STITCH = 4096, DIAL_SECONDS = 60, SETTLE_US = 10000000 };
/* A stallable client gets a small receive buffer, so that what it does not read soon waits in the server. */
enum { STALLABLE_BUFFER = 32 * 1024 };

static const struct options *options;
static const struct dialect *dialect;
static struct client *clients;
static int epoll, dialled, ready, closed;

/* What came since "start". Clients that may be stalled count apart. */
static struct window {
    struct histogram delay;
    uint64_t frames, bytes, reads, lost, repeated;
    uint64_t stallable_frames, stallable_lost;
    uint64_t began_us, own_cpu, watched_cpu;
} window;

static bool stallable(const struct client *c) { return c - clients < options->stallable; }

static void count_quote(struct client *c, const struct quote *q, size_t size, uint64_t now)
{
    if (q->symbol < 0 || q->symbol >= options->symbols) die("a symbol that nobody asked for: %d", q->symbol);
    uint32_t step = q->count - c->last[q->symbol];
    bool newer = step - 1 < UINT32_MAX / 2;
    if (newer) c->last[q->symbol] = q->count;
    if (stallable(c)) {
        window.stallable_frames++;
        if (newer) window.stallable_lost += step - 1;
        return;
    }
    window.frames++;
    window.bytes += size;
    if (newer)
        window.lost += step - 1;
    else
        window.repeated++;
    histogram_add(&window.delay, (uint32_t)now - q->stamp);
}

static void take_message(struct client *c, uint8_t *message, size_t size, uint64_t now)
{
    struct quote q;
    if (c->stage == READY && read_quote(message, size, &q)) {
        count_quote(c, &q, size, now);
    } else {
        enum stage before = c->stage;
        dialect->talk(c, options, (char *)message, size);
        if (before != READY && c->stage == READY) ready++;
    }
}

static void hold(struct client *c, const uint8_t *data, size_t size)
{
    /* one byte more, so that a number at the very end finds an end */
    if (c->held + size + 1 > c->room) c->carry = realloc(c->carry, c->room = (c->held + size) * 2 + 1024);
    memcpy(c->carry + c->held, data, size);
    c->carry[c->held += size] = '\0';
}

static size_t take_nats_messages(struct client *c, uint8_t *data, size_t size, uint64_t now)
{
    size_t used = 0, n, payload_size;
    const uint8_t *payload;
    while (used < size && (n = nats_message(data + used, size - used, &payload, &payload_size)) != 0) {
        if (payload != NULL)
            take_message(c, (uint8_t *)(uintptr_t)payload, payload_size, now);
        else
            take_message(c, data + used, n, now);
        used += n;
    }
    return used;
}

/* A NATS message may be cut by a frame or a read anywhere: the cut one is stitched in `carry`. */
static void take_stream(struct client *c, uint8_t *data, size_t size, uint64_t now)
{
    while (c->held != 0 && size != 0) {
        size_t before = c->held, piece = size < STITCH ? size : STITCH;
        hold(c, data, piece);
        size_t used = take_nats_messages(c, c->carry, c->held, now);
        if (used <= before) { /* still incomplete: an INFO line may be longer than a piece */
            data += piece;
            size -= piece;
            continue;
        }
        c->held = 0;
        data += used - before;
        size -= used - before;
    }
    size_t used = take_nats_messages(c, data, size, now);
    if (used < size) hold(c, data + used, size - used);
}

static void take_framed(struct client *c, const struct span *span, uint64_t now)
{
    if (c->held == 0 && span->ends) {
        take_message(c, span->data, span->size, now);
        return;
    }
    hold(c, span->data, span->size);
    if (!span->ends) return;
    take_message(c, c->carry, c->held, now);
    c->held = 0;
}

static void close_client(struct client *c, const char *why)
{
    if (!stallable(c) || c->stage != READY) die("a server closed a client that reads: %s", why);
    c->stage = CLOSED;
    closed++;
    close(c->fd);
}

static void take_bytes(struct client *c, uint8_t *data, size_t size, uint64_t now)
{
    struct span span;
    if (c->stage == UPGRADING) {
        uint8_t *end = memmem(data, size, "\r\n\r\n", 4);
        if (end == NULL || memmem(data, size, " 101 ", 5) == NULL) die("no WebSocket: %.*s", (int)size, (char *)data);
        size -= (size_t)(end + 4 - data);
        data = end + 4;
        c->stage = GREETING;
        dialect->talk(c, options, NULL, 0);
    }
    while (c->stage != CLOSED && next_span(&c->in, &data, &size, &span)) {
        if (span.opcode == OP_PING)
            send_masked(c->fd, OP_PONG, span.data, span.size); /* servers ping rarely and with few bytes: not cut */
        else if (span.opcode == OP_CLOSE)
            close_client(c, "close frame");
        else if (dialect->framed)
            take_framed(c, &span, now);
        else
            take_stream(c, span.data, span.size, now);
    }
}

static void receive(struct client *c)
{
    static uint8_t buffer[READ_SIZE + 1];
    ssize_t n = recv(c->fd, buffer, READ_SIZE, 0);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (n <= 0) {
        close_client(c, n == 0 ? "end of stream" : strerror(errno));
        return;
    }
    window.reads++;
    buffer[n] = '\0';
    take_bytes(c, buffer, (size_t)n, now_us());
}

static void watch(struct client *c, int operation)
{
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = c};
    if (epoll_ctl(epoll, operation, c->fd, &event) != 0) die("epoll: %s", strerror(errno));
}

static void choose_symbols(struct client *c, unsigned client)
{
    int all = options->symbols;
    uint64_t state = 0x9e3779b97f4a7c15u * (client + 1);
    c->count = options->each ? options->each : all;
    c->wanted = malloc((size_t)all * sizeof *c->wanted);
    c->last = calloc((size_t)all, sizeof *c->last);
    for (int i = 0; i < all; i++) c->wanted[i] = i;
    for (int i = 0; i < c->count && c->count < all; i++) {
        state ^= state << 13, state ^= state >> 7, state ^= state << 17;
        int j = i + (int)(state % (uint64_t)(all - i)), symbol = c->wanted[i];
        c->wanted[i] = c->wanted[j];
        c->wanted[j] = symbol;
    }
}

/* Few at a time, so that no listen queue overflows. */
static void dial_more(void)
{
    char request[256];
    upgrade_request(request, sizeof request, options->port);
    for (; dialled < options->clients && dialled - ready < DIALS_AT_ONCE; dialled++) {
        struct client *c = &clients[dialled];
        choose_symbols(c, (unsigned)dialled);
        c->fd = dial(options->port, stallable(c) ? STALLABLE_BUFFER : 0);
        if (!send_all(c->fd, request, strlen(request))) die("port %d does not answer", options->port);
        watch(c, EPOLL_CTL_ADD);
    }
}

static void start(void)
{
    memset(&window, 0, sizeof window);
    window.began_us = now_us();
    window.own_cpu = cpu_ns(0);
    window.watched_cpu = options->watch ? cpu_ns(options->watch) : 0;
}

static void stop(void)
{
    const struct histogram *h = &window.delay;
    uint64_t watched = options->watch ? cpu_ns(options->watch) - window.watched_cpu : 0;
    printf("{\"seconds\": %.6f, \"frames\": %llu, \"bytes\": %llu, \"reads\": %llu, \"lost\": %llu, \"repeated\": %llu, "
           "\"stallable_frames\": %llu, \"stallable_lost\": %llu, \"closed\": %d, \"cpu_ns\": %llu, \"watched_cpu_ns\": %llu, "
           "\"p50_us\": %u, \"p99_us\": %u, \"p999_us\": %u, \"max_us\": %u}\n",
           (double)(now_us() - window.began_us) / 1e6, (unsigned long long)window.frames,
           (unsigned long long)window.bytes, (unsigned long long)window.reads, (unsigned long long)window.lost,
           (unsigned long long)window.repeated, (unsigned long long)window.stallable_frames,
           (unsigned long long)window.stallable_lost, closed, (unsigned long long)(cpu_ns(0) - window.own_cpu),
           (unsigned long long)watched, histogram_at(h, 0.5), histogram_at(h, 0.99), histogram_at(h, 0.999), h->max);
    fflush(stdout);
}

static void stall(bool stalled)
{
    for (int i = 0; i < options->stallable; i++) {
        if (clients[i].stage != READY || clients[i].stalled == stalled) continue;
        clients[i].stalled = stalled;
        watch(&clients[i], stalled ? EPOLL_CTL_DEL : EPOLL_CTL_ADD);
    }
}

/* Frames that should have come to the clients that read, given the ticks made of each symbol, and have not. */
static int64_t outstanding(const uint32_t *made)
{
    int64_t total = 0;
    for (int i = options->stallable; i < options->clients; i++)
        for (int k = 0; k < clients[i].count; k++)
            total += (int32_t)(made[clients[i].wanted[k]] - clients[i].last[clients[i].wanted[k]]);
    return total;
}

static uint32_t *parse_made(char *text)
{
    uint32_t *made = calloc((size_t)options->symbols, sizeof *made);
    for (int i = 0; i < options->symbols; i++) made[i] = (uint32_t)strtoul(text, &text, 10);
    return made;
}

/* Reads until all ticks have come, or 10 s long. Ends a window, like "stop", but answers with what never came. */
static void serve(int timeout_ms);
static void settle(char *text)
{
    uint32_t *made = parse_made(text);
    uint64_t end = now_us() + SETTLE_US;
    while (outstanding(made) > 0 && now_us() < end) serve(10);
    printf("{\"outstanding\": %lld, \"lost\": %llu, \"repeated\": %llu}\n", (long long)outstanding(made),
           (unsigned long long)window.lost, (unsigned long long)window.repeated);
    fflush(stdout);
    free(made);
}

static void obey(char *line)
{
    if (strcmp(line, "start") == 0)
        start();
    else if (strcmp(line, "stop") == 0)
        stop();
    else if (strcmp(line, "stall") == 0)
        stall(true);
    else if (strcmp(line, "resume") == 0)
        stall(false);
    else if (strncmp(line, "settle ", 7) == 0)
        settle(line + 7);
    else
        die("no such command: %.80s", line);
}

static void serve(int timeout_ms)
{
    struct epoll_event events[256];
    bool commands = false;
    int n = epoll_wait(epoll, events, 256, timeout_ms);
    for (int i = 0; i < n; i++) {
        if (events[i].data.ptr != NULL)
            receive(events[i].data.ptr);
        else
            commands = timeout_ms < 0; /* none while one is being carried out */
    }
    if (!commands) return;
    for (char *line = next_command(true); line; line = next_command(false)) obey(line);
}

static bool wanted_by_any(int symbol)
{
    for (int i = 0; i < options->clients; i++)
        for (int k = 0; k < clients[i].count; k++)
            if (clients[i].wanted[k] == symbol) return true;
    return false;
}

int run_clients(const struct options *given)
{
    options = given;
    dialect = dialect_named(options->dialect);
    clients = calloc((size_t)options->clients, sizeof *clients);
    epoll = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event command = {.events = EPOLLIN};
    if (epoll_ctl(epoll, EPOLL_CTL_ADD, STDIN_FILENO, &command) != 0) die("stdin must be a pipe");
    uint64_t limit = now_us() + DIAL_SECONDS * 1000000u;
    while (ready < options->clients) {
        dial_more();
        serve(1000);
        if (now_us() > limit) die("only %d of %d clients were subscribed within %d s", ready, options->clients, DIAL_SECONDS);
    }
    int distinct = 0;
    for (int symbol = 0; symbol < options->symbols; symbol++) distinct += wanted_by_any(symbol);
    printf("{\"ready\": %d, \"distinct\": %d}\n", ready, distinct);
    fflush(stdout);
    for (;;) serve(-1);
}
