// eplb::sys over the simulated kernel.

#include "base/sys.hpp"
#include "sim/kernel.hpp"
#include "sim/memory.hpp"
#include "sim/wakers.hpp"

#include <algorithm>
#include <bit>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <netinet/in.h>
#include <pthread.h>
#include <sys/mman.h>

namespace eplb::sys {

namespace {

using sim::Endpoint;
using sim::File;
using sim::Kernel;
using sim::Listener;
using sim::Pipe;
using sim::PipeEnd;
using sim::Place;
using sim::SimulationsTurn;

Kernel& begin(bool locked = false) noexcept {
    Kernel& kernel = Kernel::current();
    kernel.enter(locked);
    return kernel;
}

bool tracing() noexcept {
    static const bool wanted = std::getenv("EPLB_SIM_TRACE") != nullptr;
    return wanted;
}

void trace(const char* call, int a, int b, const IoResult& result) noexcept {
    if (!tracing()) return;
    constexpr const char* names[] = {"moved", "eof", "would_block", "error"};
    std::fprintf(stderr, "%.6f %s(%d, %d) = %s %zu %s\n",
                 static_cast<double>(Kernel::current().now().time_since_epoch().count()) / 1e9,
                 call, a, b, names[static_cast<int>(result.status)], result.bytes,
                 result.error != 0 ? std::strerror(result.error) : "");
}

void trace(const char* call, int a, int b, int result) noexcept {
    if (!tracing()) return;
    std::fprintf(stderr, "%.6f %s(%d, %d) = %d\n",
                 static_cast<double>(Kernel::current().now().time_since_epoch().count()) / 1e9,
                 call, a, b, result);
}

/// Notes whether the call was of any use, and passes its result on.
IoResult finish(Kernel& kernel, const char* call, int a, int b, IoResult result) noexcept {
    if (result.status != Io::would_block) kernel.note_progress();
    trace(call, a, b, result);
    return result;
}

int finish(const char* call, int a, int b, int result) noexcept {
    trace(call, a, b, result);
    return result;
}

Place to_place(const sockaddr_storage& address) noexcept {
    sockaddr_in raw{};
    std::memcpy(&raw, &address, sizeof raw);
    return {ntohl(raw.sin_addr.s_addr), ntohs(raw.sin_port)};
}

socklen_t from_place(const Place& place, sockaddr_storage& address) noexcept {
    sockaddr_in raw{};
    raw.sin_family = AF_INET;
    raw.sin_addr.s_addr = htonl(place.ip);
    raw.sin_port = htons(place.port);
    address = {};
    std::memcpy(&address, &raw, sizeof raw);
    return sizeof raw;
}

constexpr IoResult bad_descriptor{Io::error, EBADF, 0};

}  // namespace

// --- moving bytes

IoResult recv(int fd, std::span<std::byte> buffer) noexcept {
    const SimulationsTurn simulation;
    Kernel& kernel = begin();
    auto* const socket = kernel.file_as<Endpoint>(fd, "recv");
    if (socket == nullptr) return bad_descriptor;
    return finish(kernel, "recv", fd, static_cast<int>(buffer.size()), socket->recv(buffer));
}

IoResult send(int fd, std::span<const std::byte> bytes) noexcept {
    const SimulationsTurn simulation;
    Kernel& kernel = begin();
    auto* const socket = kernel.file_as<Endpoint>(fd, "send");
    if (socket == nullptr) return bad_descriptor;
    return finish(kernel, "send", fd, static_cast<int>(bytes.size()), socket->send(bytes));
}

IoResult peek(int fd, std::span<std::byte> buffer) noexcept {
    const SimulationsTurn simulation;
    Kernel& kernel = begin();
    auto* const socket = kernel.file_as<Endpoint>(fd, "peek");
    if (socket == nullptr) return bad_descriptor;
    return finish(kernel, "peek", fd, static_cast<int>(buffer.size()), socket->peek(buffer));
}

// When exactly bytes leave is the kernel's affair, here as there.
IoResult send_ahead(int fd, std::span<const std::byte> bytes) noexcept { return send(fd, bytes); }

IoResult splice(int from, int to, std::size_t count) noexcept {
    const SimulationsTurn simulation;
    Kernel& kernel = begin();
    File* const source = kernel.file(from, "splice");
    File* const target = kernel.file(to, "splice");
    if (source == nullptr || target == nullptr) return bad_descriptor;
    if (const int refusal = kernel.splice_refusal()) {
        return finish(kernel, "splice", from, to, {Io::error, refusal, 0});
    }
    if (count == 0) kernel.violation("splice of no bytes");
    if (auto* const pipe = dynamic_cast<PipeEnd*>(target); pipe != nullptr && pipe->is_writer()) {
        auto* const socket = kernel.file_as<Endpoint>(from, "splice");
        if (socket == nullptr) return {Io::error, EINVAL, 0};
        return finish(kernel, "splice", from, to, socket->splice_to(pipe->pipe(), count));
    }
    if (auto* const pipe = dynamic_cast<PipeEnd*>(source); pipe != nullptr && !pipe->is_writer()) {
        auto* const socket = kernel.file_as<Endpoint>(to, "splice");
        if (socket == nullptr) return {Io::error, EINVAL, 0};
        const IoResult result = socket->splice_from(pipe->pipe(), count);
        if (result.status == Io::error && result.error == EPIPE) {
            sigset_t mask;
            ::pthread_sigmask(SIG_BLOCK, nullptr, &mask);
            if (sigismember(&mask, SIGPIPE) != 1) {
                kernel.violation("splice into a closed socket with SIGPIPE unblocked");
            }
        }
        return finish(kernel, "splice", from, to, result);
    }
    kernel.violation("splice without the right end of a pipe");
    return {Io::error, EINVAL, 0};
}

IoResult read(int fd, std::span<std::byte> buffer) noexcept {
    const SimulationsTurn simulation;
    Kernel& kernel = begin();
    File* const file = kernel.file(fd, "read");
    IoResult result = bad_descriptor;
    if (auto* const pipe = dynamic_cast<PipeEnd*>(file)) {
        result = pipe->read(buffer);
    } else if (auto* const event = dynamic_cast<sim::EventFd*>(file)) {
        result = event->read(buffer);
    } else if (auto* const signals = dynamic_cast<sim::SignalFd*>(file)) {
        result = signals->read(buffer);
    } else if (file != nullptr) {
        kernel.violation(std::string{"read on a "} + file->kind());
    }
    return finish(kernel, "read", fd, 0, result);
}

// To a mailbox's eventfd, that is, which is locked.
IoResult write(int fd, std::span<const std::byte> bytes) noexcept {
    const SimulationsTurn simulation;
    Kernel& kernel = begin(true);
    File* const file = kernel.file(fd, "write");
    IoResult result = bad_descriptor;
    if (auto* const pipe = dynamic_cast<PipeEnd*>(file)) {
        result = pipe->write(bytes);
    } else if (auto* const event = dynamic_cast<sim::EventFd*>(file)) {
        result = event->write(bytes);
    } else if (file != nullptr) {
        kernel.violation(std::string{"write on a "} + file->kind());
    }
    return finish(kernel, "write", fd, 0, result);
}

// --- sockets

int socket(int family) noexcept {
    const SimulationsTurn simulation;
    Kernel& kernel = begin();
    if (family != AF_INET) return -EAFNOSUPPORT;  // a machine without IPv6
    if (kernel.random().one_in(kernel.options().faults.socket_shortage)) return -kernel.shortage();
    return finish("socket", family, 0,
                  kernel.open(kernel.make<Endpoint>(kernel, kernel.options().link)));
}

int bind(int fd, const sockaddr_storage& address, socklen_t) noexcept {
    const SimulationsTurn simulation;
    auto* const socket = begin().file_as<Endpoint>(fd, "bind");
    if (socket == nullptr) return EBADF;
    socket->set_places(to_place(address), {});
    return 0;
}

int listen(int fd, int backlog) noexcept {
    const SimulationsTurn simulation;
    Kernel& kernel = begin();
    File* const file = kernel.file(fd, "listen");
    if (auto* const listener = dynamic_cast<Listener*>(file)) {
        listener->set_backlog(static_cast<std::size_t>(backlog));
        return 0;
    }
    auto* const socket = dynamic_cast<Endpoint*>(file);
    if (socket == nullptr) return EBADF;
    return kernel.listen(fd, socket->local(), backlog, socket->shares_port());
}

int accept(int fd, sockaddr_storage& peer, socklen_t& length) noexcept {
    const SimulationsTurn simulation;
    Kernel& kernel = begin();
    auto* const listener = kernel.file_as<Listener>(fd, "accept");
    if (listener == nullptr) return -EBADF;
    Place place;
    const int result = kernel.accept(*listener, place);
    if (result >= 0) length = from_place(place, peer);
    return finish("accept", fd, 0, result);
}

int connect(int fd, const sockaddr_storage& address, socklen_t) noexcept {
    const SimulationsTurn simulation;
    Kernel& kernel = begin();
    auto* const socket = kernel.file_as<Endpoint>(fd, "connect");
    if (socket == nullptr) return EBADF;
    return finish("connect", fd, 0, kernel.connect(*socket, to_place(address)));
}

int local_address(int fd, sockaddr_storage& address, socklen_t& length) noexcept {
    const SimulationsTurn simulation;
    Kernel& kernel = begin();
    File* const file = kernel.file(fd, "getsockname");
    if (file == nullptr) return EBADF;
    Place place;
    if (const auto* const socket = dynamic_cast<Endpoint*>(file)) place = socket->local();
    if (const auto* const listener = dynamic_cast<Listener*>(file)) place = listener->place();
    length = from_place(place, address);
    return 0;
}

int set_option(int fd, int level, int name, int value) noexcept {
    const SimulationsTurn simulation;
    File* const file = begin().file(fd, "setsockopt");
    if (file == nullptr) return EBADF;
    if (level != SOL_SOCKET || name != SO_REUSEPORT || value == 0) return 0;
    if (auto* const socket = dynamic_cast<Endpoint*>(file)) socket->share_port();
    if (auto* const listener = dynamic_cast<Listener*>(file)) listener->share_port();
    return 0;
}

int set_text_option(int fd, int level, int name, std::string_view) noexcept {
    return set_option(fd, level, name, 0);
}

int take_error(int fd) noexcept {
    const SimulationsTurn simulation;
    auto* const socket = begin().file_as<Endpoint>(fd, "getsockopt");
    return socket == nullptr ? EBADF : finish("take_error", fd, 0, socket->take_error());
}

std::size_t unsent_bytes(int fd) noexcept {
    const SimulationsTurn simulation;
    auto* const socket = begin().file_as<Endpoint>(fd, "ioctl");
    const bool dead = socket == nullptr || socket->state() == Endpoint::State::closed;
    const std::size_t bytes = dead ? 0 : socket->unsent();
    trace("unsent_bytes", fd, 0, static_cast<int>(bytes));
    return bytes;
}

// The peers of this world acknowledge whatever reaches them.
int peer_state(int fd, PeerState& state) noexcept {
    const SimulationsTurn simulation;
    auto* const socket = begin().file_as<Endpoint>(fd, "getsockopt");
    state = {};
    return finish("peer_state", fd, 0, socket == nullptr ? EBADF : 0);
}

int shutdown_write(int fd) noexcept {
    const SimulationsTurn simulation;
    Kernel& kernel = begin();
    auto* const socket = kernel.file_as<Endpoint>(fd, "shutdown");
    if (socket == nullptr) return EBADF;
    kernel.note_progress();
    return finish("shutdown_write", fd, 0, socket->shutdown_write());
}

void reset_on_close(int fd) noexcept {
    const SimulationsTurn simulation;
    File* const file = begin().file(fd, "setsockopt");
    trace("reset_on_close", fd, 0, 0);
    if (auto* const socket = dynamic_cast<Endpoint*>(file)) socket->set_linger_zero();
}

// --- pipes, epoll, the rest

int pipe(int& read_end, int& write_end) noexcept {
    const SimulationsTurn simulation;
    Kernel& kernel = begin();
    const auto& options = kernel.options();
    if (kernel.random().one_in(options.faults.pipe_shortage)) return kernel.shortage();
    if (kernel.open_descriptors() + 2 > options.max_descriptors) return EMFILE;
    Pipe& made = kernel.make_pipe();
    read_end = kernel.open(kernel.make<PipeEnd>(made, false));
    write_end = kernel.open(kernel.make<PipeEnd>(made, true));
    return finish("pipe", read_end, write_end, 0);
}

int set_pipe_size(int fd, std::size_t bytes) noexcept {
    const SimulationsTurn simulation;
    Kernel& kernel = begin();
    auto* const end = kernel.file_as<PipeEnd>(fd, "fcntl");
    if (end == nullptr) return -EBADF;
    if (kernel.options().pipe_slots < 16) return -EPERM;  // over the user's quota, pipe(7)
    const std::size_t slots = std::bit_ceil(std::max<std::size_t>(1, bytes / Pipe::page));
    if (const int error = end->pipe().resize(slots)) return -error;
    return static_cast<int>(slots * Pipe::page);
}

int pipe_size(int fd) noexcept {
    const SimulationsTurn simulation;
    auto* const end = begin().file_as<PipeEnd>(fd, "fcntl");
    return end == nullptr ? -EBADF : static_cast<int>(end->pipe().slots() * Pipe::page);
}

void* map(std::size_t bytes) noexcept {
    if (sim::memory_is_refused()) return nullptr;
    void* const area =
        ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return area == MAP_FAILED ? nullptr : area;
}

void unmap(void* memory, std::size_t bytes) noexcept { ::munmap(memory, bytes); }

int epoll_create() noexcept {
    const SimulationsTurn simulation;
    Kernel& kernel = begin();
    return kernel.open(kernel.make<sim::Epoll>());
}

int epoll_add(int epoll, int fd, std::uint32_t events, void* data) noexcept {
    const SimulationsTurn simulation;
    Kernel& kernel = begin();
    auto* const set = kernel.file_as<sim::Epoll>(epoll, "epoll_ctl");
    File* const file = kernel.file(fd, "epoll_ctl");
    if (set == nullptr || file == nullptr) return EBADF;
    if (kernel.random().one_in(kernel.options().faults.epoll_add)) {
        return finish("epoll_add", fd, 0, kernel.random().one_in(2) ? ENOMEM : ENOSPC);
    }
    const int error = set->add(fd, *file, events, data);
    if (error != 0) kernel.violation("epoll_ctl: added twice");
    kernel.note_progress();
    return finish("epoll_add", fd, static_cast<int>(events), error);
}

void epoll_remove(int epoll, int fd) noexcept {
    const SimulationsTurn simulation;
    Kernel& kernel = begin();
    auto* const set = kernel.file_as<sim::Epoll>(epoll, "epoll_ctl");
    if (set == nullptr || kernel.file(fd, "epoll_ctl") == nullptr) return;
    if (set->remove(fd) != 0) kernel.violation("epoll_ctl: removed, but was not there");
    kernel.note_progress();
    trace("epoll_remove", fd, 0, 0);
}

int epoll_wait(int epoll, std::span<epoll_event> events, int timeout_ms) noexcept {
    const SimulationsTurn simulation;
    Kernel& kernel = Kernel::current();
    auto* const set = kernel.file_as<sim::Epoll>(epoll, "epoll_wait");
    if (set == nullptr) return -EBADF;
    const int count = kernel.wait(*set, events, timeout_ms);
    trace("epoll_wait", timeout_ms, 0, count);
    if (tracing() && count > 0) {
        for (const epoll_event& event : events.first(static_cast<std::size_t>(count))) {
            std::fprintf(stderr, "    event %p %x\n", event.data.ptr, event.events);
        }
    }
    return count;
}

std::size_t events_per_wait() noexcept { return Kernel::current().options().events_per_wait; }

int eventfd() noexcept {
    const SimulationsTurn simulation;
    Kernel& kernel = begin();
    return kernel.open(kernel.make<sim::EventFd>());
}

int signalfd(const sigset_t& signals) noexcept {
    const SimulationsTurn simulation;
    Kernel& kernel = begin();
    return kernel.open(kernel.make<sim::SignalFd>(signals));
}

void close(int fd) noexcept {
    trace("close", fd, 0, 0);
    const SimulationsTurn simulation;
    begin().close(fd);
}

}  // namespace eplb::sys
