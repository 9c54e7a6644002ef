/* Everything a C program can do wrong, and what must come of it: a code, and nothing else.
 *
 *     abuse KEY PORT */
#include "common.h"
#include <limits.h>

static peerbase_request *kept;

static peerbase_node *start(const char *name) { return start_from(config_of(name)); }

static void answer(peerbase_request *request, void *user) {
    (void)user;
    peerbase_request_reply(request, "1");
}

static void answer_badly(peerbase_request *request, void *user) {
    (void)user;
    CHECK(peerbase_request_reply(request, "{not json") == PEERBASE_ERR_JSON);
}

static void keep(peerbase_request *request, void *user) {
    (void)user;
    pthread_mutex_lock(&lock);
    kept = request;
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&lock);
}

static peerbase_request *take_kept(void) {
    peerbase_request *request;
    pthread_mutex_lock(&lock);
    WAIT_FOR(kept);
    request = kept;
    kept = NULL;
    pthread_mutex_unlock(&lock);
    return request;
}

static void wait_inside(peerbase_request *request, void *user) {
    peerbase_reply *reply;
    CHECK(peerbase_node_call(user, "b", "__echo__", NULL, NULL, 100, &reply) ==
          PEERBASE_ERR_WOULD_DEADLOCK);
    CHECK(peerbase_node_process(user, 0) == PEERBASE_ERR_WOULD_DEADLOCK ||
          peerbase_node_process(user, 0) == PEERBASE_ERR_ARGUMENT);
    peerbase_request_reply(request, "true");
}

static void free_inside(peerbase_request *request, void *user) {
    peerbase_node_free(*(peerbase_node **)user);
    CHECK(peerbase_request_reply(request, "1") == PEERBASE_ERR_STOPPED);
}

