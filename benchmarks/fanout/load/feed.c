#include "load.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

enum { BATCHES_AT_ONCE = 8 };

void feed_init(struct feed *feed, batch_writer write, size_t batch_room, const struct options *options)
{
    *feed = (struct feed){.write = write, .batch_room = batch_room, .batch = options->batch, .symbols = options->symbols};
    feed->made = calloc((size_t)options->symbols, sizeof *feed->made);
}

int feed_next(struct feed *feed, struct sink *sink)
{
    int symbol = sink->symbols[sink->next];
    if (++sink->next == sink->count) sink->next = 0;
    feed->made[symbol]++;
    feed->ticks++;
    return symbol;
}

/* Gives the socket what it takes; false while something is left over. */
static bool flush(struct sink *sink)
{
    while (sink->begin < sink->end) {
        ssize_t n = send(sink->fd, sink->pending + sink->begin, sink->end - sink->begin, MSG_NOSIGNAL);
        if (n < 0 && errno == EAGAIN) return false;
        if (n < 0) die("the peer closed the feed: %s", strerror(errno));
        sink->begin += (size_t)n;
    }
    sink->begin = sink->end = 0;
    return true;
}

/* Makes batches for a sink that has nothing pending, and sends them. */
static void make(struct feed *feed, struct sink *sink, int batches)
{
    size_t room = feed->batch_room * (size_t)batches;
    if (sink->room < room) sink->pending = realloc(sink->pending, sink->room = room);
    for (int i = 0; i < batches; i++) sink->end += feed->write(feed, sink, sink->pending + sink->end);
    feed->batches += (uint64_t)batches;
    flush(sink);
}

int64_t feed_pump(struct feed *feed)
{
    if (feed->rate == 0) {
        for (int i = 0; i < feed->sink_count; i++)
            if (flush(&feed->sinks[i]) && feed->running) make(feed, &feed->sinks[i], BATCHES_AT_ONCE);
        return -1;
    }
    double interval = 1e6 * feed->batch / feed->rate;
    for (;;) {
        struct sink *sink = &feed->sinks[feed->batches % (uint64_t)feed->sink_count];
        bool free = flush(sink);
        if (!feed->running) return -1;
        int64_t wait = (int64_t)(feed->since + (uint64_t)((double)feed->batches * interval)) - (int64_t)now_us();
        if (wait > 0) return wait;
        if ((uint64_t)-wait > feed->behind) feed->behind = (uint64_t)-wait;
        if (!free) return -1; /* due, but the peer does not read: the delay counts as `behind` */
        make(feed, sink, 1);
    }
}

bool feed_command(struct feed *feed, const char *line)
{
    if (sscanf(line, "run %lf", &feed->rate) == 1) {
        feed->running = true;
        feed->since = now_us();
        feed->batches = feed->behind = 0;
        return true;
    }
    if (strcmp(line, "halt") != 0) return false;
    feed->running = false;
    printf("{\"ticks\": %llu, \"seconds\": %.6f, \"behind_us\": %llu, \"cpu_ns\": %llu, \"made\": [",
           (unsigned long long)feed->ticks, (double)(now_us() - feed->since) / 1e6,
           (unsigned long long)feed->behind, (unsigned long long)cpu_ns(0));
    for (int i = 0; i < feed->symbols; i++) printf("%s%u", i ? ", " : "", feed->made[i]);
    printf("]}\n");
    fflush(stdout);
    return true;
}
