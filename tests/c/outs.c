/* Every function with something to give through a pointer: after a failure it is NULL, 0 or "",
 * whatever was there before and whichever argument was wrong.
 *
 *     outs KEY PORT */
#include "common.h"

/* What each was before. */
#define JUNK ((void *)1)

/* Calls that fail, and what they leave. */
#define NO_REPLY(call) (reply = JUNK, CHECK((call) < 0), CHECK(!reply))
#define NO_STREAM(call) (stream = JUNK, CHECK((call) < 0), CHECK(!stream))
#define NO_NODE(call) (made = JUNK, CHECK((call) < 0), CHECK(!made))
#define NO_COUNT(call) (count = 99, CHECK((call) < 0), CHECK(count == 0))
#define NO_ID(call) (id = 99, CHECK((call) < 0), CHECK(id == 0))
#define NO_NEWS(call) (is_new = true, CHECK((call) < 0), CHECK(!is_new))
#define NO_HASH(call) (memset(hash, 'x', sizeof hash), CHECK((call) < 0), CHECK(hash[0] == 0))

static peerbase_reply *reply;
static peerbase_stream *stream;
static peerbase_node *made;
static size_t count;
static uint64_t id;
static bool is_new;
static char hash[PEERBASE_HASH_LEN];
static const char *const bad_text = "\xff";
static const uint8_t byte;

static peerbase_node *start(const char *name) { return start_from(config_of(name)); }

static void on_end(const peerbase_reply *ended, void *user) {
    (void)ended;
    (void)user;
}

/* With arguments that are right, on a node that is not: NULL, or stopped. */
static void no_node(peerbase_node *node) {
    const char *names[] = {"b"};
    const char *any = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    NO_REPLY(peerbase_node_call(node, "b", "x", NULL, NULL, 1, &reply));
    NO_REPLY(peerbase_node_send(node, "b", &byte, 1, 1, &reply));
    NO_REPLY(peerbase_node_call_many(node, names, 1, "x", NULL, NULL, 1, 0, 0, &reply));
    NO_REPLY(peerbase_node_call_all(node, "x", NULL, NULL, 1, &reply));
    NO_REPLY(peerbase_node_get_commands(node, "b", 1, &reply));
    NO_ID(peerbase_node_call_async(node, "b", "x", NULL, NULL, 1, on_end, NULL, NULL, &id));
    NO_ID(peerbase_node_call_async(node, "*", "x", NULL, NULL, 1, on_end, NULL, NULL, &id));
    NO_REPLY(peerbase_node_peers(node, &reply));
    NO_REPLY(peerbase_node_connect(node, "127.0.0.1:1", 1, &reply));
    NO_REPLY(peerbase_node_broadcast(node, &byte, 1, 1, &reply));
    NO_REPLY(peerbase_node_refresh(node, &reply));
    NO_REPLY(peerbase_node_pins(node, &reply));
    NO_NEWS(peerbase_node_revoke(node, "x", &is_new));
    NO_REPLY(peerbase_node_request_file(node, any, 1, NULL, NULL, &reply));
    NO_HASH(peerbase_node_add_file(node, "/etc/passwd", hash));
    NO_STREAM(peerbase_node_call_stream(node, "b", "x", NULL, NULL, 1, &stream));
    NO_STREAM(peerbase_node_call_stream_many(node, names, 1, "x", NULL, NULL, 1, &stream));
    /* What a node has counted is known after its end, too. */
    if (!node)
        NO_REPLY(peerbase_node_stats(node, &reply));
}

