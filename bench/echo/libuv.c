// Gives back what it is sent, on libuv.
//     echo-libuv HOST:PORT
//
// As its guide has it, with what makes it fast: one buffer for all clients, and a write that is
// tried at once, so that only what the kernel does not take needs a request and a copy.

#include "listen.h"

#include <signal.h>
#include <uv.h>

struct client {
    uv_tcp_t socket;  // first: a handle of libuv is the client
    uv_write_t request;
    char* rest;  // of an echo that did not fit: its client is not read until it is sent
};

static uv_loop_t loop;
static char buffer[buffer_bytes];  // one for all: it is empty between two reads

static void require(int result, const char* what) {
    if (result >= 0) return;
    fprintf(stderr, "echo-libuv: cannot %s: %s\n", what, uv_strerror(result));
    exit(1);
}

static void destroy(uv_handle_t* handle) {
    struct client* const client = (struct client*)handle;
    free(client->rest);
    free(client);
}

static void drop(struct client* client) {
    if (!uv_is_closing((uv_handle_t*)client)) uv_close((uv_handle_t*)client, destroy);
}

static void lend_buffer(uv_handle_t* handle, size_t suggested, uv_buf_t* lent) {
    (void)handle;
    (void)suggested;
    *lent = uv_buf_init(buffer, sizeof buffer);
}

static void on_read(uv_stream_t* stream, ssize_t got, const uv_buf_t* lent);

static void on_rest_sent(uv_write_t* request, int status) {
    struct client* const client = request->data;
    free(client->rest);
    client->rest = NULL;
    if (status < 0 || uv_read_start((uv_stream_t*)client, lend_buffer, on_read) < 0) drop(client);
}

static void send_later(struct client* client, const char* bytes, size_t size) {
    uv_read_stop((uv_stream_t*)client);
    client->rest = malloc(size);
    if (client->rest == NULL) {
        drop(client);
        return;
    }
    memcpy(client->rest, bytes, size);
    const uv_buf_t rest = uv_buf_init(client->rest, (unsigned)size);
    client->request.data = client;
    if (uv_write(&client->request, (uv_stream_t*)client, &rest, 1, on_rest_sent) < 0) drop(client);
}

static void on_read(uv_stream_t* stream, ssize_t got, const uv_buf_t* lent) {
    struct client* const client = (struct client*)stream;
    if (got == 0) return;  // EAGAIN
    int sent = (int)got;
    if (got > 0) {
        const uv_buf_t echo = uv_buf_init(lent->base, (unsigned)got);
        sent = uv_try_write(stream, &echo, 1);
        if (sent == UV_EAGAIN) sent = 0;
    }
    if (sent < 0) {
        drop(client);
    } else if (sent < got) {
        send_later(client, lent->base + sent, (size_t)(got - sent));
    }
}

static void on_connection(uv_stream_t* listener, int status) {
    if (status < 0) return;  // of a single connection, or no descriptors: libuv tells again
    struct client* const client = calloc(1, sizeof *client);
    if (client == NULL) return;
    uv_tcp_init(&loop, &client->socket);
    if (uv_accept(listener, (uv_stream_t*)client) < 0 ||
        uv_read_start((uv_stream_t*)client, lend_buffer, on_read) < 0)
        drop(client);
}

int main(int argc, char** argv) {
    if (argc == 2 && strcmp(argv[1], "--version") == 0) {
        printf("libuv %s\n", uv_version_string());
        return 0;
    }
    const struct sockaddr_in address = address_of_arguments(argc, argv);
    signal(SIGPIPE, SIG_IGN);  // libuv's writes raise it
    require(uv_loop_init(&loop), "start");
    uv_tcp_t listener;
    require(uv_tcp_init(&loop, &listener), "open a socket");
    require(uv_tcp_bind(&listener, (const struct sockaddr*)&address, 0), "bind");
    // Accepted sockets inherit these, tcp(7).
    require(uv_tcp_nodelay(&listener, 1), "set TCP_NODELAY");
    require(uv_tcp_keepalive(&listener, 1, keepalive_seconds), "set SO_KEEPALIVE");
    require(uv_listen((uv_stream_t*)&listener, backlog, on_connection), "listen");
    return uv_run(&loop, UV_RUN_DEFAULT);
}
