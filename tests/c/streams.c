/* Streams, messages for everyone, addresses and files from C: what works, and every misuse of it a
 * code.
 *
 *     streams KEY PORT FOLDER */
#include "common.h"

static int told, told_privately;

static peerbase_node *start(const char *name) {
    peerbase_config *config = config_of(name);
    CHECK(peerbase_config_set_max_message(config, 2 << 20) == 0);
    CHECK(peerbase_config_set_chunk_size(config, 4096) == 0);
    CHECK(peerbase_config_set_ping(config, 1000, 5000) == 0);
    CHECK(peerbase_config_set_max_peers(config, 8) == 0);
    CHECK(peerbase_config_set_file_limits(config, 1 << 20, 2, 0) == 0);
    CHECK(peerbase_config_set_max_message(config, 5) == PEERBASE_ERR_ARGUMENT);
    CHECK(peerbase_config_set_chunk_size(config, 1 << 20) == PEERBASE_ERR_ARGUMENT);
    CHECK(peerbase_config_set_ping(config, 1000, 1000) == PEERBASE_ERR_ARGUMENT);
    return start_from(config);
}

/* Streams to the caller what it streams, without waiting: a turn whenever something has moved. */
struct echo {
    peerbase_request *request;
    peerbase_stream *stream;
    uint8_t data[5000];
    size_t held, at;
    bool over, answered;
};

static void echo_turn(void *user) {
    struct echo *e = user;
    for (;;) {
        size_t n = 0;
        int code;
        if (e->answered)
            return;
        if (e->at < e->held) {
            code = peerbase_stream_write(e->stream, e->data + e->at, e->held - e->at, 0, &n);
            e->at += n;
        } else if (!e->over) {
            code = peerbase_stream_read(e->stream, e->data, sizeof e->data, 0, &n);
            e->over = code == 0 && n == 0;
            e->held = n;
            e->at = 0;
        } else {
            e->answered = true;
            CHECK(peerbase_request_reply(e->request, "\"echoed\"") == 0);
            return;
        }
        if (code == PEERBASE_ERR_WOULD_BLOCK)
            return;
        if (code < 0) {
            e->answered = true;
            peerbase_request_fail(e->request, peerbase_last_error());
            return;
        }
    }
}

static struct echo *last_echo;

static void echo(peerbase_request *request, void *user) {
    struct echo *e = calloc(1, sizeof *e);
    int code;
    (void)user;
    CHECK(e && peerbase_request_has_streams(request));
    e->request = request;
    CHECK(peerbase_request_stream(request, &e->stream) == 0);
    /* What has come already is read without waiting. */
    code = peerbase_stream_read(e->stream, e->data, 1, -1, &e->held);
    CHECK(code == PEERBASE_ERR_WOULD_DEADLOCK || (code == 0 && e->held == 1));
    CHECK(peerbase_stream_on_ready(e->stream, echo_turn, e, NULL) == 0);
    last_echo = e;
    echo_turn(e);
}

static void end_echo(void) {
    peerbase_stream_free(last_echo->stream);
    free(last_echo);
    last_echo = NULL;
}

static void plain(peerbase_request *request, void *user) {
    peerbase_stream *stream;
    (void)user;
    if (!peerbase_request_has_streams(request))
        CHECK(peerbase_request_stream(request, &stream) == PEERBASE_ERR_ARGUMENT && !stream);
    CHECK(peerbase_request_is_private(request));
    peerbase_request_reply(request, "1");
}

static peerbase_request *held;

static void hold(peerbase_request *request, void *user) {
    (void)user;
    pthread_mutex_lock(&lock);
    held = request;
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&lock);
}

static void refuse(peerbase_request *request, void *user) {
    (void)user;
    peerbase_request_refuse(request, "not you");
}

static void on_message(peerbase_request *request, void *user) {
    size_t len;
    peerbase_stream *stream;
    (void)user;
    CHECK(peerbase_request_data(request, &len) && len == 5);
    CHECK(peerbase_request_stream(request, &stream) == PEERBASE_ERR_ARGUMENT);
    pthread_mutex_lock(&lock);
    told++;
    told_privately += peerbase_request_is_private(request);
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&lock);
    CHECK(peerbase_request_reply_data(request, NULL, 0) == 0);
}

