/* What a client says to its server until it is subscribed, and how it finds the messages in what comes back. */
#ifndef DIALECT_H
#define DIALECT_H

#include "load.h"

enum stage { UPGRADING, GREETING, SUBSCRIBING, READY, CLOSED };

struct client {
    int fd;
    enum stage stage;
    bool stalled;
    int *wanted;        /* symbols, `count` of them */
    int count;
    uint32_t *last;     /* by symbol: the number of the last tick seen */
    struct unframer in;
    uint8_t *carry;     /* a message, or the part of one that has come */
    size_t held, room;
};

/* What a market-data message says. */
struct quote {
    int symbol;
    uint32_t stamp, count;
};

struct dialect {
    const char *name;
    /* Whether a message never spans frames, so that each frame is one; otherwise frames carry a byte stream. */
    bool framed;
    /* Called once the WebSocket is open, and with every message that is no quote. Moves the stage on. */
    void (*talk)(struct client *client, const struct options *options, char *message, size_t size);
};

/* openalgo, plain (the `websockets` peer) or nats */
const struct dialect *dialect_named(const char *name);
bool read_quote(const uint8_t *json, size_t size, struct quote *out);
/* Size of the first whole NATS message in the bytes, 0 when it is not complete; *payload is the body of a MSG. */
size_t nats_message(const uint8_t *bytes, size_t size, const uint8_t **payload, size_t *payload_size);

#endif
