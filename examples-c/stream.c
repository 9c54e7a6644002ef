/* A command that streams: what is streamed to it comes back in capitals, while more is on its way.
 *
 *     stream NAME NETWORK KEY PORT          serves "shout" until SIGINT or SIGTERM
 *     stream NAME NETWORK KEY PORT PEER     streams its input to "shout" at PEER
 *
 * The second prints what comes back. All traffic stays on this host; leave out set_loopback for
 * the LAN. */
#define _POSIX_C_SOURCE 200809L
#include <ctype.h>
#include <peerbase.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#define WAIT -1 /* as long as the call lives */

static int fail(const char *what) {
    fprintf(stderr, "%s: %s\n", what, peerbase_last_error());
    return 1;
}

/* Serves one call, on a thread of its own: a handler must not wait. */
static void *serve(void *user) {
    peerbase_request *request = user;
    peerbase_stream *stream;
    static const char broken[] = "the stream broke off";
    uint8_t data[16384];
    char json[32];
    size_t got = 0, i;
    unsigned long total = 0;
    int code = peerbase_request_stream(request, &stream);

    while (code == 0 && (code = peerbase_stream_read(stream, data, sizeof data, WAIT, &got)) == 0 &&
           got > 0) {
        for (i = 0; i < got; i++)
            data[i] = (uint8_t)toupper(data[i]);
        total += (unsigned long)got;
        code = peerbase_stream_write(stream, data, got, WAIT, NULL);
    }
    if (code == 0) {
        snprintf(json, sizeof json, "%lu", total);
        peerbase_request_reply(request, json); /* finishes the stream as well */
    } else {
        peerbase_request_fail(request, broken);
    }
    peerbase_stream_free(stream);
    return NULL;
}

static void shout(peerbase_request *request, void *user) {
    pthread_t thread;
    (void)user;
    if (pthread_create(&thread, NULL, serve, request))
        peerbase_request_fail(request, "no thread to serve with");
    else
        pthread_detach(thread);
}

/* Prints what comes back, while the main thread writes. */
static void *print(void *user) {
    peerbase_stream *stream = user;
    uint8_t data[16384];
    size_t got;
    int code;
    while ((code = peerbase_stream_read(stream, data, sizeof data, WAIT, &got)) == 0 && got > 0)
        fwrite(data, 1, got, stdout);
    if (code < 0)
        fail("read");
    return NULL;
}

static int call(peerbase_node *node, const char *peer) {
    peerbase_stream *stream;
    peerbase_reply *reply;
    pthread_t reader;
    uint8_t data[16384];
    size_t n;
    int code;

    if (peerbase_node_call_stream(node, peer, "shout", NULL, NULL, 30000, &stream) < 0)
        return fail("call");
    pthread_create(&reader, NULL, print, stream);
    while ((n = fread(data, 1, sizeof data, stdin)) > 0) {
        if (peerbase_stream_write(stream, data, n, WAIT, NULL) < 0) {
            fail("write");
            break;
        }
    }
    peerbase_stream_finish(stream);
    pthread_join(reader, NULL);

    code = peerbase_stream_wait(stream, &reply);
    if (code < 0)
        fail("shout");
    else
        fprintf(stderr, "%s bytes\n", peerbase_reply_json(reply, 0));
    peerbase_reply_free(reply);
    peerbase_stream_free(stream);
    return code < 0;
}

int main(int argc, char **argv) {
    peerbase_config *config;
    peerbase_node *node;
    sigset_t signals;
    int status = 0, signal_number;

    if (argc < 5) {
        fprintf(stderr, "usage: stream NAME NETWORK KEY PORT [PEER]\n");
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
    peerbase_config_register(config, "shout", shout, NULL, NULL);
    if (peerbase_config_set_advertise_port(config, (uint16_t)atoi(argv[4])) < 0 ||
        peerbase_node_start(config, &node) < 0) {
        peerbase_config_free(config);
        return fail("start");
    }
    peerbase_config_free(config);

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