static void null_everywhere(void) {
    size_t len = 0;
    peerbase_node *node = NULL;
    peerbase_reply *reply = NULL;
    CHECK(peerbase_key_generate(NULL) == PEERBASE_ERR_ARGUMENT);
    CHECK(!peerbase_config_new(NULL, "n", key) && !peerbase_config_new("a", NULL, key) &&
          !peerbase_config_new("a", "n", NULL));
    CHECK(peerbase_config_set_listen(NULL, "127.0.0.1:0") == PEERBASE_ERR_ARGUMENT);
    CHECK(peerbase_config_set_advertise_port(NULL, 1) == PEERBASE_ERR_ARGUMENT);
    CHECK(peerbase_config_set_advertise_address(NULL, NULL) == PEERBASE_ERR_ARGUMENT);
    CHECK(peerbase_config_set_advertise_interval(NULL, 100) == PEERBASE_ERR_ARGUMENT);
    CHECK(peerbase_config_set_loopback(NULL, true) == PEERBASE_ERR_ARGUMENT);
    CHECK(peerbase_config_set_lan(NULL, true) == PEERBASE_ERR_ARGUMENT);
    CHECK(peerbase_config_add_relay(NULL, "r:1") == PEERBASE_ERR_ARGUMENT);
    CHECK(peerbase_config_set_max_remotes(NULL, 1) == PEERBASE_ERR_ARGUMENT);
    CHECK(peerbase_config_set_relay_keepalive(NULL, 1000) == PEERBASE_ERR_ARGUMENT);
    CHECK(peerbase_config_set_compat(NULL, true) == PEERBASE_ERR_ARGUMENT);
    CHECK(peerbase_config_set_compat_listen(NULL, "0.0.0.0:0") == PEERBASE_ERR_ARGUMENT);
    CHECK(peerbase_config_set_compat_port(NULL, 1) == PEERBASE_ERR_ARGUMENT);
    CHECK(peerbase_config_add_compat_relay(NULL, "r:1") == PEERBASE_ERR_ARGUMENT);
    CHECK(peerbase_config_set_compat_tick(NULL, 250) == PEERBASE_ERR_ARGUMENT);
    CHECK(peerbase_config_set_limit(NULL, PEERBASE_LIMIT_PEERS, 1) == PEERBASE_ERR_ARGUMENT);
    CHECK(peerbase_config_add_key(NULL, key) == PEERBASE_ERR_ARGUMENT);
    CHECK(peerbase_config_register(NULL, "a", answer, NULL, count_drop) == PEERBASE_ERR_ARGUMENT);
    CHECK(peerbase_config_on_message(NULL, answer, NULL, count_drop) == PEERBASE_ERR_ARGUMENT);
    CHECK(dropped() == 2);
    CHECK(peerbase_node_start(NULL, &node) == PEERBASE_ERR_ARGUMENT && !node);
    CHECK(peerbase_node_open(NULL, &node) == PEERBASE_ERR_ARGUMENT && !node);
    CHECK(peerbase_node_start(NULL, NULL) == PEERBASE_ERR_ARGUMENT);
    CHECK(peerbase_node_fd(NULL) == -1 && peerbase_node_timeout_ms(NULL) == 0);
    CHECK(peerbase_node_process(NULL, 0) == PEERBASE_ERR_ARGUMENT);
    CHECK(peerbase_node_run(NULL) == PEERBASE_ERR_ARGUMENT);
    CHECK(peerbase_node_stop(NULL) == PEERBASE_ERR_ARGUMENT && peerbase_node_port(NULL) == 0);
    CHECK(peerbase_node_register(NULL, "a", answer, NULL, NULL) == PEERBASE_ERR_ARGUMENT);
    CHECK(peerbase_node_register_table(NULL, "a", NULL, 1) == PEERBASE_ERR_ARGUMENT);
    CHECK(peerbase_node_unregister(NULL, "a") == PEERBASE_ERR_ARGUMENT);
    CHECK(peerbase_node_on_message(NULL, answer, NULL, NULL) == PEERBASE_ERR_ARGUMENT);
    CHECK(peerbase_node_on_event(NULL, NULL, NULL, NULL) == PEERBASE_ERR_ARGUMENT);
    CHECK(peerbase_node_call(NULL, "a", "b", NULL, NULL, 1, &reply) == PEERBASE_ERR_ARGUMENT);
    CHECK(peerbase_node_call_all(NULL, "b", NULL, NULL, 1, &reply) == PEERBASE_ERR_ARGUMENT);
    CHECK(peerbase_node_send(NULL, "a", NULL, 0, 1, &reply) == PEERBASE_ERR_ARGUMENT);
    CHECK(peerbase_node_call_async(NULL, "a", "b", NULL, NULL, 1, NULL, NULL, NULL, NULL) ==
          PEERBASE_ERR_ARGUMENT);
    CHECK(peerbase_node_cancel(NULL, 1) == PEERBASE_ERR_ARGUMENT);
    CHECK(peerbase_node_get_commands(NULL, "a", 1, &reply) == PEERBASE_ERR_ARGUMENT);
    CHECK(peerbase_node_peers(NULL, &reply) == PEERBASE_ERR_ARGUMENT);
    CHECK(peerbase_node_stats(NULL, &reply) == PEERBASE_ERR_ARGUMENT);
    CHECK(!peerbase_request_caller(NULL) && !peerbase_request_path(NULL) &&
          !peerbase_request_args(NULL) && !peerbase_request_kwargs(NULL) &&
          !peerbase_request_data(NULL, &len) && !peerbase_request_is_wanted(NULL));
    CHECK(peerbase_request_reply(NULL, "1") == PEERBASE_ERR_ARGUMENT);
    CHECK(peerbase_request_reply_data(NULL, NULL, 0) == PEERBASE_ERR_ARGUMENT);
    CHECK(peerbase_request_fail(NULL, NULL) == PEERBASE_ERR_ARGUMENT);
    CHECK(peerbase_request_refuse(NULL, NULL) == PEERBASE_ERR_ARGUMENT);
    CHECK(peerbase_reply_count(NULL) == 0 && !peerbase_reply_node(NULL, 0) &&
          peerbase_reply_code(NULL, 0) == PEERBASE_ERR_ARGUMENT && !peerbase_reply_json(NULL, 0) &&
          !peerbase_reply_message(NULL, 0) && !peerbase_reply_data(NULL, 0, &len));
    CHECK(peerbase_set_log(1, NULL) == PEERBASE_ERR_ARGUMENT);
    peerbase_config_free(NULL);
    peerbase_node_free(NULL);
    peerbase_reply_free(NULL);
}

