// Gives back what it is sent, on epoll(7) alone: what examples/echo_server.cpp is measured against.
//     echo-epoll HOST:PORT
//
// A message costs a recv, a send and its share of an epoll_wait. Sockets are watched
// edge-triggered, for both directions from the beginning, so that nothing has to be changed while a
// client neither streams nor stops to read; and a read that returns less than was asked for has
// drained the socket, so that no second one asks.

#define _GNU_SOURCE

#include "listen.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    events_per_turn = 512,
    accepts_per_turn = 64,
    reads_per_turn = 4,  // of one client
    retry_ms = 100,      // without descriptors or memory
};

struct client {
    int fd;
    uint32_t events;  // what epoll has said and nothing has disproved
    char* rest;       // of an echo that did not fit: its client is not read until it is sent
    size_t rest_begin;
    size_t rest_end;
};

enum verdict { keep, drop };

static const uint32_t client_events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLPRI | EPOLLET;
static const uint32_t over = EPOLLRDHUP | EPOLLHUP | EPOLLERR;  // never cleared

static int epoll_fd;
static char buffer[buffer_bytes];  // one for all: it is empty between two clients

static void fail(const char* what) {
    fprintf(stderr, "echo-epoll: cannot %s: %s\n", what, strerror(errno));
    exit(1);
}

static void destroy(struct client* client) {
    close(client->fd);  // and so out of epoll: nobody else has a copy of the descriptor
    free(client->rest);
    free(client);
}

// What the kernel took of `size` bytes, or -1 when the connection is broken.
static ssize_t send_some(struct client* client, const char* bytes, size_t size) {
    for (;;) {
        const ssize_t sent = send(client->fd, bytes, size, MSG_NOSIGNAL);
        if (sent >= 0) {
            // The kernel tells of room again after a short send, as it does after EAGAIN.
            if ((size_t)sent < size) client->events &= ~(uint32_t)EPOLLOUT;
            return sent;
        }
        if (errno == EAGAIN) {
            client->events &= ~(uint32_t)EPOLLOUT;
            return 0;
        }
        if (errno != EINTR) return -1;
    }
}

static enum verdict echo(struct client* client, size_t size) {
    const ssize_t sent = send_some(client, buffer, size);
    if (sent < 0) return drop;
    if ((size_t)sent == size) return keep;
    client->rest_begin = 0;
    client->rest_end = size - (size_t)sent;
    client->rest = malloc(client->rest_end);
    if (client->rest == NULL) return drop;
    memcpy(client->rest, buffer + sent, client->rest_end);
    return keep;
}

static enum verdict send_rest(struct client* client) {
    const ssize_t sent =
        send_some(client, client->rest + client->rest_begin, client->rest_end - client->rest_begin);
    if (sent < 0) return drop;
    client->rest_begin += (size_t)sent;
    if (client->rest_begin < client->rest_end) return keep;
    free(client->rest);
    client->rest = NULL;
    return keep;
}

// Others get their turn. No edge will tell of what is known already, but a change of the
// registration looks anew: a call that only streams make, instead of a list of who is to go on.
static enum verdict go_on_later(struct client* client) {
    struct epoll_event event = {.events = client_events, .data.ptr = client};
    return epoll_ctl(epoll_fd, EPOLL_CTL_MOD, client->fd, &event) == 0 ? keep : drop;
}

static enum verdict serve(struct client* client, uint32_t events) {
    // An end or a failure shows in what the next read or write returns: let there be one.
    if ((events & (EPOLLHUP | EPOLLERR)) != 0) events |= EPOLLIN | EPOLLOUT;
    if ((events & EPOLLRDHUP) != 0) events |= EPOLLIN;
    client->events |= events;
    if (client->rest != NULL) {
        if ((client->events & EPOLLOUT) == 0) return keep;
        if (send_rest(client) == drop) return drop;
    }
    for (int reads = 0; client->rest == NULL; ++reads) {
        if ((client->events & EPOLLIN) == 0) return keep;
        if (reads == reads_per_turn) return go_on_later(client);
        const ssize_t got = recv(client->fd, buffer, sizeof buffer, 0);
        if (got == 0) return drop;
        if (got < 0) {
            if (errno == EINTR) continue;
            if (errno != EAGAIN) return drop;
            client->events &= ~(uint32_t)(EPOLLIN | EPOLLPRI);
            return keep;
        }
        // Short because it is drained; unless its end follows, or it stopped at urgent data.
        if ((size_t)got < sizeof buffer && (client->events & (over | EPOLLPRI)) == 0)
            client->events &= ~(uint32_t)EPOLLIN;
        if (echo(client, (size_t)got) == drop) return drop;
    }
    return keep;
}

static void welcome(int fd) {
    struct client* const client = calloc(1, sizeof *client);
    if (client == NULL) {
        close(fd);
        return;
    }
    client->fd = fd;
    struct epoll_event event = {.events = client_events, .data.ptr = client};
    if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event) != 0) destroy(client);
}

// Returns for how many milliseconds the loop may sleep before it has to accept again; -1: no limit.
static int accept_clients(int listener) {
    for (int i = 0; i < accepts_per_turn; ++i) {
        const int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0) {
            welcome(fd);
            continue;
        }
        switch (errno) {
        case EAGAIN: return -1;
        case EMFILE:
        case ENFILE:
        case ENOBUFS:
        case ENOMEM: return retry_ms;
        default: break;  // of a single connection, accept(2): the next one may be fine
        }
    }
    return 0;
}

static int listen_on(struct sockaddr_in address) {
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) fail("open a socket");
    const int on = 1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    // Accepted sockets inherit these, tcp(7).
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
    const int idle_seconds = keepalive_seconds;
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle_seconds, sizeof idle_seconds);
    if (bind(fd, (const struct sockaddr*)&address, sizeof address) != 0) fail("bind");
    if (listen(fd, backlog) != 0) fail("listen");
    return fd;
}

int main(int argc, char** argv) {
    const int listener = listen_on(address_of_arguments(argc, argv));
    epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (epoll_fd < 0) fail("open an epoll set");
    struct epoll_event event = {.events = EPOLLIN | EPOLLET, .data.ptr = NULL};
    if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, listener, &event) != 0) fail("watch a socket");

    static struct epoll_event events[events_per_turn];
    int accept_in_ms = -1;
    for (;;) {
        const int count = epoll_wait(epoll_fd, events, events_per_turn, accept_in_ms);
        if (count < 0 && errno != EINTR) fail("wait for events");
        bool somebody_new = accept_in_ms >= 0;
        // A client is reported once a turn and destroyed by nobody else, so no event is stale.
        for (int i = 0; i < count; ++i) {
            struct client* const client = events[i].data.ptr;
            if (client == NULL) {
                somebody_new = true;
                continue;
            }
            if (serve(client, events[i].events) == drop) destroy(client);
        }
        if (somebody_new) accept_in_ms = accept_clients(listener);
    }
}
