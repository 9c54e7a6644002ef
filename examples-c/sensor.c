/* Serves commands until SIGINT or SIGTERM.
 *
 *     sensor NAME NETWORK KEY [PORT]
 *
 * With a PORT all traffic stays on this host, on that advertise port. */
#define _POSIX_C_SOURCE 200809L
#include <peerbase.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

static int fail(const char *what) {
    fprintf(stderr, "%s: %s\n", what, peerbase_last_error());
    return 1;
}

/* sensor.read answers every caller with a value. */
static void read_value(peerbase_request *request, void *user) {
    const double *celsius = user;
    char json[64];
    snprintf(json, sizeof json, "{\"celsius\":%.1f}", *celsius);
    peerbase_request_reply(request, json);
}

/* Room for a name of 64 bytes, each of which may need a backslash, between quotes. */
#define QUOTED_NAME (2 * 64 + 3)

/* Writes a name as JSON does. No name has control characters, but it may have quotes and
 * backslashes. */
static void quote(char json[QUOTED_NAME], const char *name) {
    *json++ = '"';
    for (; *name; name++) {
        if (*name == '"' || *name == '\\')
            *json++ = '\\';
        *json++ = *name;
    }
    *json++ = '"';
    *json = 0;
}

/* sensor.hello answers with the name of its caller and the arguments of the call. */
static void hello(peerbase_request *request, void *user) {
    char caller[QUOTED_NAME], json[512];
    (void)user;
    quote(caller, peerbase_request_caller(request));
    /* A caller may send up to 4 MiB. An answer that is cut would be no JSON. */
    if (snprintf(json, sizeof json, "{\"you\":%s,\"args\":%s}", caller,
                 peerbase_request_args(request)) >= (int)sizeof json)
        peerbase_request_fail(request, "say less");
    else
        peerbase_request_reply(request, json);
}

/* sensor.calibrate fails, as a command may. */
static void calibrate(peerbase_request *request, void *user) {
    (void)user;
    peerbase_request_fail(request, "no reference attached");
}

int main(int argc, char **argv) {
    static double celsius = 21.5;
    const peerbase_command commands[] = {
        {"read", read_value, &celsius, NULL},
        {"hello", hello, NULL, NULL},
        {"calibrate", calibrate, NULL, NULL},
    };
    peerbase_config *config;
    peerbase_node *node;
    sigset_t signals;
    int signal_number;

    if (argc < 4) {
        fprintf(stderr, "usage: sensor NAME NETWORK KEY [PORT]\n");
        return 2;
    }
    /* These signals are blocked before the node starts its thread, so that sigwait takes them. */
    sigemptyset(&signals);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGTERM);
    pthread_sigmask(SIG_BLOCK, &signals, NULL);

    config = peerbase_config_new(argv[1], argv[2], argv[3]);
    if (!config)
        return fail("config");
    if (argc > 4) {
        peerbase_config_set_loopback(config, true);
        peerbase_config_set_advertise_port(config, (uint16_t)atoi(argv[4]));
    }
    if (peerbase_node_start(config, &node) < 0) {
        peerbase_config_free(config);
        return fail("start");
    }
    peerbase_config_free(config);
    if (peerbase_node_register_table(node, "sensor", commands, 3) < 0)
        return fail("register");

    printf("%s is ready\n", argv[1]);
    fflush(stdout);
    sigwait(&signals, &signal_number);
    peerbase_node_free(node); /* says goodbye */
    return 0;
}
