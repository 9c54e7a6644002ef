/* A gateway in a network of Python programs that use PeerBase 0.7.1: to them it is one of theirs.
 *
 *     legacy NAME NETWORK KEY PORT           meets them on the LAN, and on this host
 *     legacy NAME NETWORK KEY PORT RELAY     meets them at a relay, relay.py or `peerbase relay`
 *
 * PORT is where they advertise, the second of their `ports`. It serves "gateway.read", asks every
 * node that comes what can be called there, and runs until SIGINT or SIGTERM. Python nodes have it
 * in their `peers`:
 *
 *     node.command("gateway.read", [], {}, target=NAME)
 *
 * With a RELAY on 127.0.0.1 all traffic stays on this host. */
#define _POSIX_C_SOURCE 200809L
#include <peerbase.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int fail(const char *what) {
    fprintf(stderr, "%s: %s\n", what, peerbase_last_error());
    return 1;
}

/* An attacker that has recorded a call of a Python node can have it run again. So what Python
 * nodes may call must be harmless. */
static void on_read(peerbase_request *request, void *user) {
    (void)user;
    fprintf(stderr, "%s reads, with %s\n", peerbase_request_caller(request),
            peerbase_request_args(request));
    peerbase_request_reply(request, "{\"celsius\": 21.5}");
}

static void on_commands(const peerbase_reply *reply, void *user) {
    (void)user;
    if (peerbase_reply_code(reply, 0) == 0)
        printf("%s knows %s\n", peerbase_reply_node(reply, 0), peerbase_reply_json(reply, 0));
    else
        printf("%s does not say\n", peerbase_reply_node(reply, 0));
    fflush(stdout);
}

static void on_event(int event, const char *about, void *user) {
    peerbase_node *node = user;
    if (event == PEERBASE_EVENT_PEER_LEFT)
        fprintf(stderr, "%s left\n", about);
    if (event == PEERBASE_EVENT_PEER_JOINED &&
        peerbase_node_call_async(node, about, "__list_commands__", NULL, NULL, 30000, on_commands,
                                 NULL, NULL, NULL) < 0)
        fail(about);
}

/* Prints each peer and how it is reached; "compat" marks a Python node. */
static void show_peers(peerbase_node *node) {
    peerbase_reply *reply;
    size_t i;
    if (peerbase_node_peers(node, &reply) < 0)
        return;
    for (i = 0; i < peerbase_reply_count(reply); i++)
        if (peerbase_reply_code(reply, i) == 0)
            printf("%s: %s\n", peerbase_reply_node(reply, i), peerbase_reply_json(reply, i));
    peerbase_reply_free(reply);
}

int main(int argc, char **argv) {
    peerbase_config *config;
    peerbase_node *node;
    sigset_t signals;
    int port, code = 0, signal_number;

    if (argc < 5 || (port = atoi(argv[4])) < 1 || port > 65535) {
        fprintf(stderr, "usage: legacy NAME NETWORK KEY PORT [RELAY]\n");
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
    peerbase_config_set_compat_port(config, (uint16_t)port);
    if (argc > 5) {
        peerbase_config_set_lan(config, false);
        peerbase_config_set_loopback(config, strncmp(argv[5], "127.", 4) == 0);
        code = peerbase_config_add_compat_relay(config, argv[5]);
    }
    peerbase_config_register(config, "gateway.read", on_read, NULL, NULL);
    if (code < 0 || peerbase_node_start(config, &node) < 0) {
        peerbase_config_free(config);
        return fail("start");
    }
    peerbase_config_free(config);
    peerbase_node_on_event(node, on_event, node, NULL);

    printf("%s is ready\n", argv[1]);
    fflush(stdout);
    sigwait(&signals, &signal_number);
    show_peers(node);
    peerbase_node_free(node);
    return 0;
}
