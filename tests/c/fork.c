/* A child of the process that started a node may free what it has, and nothing else works there:
 * each function says so, and none waits or touches what the parent has. The parent's node lives on,
 * and what was begun ends well.
 *
 *     fork KEY PORT */
#include "common.h"
#include <sys/wait.h>

#define FORKED(call) CHECK((call) == PEERBASE_ERR_FORKED)
/* For functions that give a value: the one that says nothing, and the reason. */
#define SAYS_FORKED(expression) (unset_error(), CHECK(expression), CHECK(is_forked()))

static peerbase_request *kept;
static int ended;

static void unset_error(void) { peerbase_key_generate(NULL); }

static int is_forked(void) {
    return !strcmp(peerbase_last_error(), peerbase_strerror(PEERBASE_ERR_FORKED));
}

static void answer(peerbase_request *request, void *user) {
    (void)user;
    peerbase_request_reply(request, "1");
}

static void keep(peerbase_request *request, void *user) {
    (void)user;
    pthread_mutex_lock(&lock);
    kept = request;
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&lock);
}

static void on_end(const peerbase_reply *reply, void *user) {
    (void)user;
    CHECK(peerbase_reply_code(reply, 0) == 0);
    CHECK(!strcmp(peerbase_reply_json(reply, 0), "\"parent\""));
    pthread_mutex_lock(&lock);
    ended++;
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&lock);
}

static peerbase_node *start(const char *name) {
    peerbase_config *config = config_of(name);
    CHECK(peerbase_config_register(config, "answer", answer, NULL, NULL) == 0);
    CHECK(peerbase_config_register(config, "keep", keep, NULL, NULL) == 0);
    return start_from(config);
}

static void node_in_the_child(peerbase_node *node) {
    const char *names[] = {"a"};
    const char *hash = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    char room[PEERBASE_HASH_LEN];
    const uint8_t byte = 0;
    peerbase_reply *reply;
    peerbase_stream *stream;
    uint64_t id;
    FORKED(peerbase_node_call(node, "a", "answer", NULL, NULL, 100, &reply));
    FORKED(peerbase_node_call_all(node, "answer", NULL, NULL, 100, &reply));
    FORKED(peerbase_node_call_many(node, names, 1, "answer", NULL, NULL, 100, 0, 0, &reply));
    FORKED(peerbase_node_call_async(node, "a", "answer", NULL, NULL, 9, on_end, NULL, NULL, &id));
    FORKED(peerbase_node_call_async(node, "*", "answer", NULL, NULL, 9, on_end, NULL, NULL, &id));
    FORKED(peerbase_node_cancel(node, 1));
    FORKED(peerbase_node_get_commands(node, "a", 100, &reply));
    FORKED(peerbase_node_send(node, "a", &byte, 1, 100, &reply));
    FORKED(peerbase_node_send_to(node, "a", &byte, 1, 100));
    FORKED(peerbase_node_broadcast(node, &byte, 1, 100, &reply));
    FORKED(peerbase_node_connect(node, "127.0.0.1:1", 100, &reply));
    FORKED(peerbase_node_call_stream(node, "a", "answer", NULL, NULL, 100, &stream));
    FORKED(peerbase_node_call_stream_many(node, names, 1, "answer", NULL, NULL, 9, &stream));
    FORKED(peerbase_node_register(node, "b", answer, NULL, NULL));
    FORKED(peerbase_node_register_table(node, "b", NULL, 0));
    FORKED(peerbase_node_unregister(node, "answer"));
    FORKED(peerbase_node_on_message(node, answer, NULL, NULL));
    FORKED(peerbase_node_on_event(node, NULL, NULL, NULL));
    FORKED(peerbase_node_peers(node, &reply));
    FORKED(peerbase_node_stats(node, &reply));
    FORKED(peerbase_node_save_state(node, "/dev/null"));
    FORKED(peerbase_node_load_state(node, "/dev/null"));
    FORKED(peerbase_node_add_file(node, "/etc/passwd", room));
    FORKED(peerbase_node_set_file_dir(node, "/"));
    FORKED(peerbase_node_refresh(node, &reply));
    FORKED(peerbase_node_request_file(node, hash, 100, NULL, NULL, &reply));
    FORKED(peerbase_node_process(node, 0));
    FORKED(peerbase_node_run(node));
    FORKED(peerbase_node_stop(node));
    SAYS_FORKED(peerbase_node_fd(node) == -1);
    SAYS_FORKED(peerbase_node_timeout_ms(node) == 0);
    SAYS_FORKED(peerbase_node_port(node) == 0);
}

