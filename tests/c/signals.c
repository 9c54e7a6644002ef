/* System calls interrupted a thousand times a second, and peers that vanish while they are written
 * to: calls go on, and no SIGPIPE ends the program.
 *
 *     signals KEY PORT */
#define _XOPEN_SOURCE 700
#include <peerbase.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/time.h>

static volatile sig_atomic_t alarms;

static void on_alarm(int number) {
    (void)number;
    alarms = alarms + 1;
}

static peerbase_node *begin(const char *name, const char *key, uint16_t port,
                            int (*how)(const peerbase_config *, peerbase_node **)) {
    peerbase_config *config = peerbase_config_new(name, "signals", key);
    peerbase_node *node = NULL;
    peerbase_config_set_loopback(config, true);
    peerbase_config_set_advertise_port(config, port);
    if (how(config, &node) < 0) {
        fprintf(stderr, "%s: %s\n", name, peerbase_last_error());
        exit(1);
    }
    peerbase_config_free(config);
    return node;
}

int main(int argc, char **argv) {
    struct sigaction action = {0};
    struct itimerval every = {{0, 1000}, {0, 1000}};
    peerbase_node *a, *b;
    peerbase_reply *reply;
    uint16_t port;
    int round, i;
    if (argc != 3)
        return 2;
    port = (uint16_t)atoi(argv[2]);
    signal(SIGPIPE, SIG_DFL);
    /* Without SA_RESTART, so that every call may be cut short. */
    action.sa_handler = on_alarm;
    sigaction(SIGALRM, &action, NULL);
    setitimer(ITIMER_REAL, &every, NULL);
    a = begin("a", argv[1], port, peerbase_node_open);
    for (round = 0; round < 5; round++) {
        b = begin("b", argv[1], port, peerbase_node_start);
        for (i = 0; i < 100; i++) {
            if (peerbase_node_call(a, "b", "__echo__", "[1]", NULL, 60000, &reply) < 0) {
                fprintf(stderr, "call %d: %s\n", i, peerbase_last_error());
                return 1;
            }
            peerbase_reply_free(reply);
        }
        peerbase_node_free(b);
        /* Perhaps written to a link whose other side is gone. */
        if (peerbase_node_call(a, "b", "__echo__", NULL, NULL, 50, &reply) == 0)
            return 1;
    }
    peerbase_node_free(a);
    if (alarms < 100)
        return 3;
    puts("ok");
    return 0;
}
