/* A child of the process that started a node may free it, and nothing else; the parent's node lives
 * on.
 *
 *     fork KEY PORT */
#define _POSIX_C_SOURCE 200809L
#include <peerbase.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

static void answer(peerbase_request *request, void *user) {
    (void)user;
    peerbase_request_reply(request, "1");
}

int main(int argc, char **argv) {
    peerbase_config *config = argc == 3 ? peerbase_config_new("a", "fork", argv[1]) : NULL;
    peerbase_node *node;
    peerbase_reply *reply;
    pid_t child;
    int status;
    if (!config)
        return 1;
    peerbase_config_set_loopback(config, true);
    peerbase_config_set_advertise_port(config, (uint16_t)atoi(argv[2]));
    peerbase_config_register(config, "answer", answer, NULL, NULL);
    if (peerbase_node_start(config, &node) < 0)
        return 2;
    peerbase_config_free(config);
    child = fork();
    if (child == 0) {
        alarm(60); /* The parent waits no longer for it. */
        if (peerbase_node_call(node, "a", "answer", NULL, NULL, 100, &reply) != PEERBASE_ERR_FORKED)
            _exit(3);
        if (peerbase_node_register(node, "b", answer, NULL, NULL) != PEERBASE_ERR_FORKED)
            _exit(4);
        if (peerbase_node_process(node, 0) != PEERBASE_ERR_FORKED)
            _exit(5);
        peerbase_node_free(node);
        _exit(0);
    }
    if (waitpid(child, &status, 0) != child || !WIFEXITED(status) || WEXITSTATUS(status) != 0)
        return 10 + WEXITSTATUS(status);
    if (peerbase_node_call(node, "a", "answer", NULL, NULL, 5000, &reply) != 0)
        return 6;
    peerbase_reply_free(reply);
    peerbase_node_free(node);
    puts("ok");
    return 0;
}
