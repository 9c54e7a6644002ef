/* A node inside the program's own epoll loop: no thread, no lock, every callback in order.
 *
 *     epoll_loop SENSOR NETWORK KEY [PORT]
 *
 * Reads the sensor ten times, as fast as it answers, and ends. With a PORT all traffic stays on
 * this host, on that advertise port. */
#include <peerbase.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>

struct program {
    peerbase_node *node;
    const char *sensor;
    int readings;
    int failed;
};

static void read_again(struct program *program);

static void on_reading(const peerbase_reply *reply, void *user) {
    struct program *program = user;
    if (peerbase_reply_code(reply, 0) < 0) {
        fprintf(stderr, "%s\n", peerbase_reply_message(reply, 0));
        program->failed = 1;
        return;
    }
    printf("%s: %s\n", peerbase_reply_node(reply, 0), peerbase_reply_json(reply, 0));
    if (++program->readings < 10)
        read_again(program);
}

static void read_again(struct program *program) {
    int code = peerbase_node_call_async(program->node, program->sensor, "sensor.read", NULL, NULL,
                                        30000, on_reading, program, NULL, NULL);
    if (code < 0) {
        fprintf(stderr, "call: %s\n", peerbase_last_error());
        program->failed = 1;
    }
}

static void on_event(int event, const char *node, void *user) {
    (void)user;
    if (event == PEERBASE_EVENT_PEER_JOINED)
        printf("%s is there\n", node);
}

int main(int argc, char **argv) {
    struct program program = {0};
    peerbase_config *config;
    struct epoll_event event = {0};
    int epoll, code;

    if (argc < 4) {
        fprintf(stderr, "usage: epoll_loop SENSOR NETWORK KEY [PORT]\n");
        return 2;
    }
    program.sensor = argv[1];
    config = peerbase_config_new("looper", argv[2], argv[3]);
    if (!config) {
        fprintf(stderr, "config: %s\n", peerbase_last_error());
        return 1;
    }
    if (argc > 4) {
        peerbase_config_set_loopback(config, true);
        peerbase_config_set_advertise_port(config, (uint16_t)atoi(argv[4]));
    }
    code = peerbase_node_open(config, &program.node);
    peerbase_config_free(config);
    if (code < 0) {
        fprintf(stderr, "open: %s\n", peerbase_last_error());
        return 1;
    }
    peerbase_node_on_event(program.node, on_event, NULL, NULL);
    read_again(&program);

    epoll = epoll_create1(EPOLL_CLOEXEC);
    event.events = EPOLLIN;
    epoll_ctl(epoll, EPOLL_CTL_ADD, peerbase_node_fd(program.node), &event);
    while (program.readings < 10 && !program.failed) {
        /* The program's own descriptors would be in here too. */
        epoll_wait(epoll, &event, 1, peerbase_node_timeout_ms(program.node));
        if (peerbase_node_process(program.node, 0) < 0) {
            fprintf(stderr, "process: %s\n", peerbase_last_error());
            program.failed = 1;
        }
    }
    close(epoll);
    peerbase_node_free(program.node);
    return program.failed;
}