/* In a callback nothing may wait, and what would is left as it was. */
struct inside {
    peerbase_stream *one, *several, *silent;
};

static void wait_inside(peerbase_request *request, void *user) {
    struct inside *inside = user;
    peerbase_reply *reply;
    uint8_t byte;
    size_t n;
    CHECK(peerbase_stream_read(inside->silent, &byte, 1, -1, &n) == PEERBASE_ERR_WOULD_DEADLOCK);
    CHECK(peerbase_stream_wait(inside->one, &reply) == PEERBASE_ERR_WOULD_DEADLOCK && !reply);
    CHECK(peerbase_stream_wait(inside->several, &reply) == PEERBASE_ERR_WOULD_DEADLOCK && !reply);
    CHECK(peerbase_stream_write(inside->several, (const uint8_t *)"x", 1, -1, &n) ==
          PEERBASE_ERR_WOULD_DEADLOCK);
    CHECK(peerbase_request_reply(request, "1") == 0);
}

static void waits_inside_change_nothing(peerbase_node *node) {
    const char *both[] = {"b", "c"};
    struct inside inside;
    peerbase_reply *reply;
    CHECK(peerbase_node_register(node, "inside", wait_inside, &inside, NULL) == 0);
    CHECK(peerbase_node_call_stream(node, "b", "plain", NULL, NULL, 60000, &inside.one) == 0);
    CHECK(peerbase_node_call_stream_many(node, both, 2, "plain", NULL, NULL, 20000,
                                         &inside.several) == 0);
    CHECK(peerbase_node_call_stream(node, "b", "hold", NULL, NULL, 60000, &inside.silent) == 0);
    CHECK(peerbase_node_call(node, "a", "inside", NULL, NULL, 60000, &reply) == 0);
    peerbase_reply_free(reply);
    CHECK(peerbase_stream_wait(inside.one, &reply) == 0);
    peerbase_reply_free(reply);
    CHECK(peerbase_stream_wait(inside.several, &reply) == 0 && peerbase_reply_count(reply) == 2);
    CHECK(peerbase_reply_code(reply, 0) == 0 && peerbase_reply_code(reply, 1) == 0);
    peerbase_reply_free(reply);
    CHECK(peerbase_stream_wait(inside.several, &reply) == PEERBASE_ERR_ARGUMENT && !reply);
    peerbase_stream_free(inside.one);
    peerbase_stream_free(inside.several);
    pthread_mutex_lock(&lock);
    WAIT_FOR(held);
    pthread_mutex_unlock(&lock);
    CHECK(peerbase_request_reply(held, "1") == 0);
    held = NULL;
    CHECK(peerbase_stream_wait(inside.silent, &reply) == 0);
    peerbase_reply_free(reply);
    peerbase_stream_free(inside.silent);
}

