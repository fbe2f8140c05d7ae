#include "load.h"

#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

/* Ends the process even if its harness was killed and something else holds the pipe open. */
enum { LONGEST_RUN_S = 300 };

int main(int argc, char **argv)
{
    static const struct option names[] = {
        {"port", 1, 0, 'p'},  {"symbols", 1, 0, 's'},   {"clients", 1, 0, 'c'}, {"each", 1, 0, 'e'},
        {"batch", 1, 0, 'b'}, {"stallable", 1, 0, 't'}, {"packet", 1, 0, 'k'},  {"watch", 1, 0, 'w'},
        {"dialect", 1, 0, 'd'}, {"api-key", 1, 0, 'a'}, {0, 0, 0, 0}};
    struct options o = {.symbols = 1000, .clients = 1, .batch = 1, .packet = 44, .dialect = "openalgo", .api_key = ""};
    const char *role = argc > 1 ? argv[1] : "";

    alarm(LONGEST_RUN_S);
    signal(SIGPIPE, SIG_IGN);
    prctl(PR_SET_TIMERSLACK, 1); /* else every fixed-rate batch would leave up to 50 us late */
    for (int c; (c = getopt_long(argc - 1, argv + 1, "", names, NULL)) != -1;) {
        int *number = c == 'p' ? &o.port : c == 's' ? &o.symbols : c == 'c' ? &o.clients : c == 'e' ? &o.each
                    : c == 'b' ? &o.batch : c == 't' ? &o.stallable : c == 'k' ? &o.packet : c == 'w' ? &o.watch : NULL;
        if (number != NULL)
            *number = atoi(optarg);
        else if (c == 'd')
            o.dialect = optarg;
        else if (c == 'a')
            o.api_key = optarg;
        else
            return 2;
    }
    if (strcmp(role, "kite") == 0) return run_kite(&o);
    if (strcmp(role, "publish") == 0) return run_publish(&o);
    if (strcmp(role, "clients") == 0) return run_clients(&o);
    die("the role is kite, publish or clients, not \"%s\"", role);
}