static void bad_strings(void) {
    char short_key[PEERBASE_KEY_LEN];
    peerbase_config *config = config_of("a");
    strcpy(short_key, key);
    short_key[43] = 0;
    CHECK(!peerbase_config_new("a", "n", short_key) && strstr(peerbase_last_error(), "44"));
    CHECK(!peerbase_config_new("a|b", "n", key) && strstr(peerbase_last_error(), "| . : @"));
    CHECK(!peerbase_config_new("a", "n\xff", key) && strstr(peerbase_last_error(), "UTF-8"));
    CHECK(peerbase_config_set_listen(config, "localhost") == PEERBASE_ERR_ADDRESS);
    CHECK(peerbase_config_set_listen(config, "\xff") == PEERBASE_ERR_UTF8);
    CHECK(peerbase_config_set_listen(config, NULL) == PEERBASE_ERR_ARGUMENT);
    CHECK(peerbase_config_set_advertise_port(config, 0) == PEERBASE_ERR_ARGUMENT);
    CHECK(peerbase_config_set_advertise_interval(config, 1) == PEERBASE_ERR_ARGUMENT);
    CHECK(peerbase_config_add_relay(config, NULL) == PEERBASE_ERR_ARGUMENT);
    CHECK(peerbase_config_add_relay(config, "\xff:1") == PEERBASE_ERR_UTF8);
    CHECK(peerbase_config_add_relay(config, "nowhere") == PEERBASE_ERR_ADDRESS);
    CHECK(peerbase_config_add_relay(config, "a b:1") == PEERBASE_ERR_ADDRESS);
    CHECK(peerbase_config_set_max_remotes(config, 17) == PEERBASE_ERR_ARGUMENT);
    CHECK(peerbase_config_set_relay_keepalive(config, 99) == PEERBASE_ERR_ARGUMENT);
    CHECK(peerbase_config_set_relay_keepalive(config, 30001) == PEERBASE_ERR_ARGUMENT);
    CHECK(peerbase_config_set_compat_listen(config, NULL) == PEERBASE_ERR_ARGUMENT);
    CHECK(peerbase_config_set_compat_listen(config, "[::1]:1") == PEERBASE_ERR_ADDRESS);
    CHECK(peerbase_config_set_compat_listen(config, "nowhere") == PEERBASE_ERR_ADDRESS);
    CHECK(peerbase_config_set_compat_port(config, 0) == PEERBASE_ERR_ARGUMENT);
    CHECK(peerbase_config_add_compat_relay(config, "\xff:1") == PEERBASE_ERR_UTF8);
    CHECK(peerbase_config_add_compat_relay(config, "nowhere") == PEERBASE_ERR_ADDRESS);
    CHECK(peerbase_config_set_compat_tick(config, 9) == PEERBASE_ERR_ARGUMENT);
    CHECK(peerbase_config_set_compat_tick(config, 60001) == PEERBASE_ERR_ARGUMENT);
    CHECK(peerbase_config_set_compat(config, true) == 0);
    CHECK(peerbase_config_set_compat(config, false) == 0);
    CHECK(peerbase_config_add_key(config, "") == PEERBASE_ERR_KEY);
    CHECK(peerbase_config_register(config, "a..b", answer, NULL, NULL) == PEERBASE_ERR_PATH);
    CHECK(peerbase_config_register(config, "a", NULL, NULL, NULL) == PEERBASE_ERR_ARGUMENT);
    peerbase_config_free(config);
    CHECK(!strcmp(peerbase_strerror(-9999), "unknown code"));
    CHECK(!strcmp(peerbase_strerror(PEERBASE_ERR_NAME_TAKEN), "name-taken"));
}

