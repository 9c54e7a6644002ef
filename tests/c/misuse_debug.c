/* What only a debug build of the library can notice: objects freed twice.
 *
 *     misuse_debug KEY */
#include <peerbase.h>
#include <stdio.h>
#include <string.h>

int main(int argc, char **argv) {
    peerbase_config *config = argc == 2 ? peerbase_config_new("a", "n", argv[1]) : NULL;
    if (!config)
        return 1;
    peerbase_config_free(config);
    peerbase_config_free(config);
    if (!strstr(peerbase_last_error(), "freed twice"))
        return 2;
    if (peerbase_config_set_loopback(config, true) != PEERBASE_ERR_ARGUMENT)
        return 3;
    puts("ok");
    return 0;
}
