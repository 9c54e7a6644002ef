/* Rules from C: a call that they do not allow is a code, and leaves everyone's answers out.
 *
 *     rules KEY PORT */
#include "common.h"

static int ran;

static void answer(peerbase_request *request, void *user) {
    (void)user;
    ran++;
    peerbase_request_reply(request, "1");
}

static void bad_rules(peerbase_config *config) {
    CHECK(peerbase_config_allow(NULL, "a", "name:b") == PEERBASE_ERR_ARGUMENT);
    CHECK(peerbase_config_allow(config, NULL, "name:b") == PEERBASE_ERR_ARGUMENT);
    CHECK(peerbase_config_allow(config, "a", NULL) == PEERBASE_ERR_ARGUMENT);
    CHECK(peerbase_config_allow(config, "\xff", "name:b") == PEERBASE_ERR_UTF8);
    CHECK(peerbase_config_allow(config, "a", "name:\xff") == PEERBASE_ERR_UTF8);
    CHECK(peerbase_config_allow(config, "a*", "name:b") == PEERBASE_ERR_PATH);
    CHECK(peerbase_config_allow(config, "a", "b") == PEERBASE_ERR_ARGUMENT);
    CHECK(peerbase_config_allow(config, "a", "role:B") == PEERBASE_ERR_ARGUMENT);
    CHECK(peerbase_config_allow(config, "a", "name:b.c") == PEERBASE_ERR_NAME);
    CHECK(peerbase_config_allow(config, "a", "key:b") == PEERBASE_ERR_KEY);
}

/* None of the bad rules is kept: 256 good ones fit. */
static void too_many_rules(void) {
    peerbase_config *config = config_of("many");
    bad_rules(config);
    for (int i = 0; i < 256; i++)
        CHECK(peerbase_config_allow(config, "a.**", "name:b-*") == 0);
    CHECK(peerbase_config_allow(config, "a", "name:b") == PEERBASE_ERR_ARGUMENT);
    peerbase_config_free(config);
}

static void call_all(peerbase_node *node, const char *path, size_t answers) {
    peerbase_reply *reply = NULL;
    CHECK(peerbase_node_call_all(node, path, NULL, NULL, 60000, &reply) == 0);
    CHECK(peerbase_reply_count(reply) == answers);
    peerbase_reply_free(reply);
}

int main(int argc, char **argv) {
    peerbase_config *config;
    peerbase_node *valve, *caller;
    peerbase_reply *reply = NULL;
    CHECK(argc == 3);
    key = argv[1];
    port = (uint16_t)atoi(argv[2]);
    too_many_rules();

    config = config_of("valve");
    CHECK(peerbase_config_register(config, "open", answer, NULL, NULL) == 0);
    CHECK(peerbase_config_register(config, "read", answer, NULL, NULL) == 0);
    CHECK(peerbase_config_allow(config, "open", "name:operator") == 0);
    valve = start_from(config);
    caller = start_from(config_of("caller"));
    CHECK(peerbase_node_call(caller, "valve", "read", NULL, NULL, 60000, &reply) == 0);
    peerbase_reply_free(reply);
    CHECK(peerbase_node_call(caller, "valve", "open", NULL, NULL, 60000, &reply) ==
          PEERBASE_ERR_NOT_ALLOWED);
    CHECK(!reply && strstr(peerbase_last_error(), "open"));
    call_all(caller, "read", 1);
    call_all(caller, "open", 0);
    CHECK(ran == 2);
    CHECK(peerbase_node_stats(valve, &reply) == 0);
    CHECK(strstr(peerbase_reply_json(reply, 0), "\"calls_denied\":2"));
    peerbase_reply_free(reply);
    peerbase_node_free(caller);
    peerbase_node_free(valve);
    puts("ok");
    return 0;
}