/* Why a stream ended is a sentence, whoever ended it and however little was said. */
static void reasons(peerbase_node *node) {
    peerbase_stream *s;
    peerbase_reply *reply;
    uint8_t byte;
    size_t n;
    char *long_words = malloc(3 << 20);
    CHECK(peerbase_node_call_stream(node, "b", "no.such", NULL, NULL, 60000, &s) == 0);
    CHECK(peerbase_stream_read(s, &byte, 1, -1, &n) == PEERBASE_ERR_BROKEN);
    CHECK(!strcmp(peerbase_last_error(), "stream broken: command not found"));
    CHECK(peerbase_stream_wait(s, &reply) == PEERBASE_ERR_COMMAND_NOT_FOUND);
    CHECK(!strcmp(peerbase_last_error(), "command not found: no.such"));
    peerbase_reply_free(reply);
    CHECK(peerbase_stream_write(s, &byte, 1, -1, NULL) < 0);
    peerbase_stream_free(s);

    CHECK(peerbase_node_call_stream(node, "b", "refuse", NULL, NULL, 60000, &s) == 0);
    CHECK(peerbase_stream_read(s, &byte, 1, -1, &n) == PEERBASE_ERR_BROKEN);
    CHECK(!strcmp(peerbase_last_error(), "stream broken: refused: not you"));
    while (peerbase_stream_write(s, &byte, 1, -1, NULL) == 0)
        continue;
    CHECK(strstr(peerbase_last_error(), "the call is over"));
    peerbase_stream_free(s);

    /* The sender breaks off: without a word, and with more of them than any record holds. */
    CHECK(long_words);
    memset(long_words, 'x', 3 << 20);
    long_words[(3 << 20) - 1] = 0;
    for (n = 0; n < 2; n++) {
        CHECK(peerbase_node_call_stream(node, "b", "echo", NULL, NULL, 60000, &s) == 0);
        CHECK(peerbase_stream_abort(s, n ? long_words : "") == 0);
        CHECK(peerbase_stream_wait(s, &reply) == PEERBASE_ERR_COMMAND_FAILED);
        CHECK(strstr(peerbase_reply_message(reply, 0), n ? "xxx" : "the sender broke it off"));
        CHECK(strlen(peerbase_reply_message(reply, 0)) < 2000);
        peerbase_reply_free(reply);
        peerbase_stream_free(s);
        end_echo();
    }
    free(long_words);
}

/* One whose reader is steady but slow, so that a little more can always be written soon. */
static struct slow {
    peerbase_request *request;
    peerbase_stream *stream;
    pthread_t thread;
} slow;

static void *read_slowly(void *user) {
    struct timespec pause = {0, 1000000};
    uint8_t data[4096];
    size_t n;
    (void)user;
    while (peerbase_stream_read(slow.stream, data, sizeof data, -1, &n) == 0 && n > 0)
        nanosleep(&pause, NULL);
    return NULL;
}

static void slowly(peerbase_request *request, void *user) {
    size_t n;
    (void)user;
    slow.request = request;
    CHECK(peerbase_request_stream(request, &slow.stream) == 0);
    CHECK(pthread_create(&slow.thread, NULL, read_slowly, NULL) == 0);
    CHECK(peerbase_stream_write(slow.stream, (const uint8_t *)"!", 1, 0, &n) == 0 && n == 1);
}

/* The timeout is for all that is to be written, not for each piece of it. */
static void writing_ends_in_time(peerbase_node *node) {
    static uint8_t data[8 << 20];
    peerbase_stream *s;
    uint8_t byte;
    size_t n;
    CHECK(peerbase_node_call_stream(node, "b", "slowly", NULL, NULL, 60000, &s) == 0);
    CHECK(peerbase_stream_read(s, &byte, 1, 60000, &n) == 0 && n == 1);
    CHECK(peerbase_stream_write(s, data, sizeof data, 50, &n) == 0);
    CHECK(n > 0 && n < sizeof data);
    peerbase_stream_free(s);
    join(slow.thread);
    peerbase_stream_free(slow.stream);
    peerbase_request_fail(slow.request, NULL);
}