static void bad_arguments_of_calls(peerbase_node *a) {
    const char *names[] = {"b", NULL};
    NO_REPLY(peerbase_node_call(a, NULL, "x", NULL, NULL, 1, &reply));
    NO_REPLY(peerbase_node_call(a, bad_text, "x", NULL, NULL, 1, &reply));
    NO_REPLY(peerbase_node_call(a, "b", NULL, NULL, NULL, 1, &reply));
    NO_REPLY(peerbase_node_call(a, "b", "..", NULL, NULL, 1, &reply));
    NO_REPLY(peerbase_node_call(a, "b", "x", "{", NULL, 1, &reply));
    NO_REPLY(peerbase_node_call(a, "b", "x", NULL, "[]", 1, &reply));
    NO_REPLY(peerbase_node_call(a, "b", "x", NULL, NULL, -1, &reply));
    NO_REPLY(peerbase_node_call(a, "nobody", "x", NULL, NULL, 0, &reply));
    NO_REPLY(peerbase_node_send(a, NULL, &byte, 1, 1, &reply));
    NO_REPLY(peerbase_node_send(a, "b", NULL, 1, 1, &reply));
    NO_REPLY(peerbase_node_send(a, "b", &byte, 1, -1, &reply));
    NO_REPLY(peerbase_node_call_many(a, NULL, 1, "x", NULL, NULL, 1, 0, 0, &reply));
    NO_REPLY(peerbase_node_call_many(a, names, 2, "x", NULL, NULL, 1, 0, 0, &reply));
    NO_REPLY(peerbase_node_call_many(a, names, 1, NULL, NULL, NULL, 1, 0, 0, &reply));
    NO_REPLY(peerbase_node_call_many(a, names, 1, "x", NULL, NULL, -1, 0, 0, &reply));
    NO_REPLY(peerbase_node_call_many(a, names, 1, "x", NULL, NULL, 1, 0, 64, &reply));
    NO_REPLY(peerbase_node_call_all(a, NULL, NULL, NULL, 1, &reply));
    NO_REPLY(peerbase_node_get_commands(a, NULL, 1, &reply));
    NO_ID(peerbase_node_call_async(a, "b", "x", NULL, NULL, 1, NULL, NULL, NULL, &id));
    NO_ID(peerbase_node_call_async(a, NULL, "x", NULL, NULL, 1, on_end, NULL, NULL, &id));
    NO_ID(peerbase_node_call_async(a, "a|b", "x", NULL, NULL, 1, on_end, NULL, NULL, &id));
    NO_ID(peerbase_node_call_async(a, "b", NULL, NULL, NULL, 1, on_end, NULL, NULL, &id));
    NO_ID(peerbase_node_call_async(a, "b", "x", "{", NULL, 1, on_end, NULL, NULL, &id));
    NO_ID(peerbase_node_call_async(a, "b", "x", NULL, NULL, -1, on_end, NULL, NULL, &id));
    NO_STREAM(peerbase_node_call_stream(a, NULL, "x", NULL, NULL, 1, &stream));
    NO_STREAM(peerbase_node_call_stream(a, "b", "x", "{", NULL, 1, &stream));
    NO_STREAM(peerbase_node_call_stream(a, "b", "x", NULL, NULL, -1, &stream));
    NO_STREAM(peerbase_node_call_stream(a, "a", "x", NULL, NULL, 1, &stream));
    NO_STREAM(peerbase_node_call_stream_many(a, NULL, 1, "x", NULL, NULL, 1, &stream));
    NO_STREAM(peerbase_node_call_stream_many(a, names, 1, "x", NULL, NULL, -1, &stream));
}

static void bad_arguments_of_the_rest(peerbase_node *a) {
    peerbase_config *config = config_of("c");
    const char *folder = "/proc/no/such/folder";
    CHECK(peerbase_config_set_listen(config, "203.0.113.1:1") == 0);
    NO_NODE(peerbase_node_start(NULL, &made));
    NO_NODE(peerbase_node_open(NULL, &made));
    NO_NODE(peerbase_node_start(config, &made));
    NO_NODE(peerbase_node_open(config, &made));
    peerbase_config_free(config);
    NO_REPLY(peerbase_node_connect(a, NULL, 1, &reply));
    NO_REPLY(peerbase_node_connect(a, "nowhere", 1, &reply));
    NO_REPLY(peerbase_node_connect(a, "127.0.0.1:1", -1, &reply));
    NO_REPLY(peerbase_node_connect(a, "127.0.0.1:1", 1, &reply));
    NO_REPLY(peerbase_node_broadcast(a, NULL, 1, 1, &reply));
    NO_REPLY(peerbase_node_broadcast(a, &byte, 1, -1, &reply));
    NO_REPLY(peerbase_node_request_file(a, NULL, 1, NULL, NULL, &reply));
    NO_REPLY(peerbase_node_request_file(a, "12", 1, NULL, NULL, &reply));
    CHECK(peerbase_node_set_file_dir(a, folder) == PEERBASE_ERR_IO);
    NO_HASH(peerbase_node_add_file(a, NULL, hash));
    NO_HASH(peerbase_node_add_file(a, bad_text, hash));
    NO_HASH(peerbase_node_add_file(a, folder, hash));
    CHECK(peerbase_key_generate(NULL) < 0 && peerbase_node_add_file(a, folder, NULL) < 0);
}

