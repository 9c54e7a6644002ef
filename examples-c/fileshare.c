/* Files by their hash.
 *
 *     fileshare NAME NETWORK KEY PORT FILE             offers FILE until SIGINT or SIGTERM
 *     fileshare NAME NETWORK KEY PORT FOLDER HASH      fetches the file of HASH into FOLDER
 *
 * All traffic stays on this host; leave out set_loopback for the LAN. */
#define _POSIX_C_SOURCE 200809L
#include <peerbase.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static int fail(const char *what) {
    fprintf(stderr, "%s: %s\n", what, peerbase_last_error());
    return 1;
}

static void show(uint64_t received, uint64_t size, void *user) {
    unsigned *shown = user;
    unsigned percent = size ? (unsigned)(received * 100 / size) : 100;
    if (percent != *shown)
        fprintf(stderr, "\r%3u %%", percent);
    *shown = percent;
}

/* A node that has just started does not know all others yet. */
static int fetch(peerbase_node *node, const char *folder, const char *hash) {
    const struct timespec moment = {0, 100 * 1000 * 1000};
    peerbase_reply *reply;
    unsigned shown = 101;
    int tries, code = 0;
    if (peerbase_node_set_file_dir(node, folder) < 0)
        return fail("folder");
    for (tries = 0; tries < 100; tries++) {
        code = peerbase_node_request_file(node, hash, 60000, show, &shown, &reply);
        if (code != PEERBASE_ERR_FILE_UNKNOWN)
            break;
        nanosleep(&moment, NULL);
    }
    if (code < 0)
        return fail("fetch");
    fprintf(stderr, "\n");
    printf("%s\n", peerbase_reply_json(reply, 0));
    peerbase_reply_free(reply);
    return 0;
}

int main(int argc, char **argv) {
    peerbase_config *config;
    peerbase_node *node;
    sigset_t signals;
    char hash[PEERBASE_HASH_LEN];
    int status = 0, signal_number;

    if (argc < 6) {
        fprintf(stderr, "usage: fileshare NAME NETWORK KEY PORT FILE | FOLDER HASH\n");
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
    peerbase_config_set_loopback(config, true);
    if (peerbase_config_set_advertise_port(config, (uint16_t)atoi(argv[4])) < 0 ||
        peerbase_node_start(config, &node) < 0) {
        peerbase_config_free(config);
        return fail("start");
    }
    peerbase_config_free(config);

    if (argc > 6) {
        status = fetch(node, argv[5], argv[6]);
    } else if (peerbase_node_add_file(node, argv[5], hash) < 0) {
        status = fail("add");
    } else {
        printf("ready: %s\n", hash);
        fflush(stdout);
        sigwait(&signals, &signal_number);
    }
    peerbase_node_free(node);
    return status;
}
