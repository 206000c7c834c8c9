// What both servers in C begin with; in a header so that each is one file to read beside it.
#pragma once

#include <arpa/inet.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    // As eplb's listeners have, which set TCP_NODELAY as well.
    backlog = 4096,
    keepalive_seconds = 60,
    buffer_bytes = 64 * 1024,
};

/// HOST:PORT, of numbers, of the command line. Ends the program when it is none.
static struct sockaddr_in address_of_arguments(int argc, char** argv) {
    struct sockaddr_in address = {.sin_family = AF_INET};
    char host[INET_ADDRSTRLEN] = "";
    const char* const colon = argc == 2 ? strrchr(argv[1], ':') : NULL;
    if (colon != NULL && (size_t)(colon - argv[1]) < sizeof host) {
        memcpy(host, argv[1], (size_t)(colon - argv[1]));
        char* end = NULL;
        const unsigned long port = strtoul(colon + 1, &end, 10);
        address.sin_port = htons((uint16_t)port);
        if (end != colon + 1 && *end == '\0' && port <= UINT16_MAX &&
            inet_pton(AF_INET, host, &address.sin_addr) == 1)
            return address;
    }
    fprintf(stderr, "usage: %s HOST:PORT    like 127.0.0.1:7777\n", argv[0]);
    exit(2);
}