static void misuse(peerbase_node *node) {
    peerbase_stream *s = NULL;
    peerbase_reply *reply;
    uint8_t byte = 0;
    size_t n;
    char hash[PEERBASE_HASH_LEN];
    int bad = PEERBASE_ERR_ARGUMENT;

    CHECK(peerbase_node_call_stream(NULL, "b", "echo", NULL, NULL, 1, &s) == bad && !s);
    CHECK(peerbase_node_call_stream(node, NULL, "echo", NULL, NULL, 1, &s) == bad);
    CHECK(peerbase_node_call_stream(node, "b", "echo", NULL, NULL, -1, &s) == bad);
    CHECK(peerbase_node_call_stream(node, "b", "echo", NULL, NULL, 1, NULL) == bad);
    CHECK(peerbase_node_call_stream(node, "b", "echo", "{", NULL, 1, &s) == PEERBASE_ERR_JSON);
    CHECK(peerbase_node_call_stream(node, "b", "..", NULL, NULL, 1, &s) == PEERBASE_ERR_PATH);
    CHECK(peerbase_node_call_stream_many(node, NULL, 1, "p", NULL, NULL, 1, &s) == bad);
    CHECK(peerbase_request_stream(NULL, &s) == bad);
    CHECK(!peerbase_request_has_streams(NULL) && !peerbase_request_is_private(NULL));
    CHECK(peerbase_stream_read(NULL, &byte, 1, 0, &n) == bad);
    CHECK(peerbase_stream_write(NULL, &byte, 1, 0, &n) == bad);
    CHECK(peerbase_stream_finish(NULL) == bad && peerbase_stream_abort(NULL, NULL) == bad);
    CHECK(peerbase_stream_wait(NULL, &reply) == bad && !reply);
    CHECK(peerbase_stream_on_ready(NULL, NULL, NULL, count_drop) == bad && dropped() == 1);
    peerbase_stream_free(NULL);
    CHECK(peerbase_node_call_stream(node, "b", "hold", NULL, NULL, 60000, &s) == 0);
    CHECK(peerbase_stream_read(s, NULL, 1, 0, &n) == bad);
    CHECK(peerbase_stream_read(s, &byte, 0, 0, &n) == bad);
    CHECK(peerbase_stream_read(s, &byte, 1, 0, NULL) == bad);
    CHECK(peerbase_stream_read(s, &byte, 1, 0, &n) == PEERBASE_ERR_WOULD_BLOCK && n == 0);
    CHECK(peerbase_stream_write(s, NULL, 1, 0, &n) == bad);
    CHECK(peerbase_stream_write(s, &byte, 1, 0, NULL) == bad);
    CHECK(peerbase_stream_abort(s, "\xff") == PEERBASE_ERR_UTF8);
    pthread_mutex_lock(&lock);
    WAIT_FOR(held);
    pthread_mutex_unlock(&lock);
    peerbase_stream_free(s);
    CHECK(peerbase_request_fail(held, NULL) == 0);

    CHECK(peerbase_node_connect(node, "nowhere", 1, NULL) == PEERBASE_ERR_ADDRESS);
    CHECK(peerbase_node_connect(node, NULL, 1, NULL) == bad);
    CHECK(peerbase_node_connect(node, "127.0.0.1:1", 50, &reply) == PEERBASE_ERR_UNREACHABLE);
    CHECK(!reply);
    CHECK(peerbase_node_broadcast(NULL, NULL, 0, 1, NULL) == bad);
    CHECK(peerbase_node_broadcast(node, NULL, 5, 1, NULL) == bad);
    CHECK(peerbase_node_broadcast(node, &byte, 1, -1, NULL) == bad);
    CHECK(peerbase_node_send_to(node, NULL, &byte, 1, 1) == bad);
    CHECK(peerbase_node_save_state(node, NULL) == bad);
    CHECK(peerbase_node_save_state(node, "/no/such/folder/f") == PEERBASE_ERR_IO);
    CHECK(peerbase_node_load_state(node, "/no/such/folder/f") == 0);
    CHECK(peerbase_node_load_state(node, "/") == PEERBASE_ERR_IO);
    CHECK(peerbase_node_add_file(node, "/no/such/file", hash) == PEERBASE_ERR_IO);
    CHECK(peerbase_node_add_file(node, "/", hash) < 0);
    CHECK(peerbase_node_add_file(node, "/etc/passwd", NULL) == bad);
    CHECK(peerbase_node_set_file_dir(node, NULL) == bad);
    CHECK(peerbase_node_request_file(node, "12", 1, NULL, NULL, NULL) == bad);
    CHECK(peerbase_node_request_file(node, NULL, 1, NULL, NULL, NULL) == bad);
}

