#include "load.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static size_t header_size(const uint8_t *header, uint8_t got)
{
    if (got < 2) return 2;
    size_t length = header[1] & 127;
    return 2u + (length == 126 ? 2u : length == 127 ? 8u : 0u) + (header[1] & 128 ? 4u : 0u);
}

bool next_span(struct unframer *u, uint8_t **data, size_t *size, struct span *out)
{
    while (!u->inside) {
        size_t wanted = header_size(u->header, u->got);
        while (u->got < wanted && *size != 0) {
            u->header[u->got++] = *(*data)++;
            --*size;
        }
        if (u->got < wanted) return false;
        if (u->got < header_size(u->header, u->got)) continue;
        size_t length = u->header[1] & 127, extra = length == 126 ? 2 : length == 127 ? 8 : 0;
        u->left = extra ? 0 : length;
        for (size_t i = 0; i < extra; i++) u->left = u->left << 8 | u->header[2 + i];
        u->inside = true;
        u->turn = 0;
    }
    size_t n = u->left < *size ? (size_t)u->left : *size;
    if (n == 0 && u->left != 0) return false;
    out->data = *data;
    out->size = n;
    out->opcode = u->header[0] & 15;
    if (u->header[1] & 128) {
        const uint8_t *mask = u->header + u->got - 4;
        for (size_t i = 0; i < n; i++) out->data[i] ^= mask[u->turn++ & 3];
    }
    u->left -= n;
    *data += n;
    *size -= n;
    out->ends = u->left == 0 && u->header[0] & 128;
    if (u->left == 0) {
        u->inside = false;
        u->got = 0;
    }
    return true;
}

size_t frame_header(uint8_t *out, enum opcode opcode, size_t size)
{
    out[0] = (uint8_t)(128 | opcode);
    size_t extra = size < 126 ? 0 : size < 65536 ? 2 : 8;
    out[1] = (uint8_t)(extra == 0 ? size : extra == 2 ? 126 : 127);
    for (size_t i = 0; i < extra; i++) out[2 + i] = (uint8_t)(size >> 8 * (extra - 1 - i));
    return 2 + extra;
}

bool send_masked(int fd, enum opcode opcode, const void *payload, size_t size)
{
    static const uint8_t mask[4] = {0x1d, 0xa7, 0x52, 0xc9};
    uint8_t *frame = malloc(size + 14);
    size_t at = frame_header(frame, opcode, size);
    frame[1] |= 128;
    memcpy(frame + at, mask, 4);
    at += 4;
    for (size_t i = 0; i < size; i++) frame[at + i] = ((const uint8_t *)payload)[i] ^ mask[i & 3];
    bool sent = send_all(fd, frame, at + size);
    free(frame);
    return sent;
}

void upgrade_request(char *out, size_t room, int port)
{
    snprintf(out, room,
             "GET / HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
             "Sec-WebSocket-Key: YnJva2VycG9vbC1sb2FkLQ==\r\nSec-WebSocket-Version: 13\r\n\r\n",
             port);
}

/* SHA-1 of a short text (FIPS 180-4), which the handshake of RFC 6455 asks for. */
static void sha1(const char *text, uint8_t digest[20])
{
    uint8_t message[192] = {0};
    size_t size = strlen(text), padded = (size + 9 + 63) / 64 * 64;
    memcpy(message, text, size);
    message[size] = 128;
    for (int i = 0; i < 8; i++) message[padded - 1 - (size_t)i] = (uint8_t)((uint64_t)size * 8 >> 8 * i);

    uint32_t h[5] = {0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476, 0xc3d2e1f0};
    for (size_t block = 0; block < padded; block += 64) {
        uint32_t w[80], a = h[0], b = h[1], c = h[2], d = h[3], e = h[4];
        for (int i = 0; i < 80; i++) {
            const uint8_t *m = message + block + 4 * i;
            uint32_t x = i < 16 ? (uint32_t)m[0] << 24 | (uint32_t)m[1] << 16 | (uint32_t)m[2] << 8 | m[3]
                                : w[i - 3] ^ w[i - 8] ^ w[i - 14] ^ w[i - 16];
            w[i] = i < 16 ? x : x << 1 | x >> 31;
            uint32_t f = i < 20 ? (b & c) | (~b & d) : i < 40 ? b ^ c ^ d : i < 60 ? (b & c) | (b & d) | (c & d) : b ^ c ^ d;
            uint32_t k = i < 20 ? 0x5a827999 : i < 40 ? 0x6ed9eba1 : i < 60 ? 0x8f1bbcdc : 0xca62c1d6;
            uint32_t next = (a << 5 | a >> 27) + f + e + k + w[i];
            e = d, d = c, c = b << 30 | b >> 2, b = a, a = next;
        }
        h[0] += a, h[1] += b, h[2] += c, h[3] += d, h[4] += e;
    }
    for (int i = 0; i < 20; i++) digest[i] = (uint8_t)(h[i / 4] >> 8 * (3 - i % 4));
}

bool upgrade_answer(const char *request, char *out, size_t room)
{
    static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const char *key = strcasestr(request, "\r\nsec-websocket-key:");
    char text[128], accept[29];
    uint8_t digest[21] = {0};
    if (key == NULL || sscanf(key + 20, " %60[^\r ]", text) != 1) return false;
    strcat(text, "258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    sha1(text, digest);
    for (int i = 0; i < 28; i++) {
        const uint8_t *d = digest + i / 4 * 3;
        uint32_t three = (uint32_t)d[0] << 16 | (uint32_t)d[1] << 8 | d[2];
        accept[i] = alphabet[three >> 6 * (3 - i % 4) & 63];
    }
    accept[27] = '='; /* 20 bytes leave one byte of padding */
    accept[28] = '\0';
    snprintf(out, room,
             "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
             "Sec-WebSocket-Accept: %s\r\n\r\n",
             accept);
    return true;
}
