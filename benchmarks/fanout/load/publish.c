#include "load.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static struct sink sink;
static struct feed feed = {.sinks = &sink, .sink_count = 1};
static bool nats;

/* What the gateway makes of the same tick, byte for byte but for the prices, which nobody here reads. */
static int write_quote(char *out, size_t room, int symbol, uint32_t stamp, uint32_t count)
{
    return snprintf(out, room,
                    "{\"type\":\"market_data\",\"symbol\":\"SYM%05d\",\"exchange\":\"NSE\",\"mode\":2,\"data\":{"
                    "\"symbol\":\"SYM%05d\",\"exchange\":\"NSE\",\"ltp\":1512.35,\"open\":1500.15,\"high\":1540.95,"
                    "\"low\":1499.85,\"close\":1498.25,\"volume\":%u,\"last_trade_quantity\":%u,\"avg_trade_price\":1512.35,"
                    "\"change\":3.5,\"change_percent\":0.2336058735191056,\"oi\":0,\"total_buy_quantity\":90211,"
                    "\"total_sell_quantity\":120034,\"timestamp\":1790000000123},\"broker\":\"zerodha\"}",
                    symbol, symbol, stamp, count);
}

static size_t write_messages(struct feed *f, struct sink *to, uint8_t *out)
{
    char *at = (char *)out;
    uint32_t stamp = (uint32_t)now_us();
    for (int i = 0; i < f->batch; i++) {
        char quote[512];
        int symbol = feed_next(f, to), size = write_quote(quote, sizeof quote, symbol, stamp, f->made[symbol]);
        at += nats ? sprintf(at, "PUB md.SYM%05d %d\r\n", symbol, size) : sprintf(at, "SYM%05d ", symbol);
        memcpy(at, quote, (size_t)size);
        at += size;
        if (nats) *at++ = '\r';
        *at++ = '\n';
    }
    return (size_t)((uint8_t *)at - out);
}

/* NATS asks "PING" now and then; the line may be cut anywhere, but is never larger than a read. */
static void receive(void)
{
    char buffer[8192];
    ssize_t n = recv(sink.fd, buffer, sizeof buffer - 1, 0);
    if (n < 0 && errno == EAGAIN) return;
    if (n <= 0) die("the peer closed the feed");
    buffer[n] = '\0';
    if (strstr(buffer, "-ERR") != NULL) die("nats-server: %s", buffer);
    if (strstr(buffer, "PING") != NULL && sink.begin == sink.end) send_all(sink.fd, "PONG\r\n", 6);
}

int run_publish(const struct options *options)
{
    nats = strcmp(options->dialect, "nats") == 0;
    feed_init(&feed, write_messages, (size_t)options->batch * 600, options);
    feed.sinks = &sink;
    feed.sink_count = 1;
    sink = (struct sink){.fd = dial(options->port, 0), .count = options->symbols};
    sink.symbols = malloc((size_t)options->symbols * sizeof *sink.symbols);
    for (int i = 0; i < options->symbols; i++) sink.symbols[i] = i;
    if (nats && !send_all(sink.fd, "CONNECT {\"verbose\":false}\r\n", 27)) die("nats-server does not answer");
    printf("{\"port\": %d}\n", options->port);
    fflush(stdout);
    for (;;) {
        int64_t wait = feed_pump(&feed);
        bool more = sink.begin < sink.end || (feed.running && feed.rate == 0);
        struct pollfd ready[2] = {{.fd = STDIN_FILENO, .events = POLLIN},
                                  {.fd = sink.fd, .events = (short)(POLLIN | (more ? POLLOUT : 0))}};
        struct timespec timeout = {.tv_sec = wait / 1000000, .tv_nsec = wait % 1000000 * 1000};
        ppoll(ready, 2, wait < 0 ? NULL : &timeout, NULL);
        if (ready[1].revents & ~POLLOUT) receive();
        for (char *line = next_command(ready[0].revents != 0); line; line = next_command(false))
            if (!feed_command(&feed, line)) die("no such command: %.80s", line);
    }
}