static void bad_calls(peerbase_node *a) {
    peerbase_reply *reply = (peerbase_reply *)1;
    char *large = malloc(100000002);
    char *deep = malloc(100001);
    CHECK(peerbase_node_call(a, "b", "x", NULL, NULL, -1, &reply) == PEERBASE_ERR_ARGUMENT &&
          !reply);
    CHECK(peerbase_node_call(a, "b", "x", NULL, NULL, 1, NULL) == PEERBASE_ERR_ARGUMENT);
    CHECK(peerbase_node_call(a, "b", NULL, NULL, NULL, 1, &reply) == PEERBASE_ERR_ARGUMENT);
    CHECK(peerbase_node_call(a, "b", "x", "{}", NULL, 1, &reply) == PEERBASE_ERR_JSON);
    CHECK(peerbase_node_call(a, "b", "x", NULL, "[]", 1, &reply) == PEERBASE_ERR_JSON);
    CHECK(peerbase_node_call(a, "b", "x", "[NaN]", NULL, 1, &reply) == PEERBASE_ERR_JSON);
    CHECK(peerbase_node_call(a, "b", "x", NULL, "{\"a\":1,\"a\":2}", 1, &reply) ==
          PEERBASE_ERR_JSON);
    CHECK(peerbase_node_call(a, "b", "x", "[\"\xff\"]", NULL, 1, &reply) == PEERBASE_ERR_UTF8);
    CHECK(peerbase_node_call(a, "*", "x", NULL, NULL, 1, &reply) == PEERBASE_ERR_NAME);
    CHECK(peerbase_node_call(a, "b", "none", NULL, NULL, 60000, &reply) ==
              PEERBASE_ERR_COMMAND_NOT_FOUND &&
          reply);
    peerbase_reply_free(reply);
    CHECK(peerbase_node_call_many(a, NULL, 1, "x", NULL, NULL, 1, 0, 0, &reply) ==
          PEERBASE_ERR_ARGUMENT);
    CHECK(peerbase_node_call_many(a, NULL, 0, "x", NULL, NULL, 1, 0, 64, &reply) ==
          PEERBASE_ERR_ARGUMENT);
    memset(deep, '[', 40000);
    deep[40000] = 0;
    CHECK(peerbase_node_call(a, "b", "x", deep, NULL, 1, &reply) == PEERBASE_ERR_JSON);
    /* As deep as may be, and one deeper. */
    memset(deep, '[', 127);
    memset(deep + 127, ']', 127);
    deep[254] = 0;
    CHECK(peerbase_node_call(a, "b", "answer", deep, NULL, 20000, &reply) == 0);
    peerbase_reply_free(reply);
    memset(deep, '[', 128);
    memset(deep + 128, ']', 128);
    deep[256] = 0;
    CHECK(peerbase_node_call(a, "b", "answer", deep, NULL, 20000, &reply) == PEERBASE_ERR_JSON);
    memset(large, ' ', 100000000);
    large[0] = '[';
    large[100000000] = ']';
    large[100000001] = 0;
    CHECK(peerbase_node_call(a, "b", "x", large, NULL, 1, &reply) == PEERBASE_ERR_TOO_LARGE);
    free(large);
    free(deep);
}

static void *call_often(void *node) {
    int i;
    for (i = 0; i < 20; i++) {
        peerbase_reply *reply;
        CHECK(peerbase_node_call(node, "b", "answer", NULL, NULL, 60000, &reply) == 0);
        CHECK(!strcmp(peerbase_reply_json(reply, 0), "1"));
        peerbase_reply_free(reply);
    }
    return NULL;
}

static void *call_for_ever(void *node) {
    peerbase_reply *reply;
    int code = peerbase_node_call(node, "b", "keep", NULL, NULL, 3600000, &reply);
    CHECK(code == PEERBASE_ERR_STOPPED && !reply);
    return NULL;
}

static void sixteen_threads(peerbase_node *a) {
    pthread_t threads[16];
    int i;
    for (i = 0; i < 16; i++)
        pthread_create(&threads[i], NULL, call_often, a);
    for (i = 0; i < 16; i++)
        join(threads[i]);
}

static void messages(peerbase_node *a) {
    peerbase_reply *reply;
    size_t len = 9;
    CHECK(peerbase_node_send(a, "b", NULL, 1, 100, &reply) == PEERBASE_ERR_ARGUMENT);
    CHECK(peerbase_node_send(a, "b", (const uint8_t *)"a\0b", 3, 60000, &reply) == 0);
    CHECK(!memcmp(peerbase_reply_data(reply, 0, &len), "a\0b", 3) && len == 3);
    CHECK(!peerbase_reply_json(reply, 0) && !peerbase_reply_data(reply, 1, &len) && len == 0);
    peerbase_reply_free(reply);
}

static void echo_message(peerbase_request *request, void *user) {
    size_t len;
    const uint8_t *data = peerbase_request_data(request, &len);
    uint8_t copy[16];
    (void)user;
    CHECK(len <= sizeof copy);
    memcpy(copy, data, len);
    CHECK(peerbase_request_reply_data(request, copy, len) == 0);
}

/* Of a command: it was called with JSON, and answers with bytes. */
static void answer_bytes(peerbase_request *request, void *user) {
    size_t len = 9;
    (void)user;
    CHECK(!peerbase_request_data(request, &len) && len == 0);
    CHECK(peerbase_request_reply_data(request, (const uint8_t *)"\0\xff", 2) == 0);
}

static void bytes_of_a_command(peerbase_node *a) {
    peerbase_reply *reply;
    size_t len = 9;
    CHECK(peerbase_node_call(a, "b", "bytes", NULL, NULL, 60000, &reply) == 0);
    CHECK(!memcmp(peerbase_reply_data(reply, 0, &len), "\0\xff", 2) && len == 2);
    CHECK(peerbase_reply_code(reply, 0) == 0 && !peerbase_reply_json(reply, 0));
    peerbase_reply_free(reply);
}

