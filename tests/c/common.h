/* What the C programs of the tests share. It is included first: pthread_timedjoin_np asks for
 * _GNU_SOURCE. */
#ifndef COMMON_H
#define COMMON_H

#define _GNU_SOURCE
#include <peerbase.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* Of the command line: KEY PORT. */
static const char *key;
static uint16_t port;

/* What callbacks tell the main thread is changed under this lock. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static int drops;

/* Ends at once, because this may be a child of the process that started a node. */
static inline void failed(const char *file, int line, const char *what) {
    fprintf(stderr, "%s:%d: %s (%s)\n", file, line, what, peerbase_last_error());
    _exit(1);
}

#define CHECK(condition) ((condition) ? (void)0 : failed(__FILE__, __LINE__, #condition))

static inline struct timespec in_a_minute(void) {
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += 60;
    return until;
}

/* Waits for a change, with the lock held; false after the deadline. */
static inline bool changes_by(const struct timespec *until) {
    return pthread_cond_timedwait(&changed, &lock, until) == 0;
}

/* Waits under the lock until another thread makes it so, for a minute at most. */
#define WAIT_FOR(condition)                                                                        \
    do {                                                                                           \
        struct timespec until = in_a_minute();                                                     \
        while (!(condition))                                                                       \
            if (!changes_by(&until))                                                               \
                failed(__FILE__, __LINE__, "waited too long for " #condition);                     \
    } while (0)

/* A thread that ends within a minute. */
static inline void join(pthread_t thread) {
    struct timespec until = in_a_minute();
    CHECK(pthread_timedjoin_np(thread, NULL, &until) == 0);
}

/* Counts the drops of user data, which may come from any thread. */
static inline void count_drop(void *user) {
    (void)user;
    pthread_mutex_lock(&lock);
    drops++;
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&lock);
}

static inline int dropped(void) {
    int n;
    pthread_mutex_lock(&lock);
    n = drops;
    pthread_mutex_unlock(&lock);
    return n;
}

/* A node to be, of the network that the command line tells of. */
static inline peerbase_config *config_of(const char *name) {
    peerbase_config *config = peerbase_config_new(name, "test", key);
    CHECK(config);
    CHECK(peerbase_config_set_loopback(config, true) == 0);
    CHECK(peerbase_config_set_advertise_port(config, port) == 0);
    return config;
}

/* Starts a node, and frees what it was made from. */
static inline peerbase_node *start_from(peerbase_config *config) {
    peerbase_node *node = NULL;
    CHECK(peerbase_node_start(config, &node) == 0 && node);
    peerbase_config_free(config);
    return node;
}

#endif
