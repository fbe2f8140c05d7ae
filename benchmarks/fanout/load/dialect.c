#include "dialect.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Messages of one server have the same layout, so a member is first looked for where it was last. */
struct member {
    const char *name;
    size_t size, hint;
};

static const uint8_t *find(struct member *m, const uint8_t *json, size_t size)
{
    if (m->hint + m->size <= size && memcmp(json + m->hint, m->name, m->size) == 0) return json + m->hint + m->size;
    const uint8_t *at = memmem(json, size, m->name, m->size);
    if (at == NULL) return NULL;
    m->hint = (size_t)(at - json);
    return at + m->size;
}

static uint32_t number(const uint8_t *at)
{
    uint32_t value = 0;
    for (; *at == ' '; at++) {}
    for (; *at >= '0' && *at <= '9'; at++) value = value * 10 + (*at - '0');
    return value;
}

bool read_quote(const uint8_t *json, size_t size, struct quote *out)
{
    static struct member type = {"\"market_data\"", 13, 0}, symbol = {"\"SYM", 4, 0}, stamp = {"\"volume\":", 9, 0},
                         count = {"\"last_trade_quantity\":", 22, 0};
    const uint8_t *s, *v, *c;
    if (size > 4096 || find(&type, json, size) == NULL) return false;
    if ((s = find(&symbol, json, size)) == NULL || (v = find(&stamp, json, size)) == NULL ||
        (c = find(&count, json, size)) == NULL)
        die("market data without symbol, volume or last_trade_quantity: %.*s", (int)size, (const char *)json);
    *out = (struct quote){(int)number(s), number(v), number(c)};
    return true;
}

size_t nats_message(const uint8_t *bytes, size_t size, const uint8_t **payload, size_t *payload_size)
{
    const uint8_t *end = memchr(bytes, '\n', size), *at;
    *payload = NULL;
    if (end == NULL) return 0;
    size_t line = (size_t)(end - bytes) + 1;
    if (size < 4 || memcmp(bytes, "MSG ", 4) != 0) return line;
    for (at = end - 2; *at >= '0' && *at <= '9'; at--) {}
    *payload_size = number(at + 1);
    *payload = bytes + line;
    return line + *payload_size + 2 <= size ? line + *payload_size + 2 : 0;
}

static char *symbol_list(const struct client *c, const char *before, const char *format, const char *after)
{
    char *text = malloc(strlen(before) + strlen(after) + (size_t)c->count * 48 + 1), *at = stpcpy(text, before);
    for (int i = 0; i < c->count; i++) {
        if (i) *at++ = ',';
        at += sprintf(at, format, c->wanted[i]);
    }
    strcpy(at, after);
    return text;
}

static void say(const struct client *c, const char *text)
{
    if (!send_masked(c->fd, OP_TEXT, text, strlen(text))) die("a server closed its client while it subscribed");
}

/* A message is not terminated, and may be long. */
static int shown(size_t size) { return size < 400 ? (int)size : 400; }

static void talk_openalgo(struct client *c, const struct options *options, char *message, size_t size)
{
    if (message == NULL) {
        char text[256];
        snprintf(text, sizeof text, "{\"action\":\"authenticate\",\"api_key\":\"%s\"}", options->api_key);
        say(c, text);
        return;
    }
    bool success = memmem(message, size, "\"success\"", 9) != NULL;
    if (c->stage == GREETING && memmem(message, size, "\"auth\"", 6) != NULL && success) {
        char *text = symbol_list(c, "{\"action\":\"subscribe\",\"mode\":2,\"symbols\":[",
                                 "{\"symbol\":\"SYM%05d\",\"exchange\":\"NSE\"}", "]}");
        say(c, text);
        free(text);
        c->stage = SUBSCRIBING;
    } else if (c->stage == SUBSCRIBING && memmem(message, size, "\"subscribe\"", 11) != NULL) {
        if (memmem(message, size, "\"error\"", 7) != NULL) die("subscription refused: %.*s", shown(size), message);
        c->stage = READY;
    } else if (c->stage != READY && memmem(message, size, "\"error\"", 7) != NULL) {
        die("the gateway answered %.*s", shown(size), message);
    }
}

static void talk_plain(struct client *c, const struct options *options, char *message, size_t size)
{
    (void)options, (void)size;
    if (message == NULL) {
        char *text = symbol_list(c, "[", "\"SYM%05d\"", "]");
        say(c, text);
        free(text);
        c->stage = SUBSCRIBING;
    } else {
        c->stage = READY; /* the peer's only other message */
    }
}

static void talk_nats(struct client *c, const struct options *options, char *message, size_t size)
{
    if (message == NULL) {
        static const char connect[] = "CONNECT {\"verbose\":false,\"pedantic\":false}\r\n";
        char *text = malloc(sizeof connect + (size_t)c->count * 32 + 8), *at = stpcpy(text, connect);
        /* One wildcard is what a NATS user would write for all symbols, and a quarter cheaper for the server. */
        if (c->count == options->symbols) at = stpcpy(at, "SUB md.* 1\r\n");
        for (int i = 0; i < c->count && c->count < options->symbols; i++)
            at += sprintf(at, "SUB md.SYM%05d %d\r\n", c->wanted[i], i + 1);
        strcpy(at, "PING\r\n");
        say(c, text);
        free(text);
        c->stage = SUBSCRIBING;
    } else if (size >= 4 && memcmp(message, "PING", 4) == 0) {
        say(c, "PONG\r\n");
    } else if (size >= 4 && memcmp(message, "PONG", 4) == 0) {
        if (c->stage == SUBSCRIBING) c->stage = READY;
    } else if (size >= 4 && memcmp(message, "-ERR", 4) == 0) {
        die("nats-server: %.*s", shown(size), message);
    }
}

const struct dialect *dialect_named(const char *name)
{
    static const struct dialect dialects[] = {
        {"openalgo", true, talk_openalgo}, {"plain", true, talk_plain}, {"nats", false, talk_nats}};
    for (size_t i = 0; i < sizeof dialects / sizeof *dialects; i++)
        if (strcmp(dialects[i].name, name) == 0) return &dialects[i];
    die("no dialect %s", name);
}
