/* Nodes that cannot see each other, joined by a relay.
 *
 *     relayed NAME NETWORK KEY RELAY         serves "hello" until SIGINT or SIGTERM
 *     relayed NAME NETWORK KEY RELAY PEER    calls "hello" at PEER
 *
 * RELAY is where `peerbase relay` listens, as HOST:PORT. With one on 127.0.0.1 all traffic stays on
 * this host. */
#define _POSIX_C_SOURCE 200809L
#include <peerbase.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

static int fail(const char *what) {
    fprintf(stderr, "%s: %s\n", what, peerbase_last_error());
    return 1;
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

static void hello(peerbase_request *request, void *user) {
    char caller[QUOTED_NAME], json[32 + sizeof caller];
    (void)user;
    quote(caller, peerbase_request_caller(request));
    snprintf(json, sizeof json, "{\"hello\":%s}", caller);
    peerbase_request_reply(request, json);
}

/* Prints what happens to relays and paths. The node deals with it by itself. */
static void on_event(int event, const char *about, void *user) {
    (void)user;
    switch (event) {
    case PEERBASE_EVENT_RELAY_UP:
        fprintf(stderr, "relay %s is up\n", about);
        break;
    case PEERBASE_EVENT_RELAY_UNPROVEN:
        fprintf(stderr, "relay %s has no relay key: it proves nothing\n", about);
        break;
    case PEERBASE_EVENT_RELAY_DOWN:
    case PEERBASE_EVENT_RELAY_REFUSED:
        fprintf(stderr, "relay is down: %s\n", peerbase_last_error());
        break;
    case PEERBASE_EVENT_PATH_DIRECT:
        fprintf(stderr, "%s is reached directly now\n", about);
        break;
    case PEERBASE_EVENT_PATH_RELAY:
        fprintf(stderr, "%s is reached through a relay now\n", about);
        break;
    default:
        break;
    }
}

/* Calls a peer and shows how it is reached. */
static int call(peerbase_node *node, const char *peer) {
    peerbase_reply *reply;
    size_t i;
    int code = peerbase_node_call(node, peer, "hello", NULL, NULL, 30000, &reply);
    if (code < 0)
        return fail("call");
    printf("%s: %s\n", peerbase_reply_node(reply, 0), peerbase_reply_json(reply, 0));
    peerbase_reply_free(reply);

    if (peerbase_node_peers(node, &reply) < 0)
        return fail("peers");
    for (i = 0; i < peerbase_reply_count(reply); i++) {
        if (peerbase_reply_code(reply, i) == 0)
            printf("%s: %s\n", peerbase_reply_node(reply, i), peerbase_reply_json(reply, i));
    }
    peerbase_reply_free(reply);
    return 0;
}

int main(int argc, char **argv) {
    peerbase_config *config;
    peerbase_node *node;
    sigset_t signals;
    int status = 0, signal_number;

    if (argc < 5) {
        fprintf(stderr, "usage: relayed NAME NETWORK KEY RELAY [PEER]\n");
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
    peerbase_config_set_loopback(config, strncmp(argv[4], "127.", 4) == 0);
    peerbase_config_set_lan(config, false); /* leave out to find nodes on the LAN as well */
    peerbase_config_register(config, "hello", hello, NULL, NULL);
    if (peerbase_config_add_relay(config, argv[4]) < 0 || peerbase_node_start(config, &node) < 0) {
        peerbase_config_free(config);
        return fail("start");
    }
    peerbase_config_free(config);
    peerbase_node_on_event(node, on_event, NULL, NULL);

    if (argc > 5) {
        status = call(node, argv[5]);
    } else {
        printf("%s is ready\n", argv[1]);
        fflush(stdout);
        sigwait(&signals, &signal_number);
    }
    peerbase_node_free(node);
    return status;
}
