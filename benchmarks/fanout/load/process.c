#include "load.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static uint64_t read_clock(clockid_t id)
{
    struct timespec t;
    if (clock_gettime(id, &t) != 0) return 0;
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

uint64_t now_us(void) { return read_clock(CLOCK_MONOTONIC) / 1000; }

uint64_t cpu_ns(pid_t pid)
{
    clockid_t id = CLOCK_PROCESS_CPUTIME_ID;
    if (pid != 0 && clock_getcpuclockid(pid, &id) != 0) die("process %d is gone", (int)pid);
    return read_clock(id);
}

void die(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    fputs("load: ", stderr);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    va_end(arguments);
    exit(1);
}

char *next_command(bool readable)
{
    static char *text;
    static size_t used, room, taken;

    if (taken != 0) {
        memmove(text, text + taken, used - taken);
        used -= taken;
        taken = 0;
    }
    if (readable) {
        if (room - used < 4096) text = realloc(text, room += 65536);
        ssize_t n = read(STDIN_FILENO, text + used, room - used);
        if (n == 0) exit(0);
        if (n > 0) used += (size_t)n;
    }
    char *end = used ? memchr(text, '\n', used) : NULL;
    if (end == NULL) return NULL;
    *end = '\0';
    taken = (size_t)(end - text) + 1;
    return text;
}