static void streams_in_the_child(peerbase_stream *one, peerbase_stream *several) {
    uint8_t byte = 0;
    size_t n;
    peerbase_reply *reply;
    FORKED(peerbase_stream_read(one, &byte, 1, 100, &n));
    FORKED(peerbase_stream_write(one, &byte, 1, 100, &n));
    FORKED(peerbase_stream_abort(one, NULL));
    FORKED(peerbase_stream_finish(one));
    FORKED(peerbase_stream_on_ready(one, NULL, NULL, NULL));
    FORKED(peerbase_stream_wait(one, &reply));
    FORKED(peerbase_stream_write(several, &byte, 1, 100, &n));
    FORKED(peerbase_stream_finish(several));
    FORKED(peerbase_stream_wait(several, &reply));
    peerbase_stream_free(one);
    peerbase_stream_free(several);
}

static void child(peerbase_node *a, peerbase_node *b, peerbase_stream *one,
                  peerbase_stream *several, peerbase_request *request) {
    peerbase_stream *stream;
    alarm(60);
    node_in_the_child(a);
    streams_in_the_child(one, several);
    FORKED(peerbase_request_stream(request, &stream));
    CHECK(!peerbase_request_is_wanted(request));
    FORKED(peerbase_request_reply(request, "\"child\""));
    peerbase_node_free(a);
    peerbase_node_free(b);
    _exit(0);
}

int main(int argc, char **argv) {
    const char *names[] = {"b"};
    peerbase_node *a, *b;
    peerbase_stream *one, *several;
    peerbase_reply *reply;
    pid_t pid;
    int status;
    CHECK(argc == 3);
    key = argv[1];
    port = (uint16_t)atoi(argv[2]);
    /* Nothing here takes longer. */
    alarm(120);
    a = start("a");
    b = start("b");
    CHECK(peerbase_node_call_stream(a, "b", "answer", NULL, NULL, 60000, &one) == 0);
    CHECK(peerbase_node_call_stream_many(a, names, 1, "answer", NULL, NULL, 60000, &several) == 0);
    CHECK(peerbase_node_call_async(a, "b", "keep", NULL, NULL, 60000, on_end, NULL, NULL, NULL) ==
          0);
    pthread_mutex_lock(&lock);
    WAIT_FOR(kept);
    pthread_mutex_unlock(&lock);
    pid = fork();
    CHECK(pid >= 0);
    if (pid == 0)
        child(a, b, one, several, kept);
    CHECK(waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == 0);

    CHECK(peerbase_request_reply(kept, "\"parent\"") == 0);
    pthread_mutex_lock(&lock);
    WAIT_FOR(ended);
    pthread_mutex_unlock(&lock);
    CHECK(peerbase_stream_wait(one, &reply) == 0);
    peerbase_reply_free(reply);
    CHECK(peerbase_stream_wait(several, &reply) == 0 && peerbase_reply_code(reply, 0) == 0);
    peerbase_reply_free(reply);
    peerbase_stream_free(one);
    peerbase_stream_free(several);
    CHECK(peerbase_node_call(a, "b", "answer", NULL, NULL, 60000, &reply) == 0);
    peerbase_reply_free(reply);
    peerbase_node_free(a);
    peerbase_node_free(b);
    puts("ok");
    return 0;
}