static void bad_arguments_of_streams(peerbase_node *a) {
    peerbase_stream *s;
    uint8_t room;
    NO_STREAM(peerbase_request_stream(NULL, &stream));
    NO_COUNT(peerbase_stream_read(NULL, &room, 1, 0, &count));
    NO_COUNT(peerbase_stream_write(NULL, &byte, 1, 0, &count));
    NO_REPLY(peerbase_stream_wait(NULL, &reply));
    CHECK(peerbase_node_call_stream(a, "b", "x", NULL, NULL, 60000, &s) == 0);
    NO_COUNT(peerbase_stream_read(s, NULL, 1, 0, &count));
    NO_COUNT(peerbase_stream_read(s, &room, 0, 0, &count));
    NO_COUNT(peerbase_stream_read(s, &room, 1, -1, &count));
    NO_COUNT(peerbase_stream_write(s, NULL, 1, 0, &count));
    CHECK(peerbase_stream_finish(s) == 0);
    NO_COUNT(peerbase_stream_write(s, &byte, 1, 0, &count));
    reply = JUNK;
    CHECK(peerbase_stream_wait(s, &reply) == PEERBASE_ERR_COMMAND_NOT_FOUND && reply != JUNK);
    peerbase_reply_free(reply);
    NO_REPLY(peerbase_stream_wait(s, &reply));
    peerbase_stream_free(s);
}

static void command(peerbase_request *request, void *user) {
    (void)user;
    count = 99;
    CHECK(!peerbase_request_data(request, &count) && count == 0);
    count = 99;
    CHECK(!peerbase_request_data(NULL, &count) && count == 0);
    NO_STREAM(peerbase_request_stream(request, &stream));
    NO_REPLY(peerbase_node_call(user, "a", "x", NULL, NULL, 1, &reply));
    CHECK(peerbase_request_reply(request, "true") == 0);
}

static void looks(peerbase_node *a) {
    peerbase_reply *good;
    CHECK(peerbase_node_call(a, "b", "command", NULL, NULL, 60000, &good) == 0);
    count = 99;
    CHECK(!peerbase_reply_data(good, 0, &count) && count == 0);
    count = 99;
    CHECK(!peerbase_reply_data(good, 1, &count) && count == 0);
    count = 99;
    CHECK(!peerbase_reply_data(NULL, 0, &count) && count == 0);
    peerbase_reply_free(good);
}

/* A call that failed left no reply: looking for one there does not hide why. */
static void the_reason_outlives_a_look_at_no_reply(peerbase_node *a) {
    char why[100];
    NO_REPLY(peerbase_node_call(a, "b", "x", "{", NULL, 1, &reply));
    CHECK(strncpy(why, peerbase_last_error(), sizeof why - 1) && strstr(why, "JSON"));
    CHECK(peerbase_reply_count(reply) == 0 && !peerbase_reply_node(reply, 0));
    CHECK(peerbase_reply_code(reply, 0) == PEERBASE_ERR_ARGUMENT);
    CHECK(!peerbase_reply_json(reply, 0) && !peerbase_reply_message(reply, 0));
    CHECK(!peerbase_reply_data(reply, 0, &count));
    peerbase_reply_free(reply);
    CHECK(strcmp(why, peerbase_last_error()) == 0);
    NO_REPLY(peerbase_node_call(a, "b", NULL, NULL, NULL, 1, &reply));
    CHECK(strcmp(peerbase_last_error(), "invalid argument: path is NULL") == 0);
}

int main(int argc, char **argv) {
    peerbase_node *a, *b;
    CHECK(argc == 3);
    key = argv[1];
    port = (uint16_t)atoi(argv[2]);
    a = start("a");
    b = start("b");
    CHECK(peerbase_node_register(b, "command", command, b, NULL) == 0);
    no_node(NULL);
    looks(a);
    bad_arguments_of_calls(a);
    bad_arguments_of_streams(a);
    bad_arguments_of_the_rest(a);
    the_reason_outlives_a_look_at_no_reply(a);
    CHECK(peerbase_node_stop(a) == 0 && peerbase_node_stop(a) == 0);
    no_node(a);
    CHECK(peerbase_node_peers(a, &reply) == PEERBASE_ERR_STOPPED && !reply);
    CHECK(peerbase_node_stats(a, &reply) == 0 && peerbase_reply_json(reply, 0));
    peerbase_reply_free(reply);
    peerbase_node_free(a);
    peerbase_node_free(b);
    puts("ok");
    return 0;
}
