/* Certificates, revocation, pins, and keys that are replaced.
 *
 *     trust KEY PORT FOLDER AUTHORITY A-IDENTITY A-CERTIFICATE B-IDENTITY B-CERTIFICATE LIST
 *
 * A and B are the names of the two nodes; the list revokes B. */
#include "common.h"

static const char *authority, *revocations, *folder;
static const char *identity[2], *certificate[2];
static const char *const names[] = {"A", "B"};
static int told[32];

static void on_event(int event, const char *node, void *user) {
    (void)node;
    (void)user;
    pthread_mutex_lock(&lock);
    if (event >= 0 && event < 32)
        told[event]++;
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&lock);
}

static void wait_for(int event) {
    pthread_mutex_lock(&lock);
    WAIT_FOR(told[event]);
    pthread_mutex_unlock(&lock);
}

static void echo(peerbase_request *request, void *user) {
    (void)user;
    CHECK(peerbase_request_reply(request, "true") == 0);
}

static peerbase_config *certified(int which) {
    peerbase_config *config = config_of(names[which]);
    CHECK(peerbase_config_set_identity(config, identity[which]) == 0);
    CHECK(peerbase_config_add_authority(config, authority) == 0);
    CHECK(peerbase_config_set_certificate(config, certificate[which]) == 0);
    CHECK(peerbase_config_register(config, "echo", echo, NULL, NULL) == 0);
    CHECK(peerbase_config_on_event(config, on_event, NULL, NULL) == 0);
    return config;
}

static int call(peerbase_node *node, const char *target, int timeout_ms) {
    peerbase_reply *reply = NULL;
    int code = peerbase_node_call(node, target, "echo", NULL, NULL, timeout_ms, &reply);
    peerbase_reply_free(reply);
    return code;
}

static void bad_settings(void) {
    peerbase_config *config = config_of("A");
    CHECK(peerbase_config_add_authority(config, "authority-") == PEERBASE_ERR_KEY);
    CHECK(peerbase_config_add_authority(config, NULL) == PEERBASE_ERR_ARGUMENT);
    CHECK(peerbase_config_set_certificate(config, "x") == PEERBASE_ERR_DAMAGED);
    CHECK(peerbase_config_set_certificate(config, NULL) == PEERBASE_ERR_ARGUMENT);
    CHECK(peerbase_config_set_revocations(config, "x") == PEERBASE_ERR_DAMAGED);
    CHECK(peerbase_config_set_state_dir(config, NULL) == PEERBASE_ERR_ARGUMENT);
    peerbase_node *node = NULL;
    CHECK(peerbase_config_add_authority(config, authority) == 0);
    CHECK(peerbase_node_start(config, &node) == PEERBASE_ERR_ARGUMENT && !node);
    CHECK(peerbase_config_set_certificate(config, certificate[1]) == 0);
    CHECK(peerbase_node_start(config, &node) == PEERBASE_ERR_REFUSED && !node);
    peerbase_config_free(config);
}

static void in_a_certified_network(void) {
    peerbase_config *config = certified(0);
    CHECK(peerbase_config_set_state_dir(config, folder) == 0);
    peerbase_node *a = start_from(config), *b = start_from(certified(1));
    CHECK(call(a, "B", 60000) == 0 && call(b, "A", 60000) == 0);

    const char *keys[] = {key, key, NULL};
    CHECK(peerbase_node_set_keys(a, keys, 2) == 0);
    CHECK(peerbase_node_set_keys(a, keys, 3) == PEERBASE_ERR_ARGUMENT);
    CHECK(peerbase_node_set_keys(a, keys, 0) == PEERBASE_ERR_ARGUMENT);
    CHECK(peerbase_node_set_keys(a, keys, 5) == PEERBASE_ERR_ARGUMENT);
    CHECK(peerbase_node_set_certificate(a, certificate[0]) == 0);
    CHECK(peerbase_node_set_certificate(a, certificate[1]) == PEERBASE_ERR_REFUSED);
    CHECK(peerbase_node_set_identity(a, identity[1], certificate[1]) == PEERBASE_ERR_REFUSED);
    CHECK(peerbase_node_accept_key(a, "B", "peer-") == PEERBASE_ERR_KEY);

    bool is_new = false;
    CHECK(peerbase_node_revoke(a, "x", &is_new) == PEERBASE_ERR_DAMAGED);
    CHECK(peerbase_node_revoke(a, revocations, &is_new) == 0 && is_new);
    CHECK(peerbase_node_revoke(a, revocations, NULL) == 0);
    wait_for(PEERBASE_EVENT_LIST_TAKEN);
    wait_for(PEERBASE_EVENT_DISTRUSTED_BY);
    CHECK(call(a, "B", 500) < 0 && call(b, "A", 500) < 0);
    /* It has the list by now, or is given it. */
    CHECK(peerbase_node_revoke(b, revocations, NULL) == 0);
    wait_for(PEERBASE_EVENT_REVOKED);
    peerbase_node_free(a);
    peerbase_node_free(b);
}

static void in_an_open_network(void) {
    peerbase_config *config = config_of("A");
    CHECK(peerbase_config_set_identity(config, identity[0]) == 0);
    CHECK(peerbase_config_register(config, "echo", echo, NULL, NULL) == 0);
    peerbase_node *a = start_from(config), *b = start_from(config_of("B"));
    CHECK(call(b, "A", 60000) == 0);
    peerbase_reply *pins = NULL;
    CHECK(peerbase_node_pins(b, &pins) == 0);
    const char *json = peerbase_reply_json(pins, 0);
    CHECK(json && strstr(json, "\"name\":\"A\"") && strstr(json, "\"key\":\"peer-"));
    peerbase_reply_free(pins);
    CHECK(peerbase_node_pins(b, NULL) == PEERBASE_ERR_ARGUMENT);
    CHECK(peerbase_node_revoke(b, revocations, NULL) == PEERBASE_ERR_ARGUMENT);
    CHECK(peerbase_node_set_certificate(b, certificate[1]) == PEERBASE_ERR_ARGUMENT);
    CHECK(peerbase_node_set_identity(b, identity[1], NULL) == 0);
    CHECK(call(b, "A", 60000) == 0);
    peerbase_node_free(a);
    peerbase_node_free(b);
}

int main(int argc, char **argv) {
    CHECK(argc == 10);
    key = argv[1];
    port = (uint16_t)atoi(argv[2]);
    folder = argv[3];
    authority = argv[4];
    for (int i = 0; i < 2; i++) {
        identity[i] = argv[5 + 2 * i];
        certificate[i] = argv[6 + 2 * i];
    }
    revocations = argv[9];
    bad_settings();
    in_a_certified_network();
    in_an_open_network();
    puts("ok");
    return 0;
}
