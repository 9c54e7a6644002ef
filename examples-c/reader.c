/* Calls a sensor by name, then everyone.
 *
 *     reader SENSOR NETWORK KEY [PORT]
 *
 * With a PORT all traffic stays on this host, on that advertise port. */
#include <peerbase.h>
#include <stdio.h>
#include <stdlib.h>

static int show(const peerbase_reply *reply) {
    size_t i;
    int failures = 0;
    for (i = 0; i < peerbase_reply_count(reply); i++) {
        if (peerbase_reply_code(reply, i) == 0) {
            printf("%s: %s\n", peerbase_reply_node(reply, i), peerbase_reply_json(reply, i));
        } else {
            printf("%s failed: %s\n", peerbase_reply_node(reply, i),
                   peerbase_reply_message(reply, i));
            failures++;
        }
    }
    return failures;
}

int main(int argc, char **argv) {
    peerbase_config *config;
    peerbase_node *node;
    peerbase_reply *reply;
    int code, status = 0;

    if (argc < 4) {
        fprintf(stderr, "usage: reader SENSOR NETWORK KEY [PORT]\n");
        return 2;
    }
    config = peerbase_config_new("reader", argv[2], argv[3]);
    if (!config) {
        fprintf(stderr, "config: %s\n", peerbase_last_error());
        return 1;
    }
    if (argc > 4) {
        peerbase_config_set_loopback(config, true);
        peerbase_config_set_advertise_port(config, (uint16_t)atoi(argv[4]));
    }
    code = peerbase_node_start(config, &node);
    peerbase_config_free(config);
    if (code < 0) {
        fprintf(stderr, "start: %s\n", peerbase_last_error());
        return 1;
    }

    /* This calls one node. If that node is not there yet, the call waits for it. */
    code = peerbase_node_call(node, argv[1], "sensor.hello", "[1, \"two\"]", NULL, 30000, &reply);
    if (code == 0) {
        show(reply);
    } else {
        fprintf(stderr, "%s: %s\n", peerbase_strerror(code), peerbase_last_error());
        status = 1;
    }
    peerbase_reply_free(reply);

    /* This calls every node that is known now. */
    code = peerbase_node_call_all(node, "sensor.read", NULL, NULL, 30000, &reply);
    if (code < 0 || show(reply) > 0)
        status = 1;
    peerbase_reply_free(reply);

    /* A command that fails says why in a message. */
    code = peerbase_node_call(node, argv[1], "sensor.calibrate", NULL, NULL, 30000, &reply);
    if (code != PEERBASE_ERR_COMMAND_FAILED)
        status = 1;
    show(reply);
    peerbase_reply_free(reply);

    peerbase_node_free(node);
    return status;
}