static void streams(peerbase_node *node) {
    const char *both[] = {"b", "c"};
    peerbase_stream *s;
    peerbase_reply *reply;
    static uint8_t data[3 << 20], got[sizeof data];
    size_t sent = 0, came = 0, n;
    int code;

    for (n = 0; n < sizeof data; n++)
        data[n] = (uint8_t)(n * 7);
    CHECK(peerbase_node_call_stream(node, "b", "echo", NULL, NULL, 60000, &s) == 0);
    while (came < sizeof data) {
        if (sent < sizeof data) {
            code = peerbase_stream_write(s, data + sent, sizeof data - sent, 0, &n);
            CHECK(code == 0 || code == PEERBASE_ERR_WOULD_BLOCK);
            sent += n;
            if (sent == sizeof data)
                CHECK(peerbase_stream_finish(s) == 0);
        }
        code = peerbase_stream_read(s, got + came, sizeof got - came, 10, &n);
        CHECK(code == 0 || code == PEERBASE_ERR_WOULD_BLOCK);
        came += n;
    }
    CHECK(memcmp(data, got, sizeof data) == 0);
    CHECK(peerbase_stream_read(s, got, 1, -1, &n) == 0 && n == 0);
    CHECK(peerbase_stream_wait(s, &reply) == 0);
    CHECK(strcmp(peerbase_reply_json(reply, 0), "\"echoed\"") == 0);
    peerbase_reply_free(reply);
    CHECK(peerbase_stream_wait(s, &reply) == PEERBASE_ERR_ARGUMENT && !reply);
    CHECK(peerbase_stream_write(s, data, 1, 0, &n) < 0);
    peerbase_stream_free(s);
    end_echo();

    CHECK(peerbase_node_call_stream(node, "b", "refuse", NULL, NULL, 60000, &s) == 0);
    while ((code = peerbase_stream_write(s, data, 1000, -1, NULL)) == 0)
        continue;
    CHECK(code == PEERBASE_ERR_BROKEN);
    CHECK(peerbase_stream_wait(s, &reply) == PEERBASE_ERR_REFUSED);
    CHECK(strstr(peerbase_reply_message(reply, 0), "not you"));
    peerbase_reply_free(reply);
    peerbase_stream_free(s);

    CHECK(peerbase_node_call_stream_many(node, both, 2, "plain", NULL, NULL, 60000, &s) == 0);
    CHECK(peerbase_stream_read(s, data, 1, 0, &n) == PEERBASE_ERR_ARGUMENT);
    CHECK(peerbase_stream_finish(s) == 0);
    CHECK(peerbase_stream_wait(s, &reply) == 0 && peerbase_reply_count(reply) == 2);
    CHECK(peerbase_reply_code(reply, 0) == 0 && peerbase_reply_code(reply, 1) == 0);
    peerbase_reply_free(reply);
    peerbase_stream_free(s);
    CHECK(peerbase_node_call(node, "b", "plain", NULL, NULL, 60000, &reply) == 0);
    peerbase_reply_free(reply);
}

static void messages(peerbase_node *node, peerbase_node *b) {
    peerbase_reply *reply;
    char address[32];
    CHECK(peerbase_node_broadcast(node, (const uint8_t *)"hello", 5, 60000, &reply) == 0);
    CHECK(strstr(peerbase_reply_json(reply, 0), "\"delivered\":2"));
    peerbase_reply_free(reply);
    CHECK(peerbase_node_send_to(node, "c", (const uint8_t *)"hello", 5, 60000) == 0);
    pthread_mutex_lock(&lock);
    WAIT_FOR(told >= 3);
    CHECK(told_privately == 1);
    pthread_mutex_unlock(&lock);
    snprintf(address, sizeof address, "127.0.0.1:%u", peerbase_node_port(b));
    CHECK(peerbase_node_connect(node, address, 60000, &reply) == 0);
    CHECK(strcmp(peerbase_reply_node(reply, 0), "b") == 0);
    peerbase_reply_free(reply);
    CHECK(peerbase_node_connect(node, address, 60000, NULL) == 0);
    CHECK(peerbase_node_peers(node, &reply) == 0);
    peerbase_reply_free(reply);
}

static void in_folder(char *path, size_t size, const char *folder, const char *name) {
    CHECK(snprintf(path, size, "%s/%s", folder, name) < (int)size);
}