static int ended, ended_code;

static void on_end(const peerbase_reply *reply, void *user) {
    (void)user;
    pthread_mutex_lock(&lock);
    ended++;
    ended_code = peerbase_reply_code(reply, 0);
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&lock);
}

static int wait_ended(int count) {
    int code;
    pthread_mutex_lock(&lock);
    WAIT_FOR(ended >= count);
    code = ended_code;
    pthread_mutex_unlock(&lock);
    return code;
}

/* Each limit has its range, and one that was set is kept. */
static void limits(void) {
    peerbase_config *config = config_of("small");
    peerbase_node *small;
    int limit;
    for (limit = -1; limit < 1000; limit++) {
        bool known = limit >= PEERBASE_LIMIT_PEERS && limit <= PEERBASE_LIMIT_CALL_TIMEOUT_MS;
        int code = peerbase_config_set_limit(config, limit, 100000);
        if (limit == PEERBASE_LIMIT_CHUNK_SIZE)
            known = false; /* It fits one frame. */
        CHECK(code == (known ? 0 : PEERBASE_ERR_ARGUMENT));
    }
    CHECK(peerbase_config_set_limit(config, PEERBASE_LIMIT_PEERS, 0) == PEERBASE_ERR_ARGUMENT);
    CHECK(strstr(peerbase_last_error(), "1 to 1 048 576"));
    CHECK(peerbase_config_set_limit(config, PEERBASE_LIMIT_LINK_QUEUE, UINT64_MAX) ==
          PEERBASE_ERR_ARGUMENT);
    CHECK(peerbase_config_set_limit(config, PEERBASE_LIMIT_STREAM_WINDOW, 97279) ==
          PEERBASE_ERR_ARGUMENT);
    CHECK(peerbase_config_set_limit(config, PEERBASE_LIMIT_CALLS, 1) == 0);
    small = start_from(config);
    CHECK(peerbase_node_call_async(small, "nobody", "x", NULL, NULL, 60000, on_end, NULL, NULL,
                                   NULL) == 0);
    CHECK(peerbase_node_call_async(small, "nobody", "x", NULL, NULL, 60000, on_end, NULL, NULL,
                                   NULL) == PEERBASE_ERR_OVERLOADED);
    peerbase_node_free(small);
    CHECK(wait_ended(1) == PEERBASE_ERR_STOPPED);
    ended = 0;
}

/* Calls that end later: answered, by everyone, and given up. */
static void async_calls(peerbase_node *a) {
    uint64_t id = 0;
    int before = dropped();
    CHECK(peerbase_node_call_async(a, "b", "answer", NULL, NULL, 60000, on_end, NULL, count_drop,
                                   &id) == 0 &&
          id != 0);
    CHECK(wait_ended(1) == 0);
    CHECK(peerbase_node_call_async(a, "*", "answer", NULL, NULL, 60000, on_end, NULL, count_drop,
                                   NULL) == 0);
    CHECK(wait_ended(2) == 0);
    CHECK(peerbase_node_call_async(a, "nobody", "x", NULL, NULL, 60000, on_end, NULL, count_drop,
                                   &id) == 0);
    CHECK(peerbase_node_cancel(a, id) == 0 && peerbase_node_cancel(a, id) == 0);
    CHECK(wait_ended(3) == PEERBASE_ERR_CANCELLED);
    pthread_mutex_lock(&lock);
    WAIT_FOR(drops >= before + 3);
    pthread_mutex_unlock(&lock);
}

static void *run(void *node) {
    CHECK(peerbase_node_run(node) == 0);
    return NULL;
}

/* The third way to run a node: a thread of the program's lends itself. */
static void lend_a_thread(peerbase_node *a) {
    peerbase_config *config = config_of("lent");
    peerbase_node *node = NULL;
    peerbase_reply *reply;
    pthread_t thread;
    CHECK(peerbase_config_on_message(config, echo_message, NULL, NULL) == 0);
    CHECK(peerbase_node_open(config, &node) == 0);
    peerbase_config_free(config);
    pthread_create(&thread, NULL, run, node);
    CHECK(peerbase_node_send(a, "lent", (const uint8_t *)"x", 1, 60000, &reply) == 0);
    peerbase_reply_free(reply);
    CHECK(peerbase_node_run(node) == PEERBASE_ERR_ARGUMENT);
    CHECK(peerbase_node_process(node, 0) == PEERBASE_ERR_ARGUMENT);
    CHECK(peerbase_node_stop(node) == 0);
    join(thread);
    CHECK(peerbase_node_call(node, "b", "answer", NULL, NULL, 1, &reply) == PEERBASE_ERR_STOPPED);
    peerbase_node_free(node);
}

int main(int argc, char **argv) {
    peerbase_node *a, *b, *c;
    peerbase_reply *reply;
    pthread_t thread;
    peerbase_request *late;
    uint64_t id = 0;
    int before;
    CHECK(argc == 3);
    key = argv[1];
    port = (uint16_t)atoi(argv[2]);

    null_everywhere();
    bad_strings();
    limits();

    a = start("a");
    b = start("b");
    before = dropped();
    CHECK(peerbase_node_register(b, "answer", answer, NULL, count_drop) == 0);
    CHECK(peerbase_node_register(b, "answer", answer, NULL, count_drop) ==
          PEERBASE_ERR_COMMAND_EXISTS);
    CHECK(dropped() == before + 1);
    CHECK(peerbase_node_register(b, "badly", answer_badly, NULL, count_drop) == 0);
    CHECK(peerbase_node_register(b, "bytes", answer_bytes, NULL, NULL) == 0);
    CHECK(peerbase_node_register(b, "keep", keep, NULL, count_drop) == 0);
    CHECK(peerbase_node_register(b, "wait", wait_inside, b, count_drop) == 0);
    CHECK(peerbase_node_on_message(b, echo_message, NULL, count_drop) == 0);
    CHECK(peerbase_node_unregister(b, "wait.nothing") == 0);

    /* It has a thread already. */
    CHECK(peerbase_node_run(a) == PEERBASE_ERR_ARGUMENT);
    /* Any int that is not negative is a timeout. */
    CHECK(peerbase_node_call(a, "b", "answer", NULL, NULL, INT_MAX, &reply) == 0);
    peerbase_reply_free(reply);
    CHECK(peerbase_node_call(a, "nobody", "answer", NULL, NULL, 0, &reply) ==
          PEERBASE_ERR_UNREACHABLE);

    bad_calls(a);
    messages(a);
    bytes_of_a_command(a);
    CHECK(peerbase_node_call(a, "b", "badly", NULL, NULL, 60000, &reply) ==
          PEERBASE_ERR_COMMAND_FAILED);
    CHECK(strstr(peerbase_reply_message(reply, 0), "JSON") && !peerbase_reply_json(reply, 0));
    CHECK(!peerbase_reply_node(reply, 1));
    peerbase_reply_free(reply);
    CHECK(peerbase_node_call(a, "b", "wait", NULL, NULL, 60000, &reply) == 0);
    peerbase_reply_free(reply);
    sixteen_threads(a);
    async_calls(a);
    lend_a_thread(a);
    CHECK(peerbase_node_peers(a, &reply) == 0 && peerbase_reply_count(reply) >= 1);
    peerbase_reply_free(reply);
    CHECK(peerbase_node_stats(a, &reply) == 0 && strstr(peerbase_reply_json(reply, 0), "calls"));
    peerbase_reply_free(reply);
    CHECK(peerbase_node_get_commands(a, "b", 60000, &reply) == 0 &&
          strstr(peerbase_reply_json(reply, 0), "\"keep\""));
    peerbase_reply_free(reply);
    CHECK(peerbase_node_call_async(a, "b", "x", NULL, NULL, 1, NULL, NULL, count_drop, &id) ==
          PEERBASE_ERR_ARGUMENT);

    /* Freed while a call is in flight; and answered after its node is gone. */
    pthread_create(&thread, NULL, call_for_ever, a);
    late = take_kept();
    peerbase_node_free(a);
    join(thread);
    peerbase_node_free(b);
    CHECK(dropped() == before + 10);
    CHECK(peerbase_request_reply(late, "1") == PEERBASE_ERR_STOPPED);

    /* Freed by its own callback. */
    c = start("c");
    a = start("a");
    CHECK(peerbase_node_register(c, "free", free_inside, &c, NULL) == 0);
    CHECK(peerbase_node_call(a, "c", "free", NULL, NULL, 60000, &reply) ==
          PEERBASE_ERR_UNREACHABLE);
    peerbase_node_free(a);
    puts("ok");
    return 0;
}