static void count(uint64_t received, uint64_t size, void *user) {
    CHECK(received <= size);
    ++*(int *)user;
}

static void files(peerbase_node *node, peerbase_node *b, const char *folder) {
    char path[1024], hash[PEERBASE_HASH_LEN], expected[64];
    peerbase_reply *reply;
    int progress = 0;
    FILE *f;
    in_folder(path, sizeof path, folder, "offered");
    CHECK((f = fopen(path, "w")) && fputs("what is offered", f) >= 0 && fclose(f) == 0);
    CHECK(peerbase_node_add_file(b, path, hash) == 0 && strlen(hash) == 64);
    CHECK(peerbase_node_request_file(node, hash, 60000, count, &progress, NULL) ==
          PEERBASE_ERR_ARGUMENT);
    in_folder(path, sizeof path, folder, "fetched");
    CHECK(peerbase_node_set_file_dir(node, path) == 0);
    CHECK(peerbase_node_request_file(node, hash, 60000, count, &progress, &reply) == 0);
    snprintf(expected, sizeof expected, "/fetched/offered\",\"size\":15}");
    CHECK(strstr(peerbase_reply_json(reply, 0), expected) && progress > 0);
    peerbase_reply_free(reply);
    hash[0] = hash[0] == '0' ? '1' : '0';
    CHECK(peerbase_node_request_file(node, hash, 60000, NULL, NULL, &reply) ==
          PEERBASE_ERR_FILE_UNKNOWN);
    CHECK(!reply);
    CHECK(peerbase_node_refresh(node, &reply) == 0);
    CHECK(strstr(peerbase_reply_json(reply, 0), "\"removed\":0"));
    peerbase_reply_free(reply);
    CHECK(peerbase_node_refresh(b, NULL) == 0);
    in_folder(path, sizeof path, folder, "state");
    CHECK(peerbase_node_save_state(node, path) == 0 && peerbase_node_load_state(node, path) >= 1);
    CHECK((f = fopen(path, "w")) && fputs("{", f) >= 0 && fclose(f) == 0);
    CHECK(peerbase_node_load_state(node, path) == PEERBASE_ERR_DAMAGED);
}

int main(int argc, char **argv) {
    peerbase_node *a, *b, *c;
    peerbase_stream *s;
    uint8_t byte;
    size_t n;
    CHECK(argc == 4);
    key = argv[1];
    port = (uint16_t)atoi(argv[2]);
    b = start("b");
    c = start("c");
    CHECK(peerbase_node_register(b, "echo", echo, NULL, NULL) == 0);
    CHECK(peerbase_node_register(b, "slowly", slowly, NULL, NULL) == 0);
    CHECK(peerbase_node_register(b, "hold", hold, NULL, NULL) == 0);
    CHECK(peerbase_node_register(b, "plain", plain, NULL, NULL) == 0);
    CHECK(peerbase_node_register(c, "plain", plain, NULL, NULL) == 0);
    CHECK(peerbase_node_register(b, "refuse", refuse, NULL, NULL) == 0);
    CHECK(peerbase_node_on_message(b, on_message, NULL, NULL) == 0);
    CHECK(peerbase_node_on_message(c, on_message, NULL, NULL) == 0);
    a = start("a");
    streams(a);
    messages(a, b);
    files(a, b, argv[3]);
    waits_inside_change_nothing(a);
    reasons(a);
    writing_ends_in_time(a);
    misuse(a);

    /* A stream outlives its node, and is of no more use then. */
    CHECK(peerbase_node_call_stream(a, "b", "plain", NULL, NULL, 60000, &s) == 0);
    CHECK(peerbase_stream_on_ready(s, echo_turn, NULL, count_drop) == 0);
    peerbase_node_free(a);
    CHECK(peerbase_stream_read(s, &byte, 1, -1, &n) == PEERBASE_ERR_STOPPED);
    peerbase_stream_free(s);
    CHECK(dropped() == 2);
    peerbase_node_free(b);
    peerbase_node_free(c);
    puts("ok");
    return 0;
}
