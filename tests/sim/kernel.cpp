#include "sim/kernel.hpp"

#include <algorithm>
#include <cassert>
#include <cerrno>
#include <iterator>
#include <utility>

namespace sim {

namespace {

// The seam is free functions, so there must be one place where they find their kernel.
Kernel* current_kernel = nullptr;

constexpr std::uint32_t this_machine = 0x0a000001U;  // 10.0.0.1

}  // namespace

Kernel::Kernel(KernelOptions options)
    : options_{std::move(options)},
      random_{options_.seed},
      now_{options_.start},
      previous_{std::exchange(current_kernel, this)} {}

Kernel::~Kernel() { current_kernel = previous_; }

Kernel& Kernel::current() noexcept {
    assert(current_kernel != nullptr);
    return *current_kernel;
}

// --- time

void Kernel::at(eplb::TimePoint time, std::function<void()> event) {
    events_.push({std::max(time, now_), next_order_++, std::move(event)});
}

eplb::Duration Kernel::jitter(eplb::Duration latency) noexcept {
    if (!options_.jitter) return latency;
    const auto most = static_cast<std::uint64_t>(latency.count());
    return eplb::Duration{static_cast<eplb::Duration::rep>(random_.between(most / 2, most * 2))};
}

bool Kernel::run_due() noexcept {
    bool any = false;
    while (!events_.empty() && events_.top().time <= now_) {
        // top() is const, but the moved-from event is popped at once.
        std::function<void()> run = std::move(const_cast<Event&>(events_.top()).run);
        events_.pop();
        note_progress();
        any = true;
        run();
    }
    return any;
}

void Kernel::advance(eplb::Duration by) {
    const eplb::TimePoint end = now_ + by;
    while (!events_.empty() && events_.top().time <= end) {
        now_ = std::max(now_, events_.top().time);
        run_due();
    }
    now_ = end;
}

void Kernel::sleep(eplb::Duration most) noexcept {
    if (run_due() || std::exchange(interrupted_, false)) return;
    const bool for_ever = most < eplb::Duration{0};
    if (events_.empty() && for_ever) {
        stalled_ = true;
    } else if (events_.empty() || (!for_ever && now_ + most < events_.top().time)) {
        now_ += most;
        note_progress();  // a timer is due
    } else {
        now_ = std::max(now_, events_.top().time);
        run_due();
    }
}

void Kernel::let_others_run() noexcept {
    constexpr std::size_t most_turns = 20;
    if (options_.faults.preemption != 0 && random_.one_in(2)) crew_.turn_some(random_, most_turns);
}

void Kernel::enter(bool locked) noexcept {
    ++calls_;
    ++idle_calls_;
    if (!locked && random_.one_in(options_.faults.preemption)) crew_.turn_some(random_, 3);
    stall_by_chance();
    if (options_.call_time.count() > 0) {
        const auto most = static_cast<std::uint64_t>(options_.call_time.count());
        now_ += eplb::Duration{static_cast<eplb::Duration::rep>(random_.below(most))};
        run_due();
    }
}

bool Kernel::stall_by_chance() noexcept {
    if (!random_.one_in(options_.faults.stall)) return false;
    const auto most = static_cast<std::uint64_t>(options_.faults.longest_stall.count());
    const eplb::Duration length{static_cast<eplb::Duration::rep>(random_.magnitude(most))};
    stalled_for_ += length;
    note_progress();
    advance(length);
    return true;
}

int Kernel::wait(Epoll& epoll, std::span<epoll_event> events, int timeout_ms) noexcept {
    enter();
    if (run_due() && options_.short_waits) timeout_ms = 0;
    const eplb::TimePoint deadline = now_ + std::chrono::milliseconds{std::max(timeout_ms, 0)};
    if (random_.one_in(options_.faults.spurious_wake)) epoll.wake_spuriously(random_);
    for (;;) {
        const int count = epoll.collect(events, options_.shuffle_events ? &random_ : nullptr);
        if (count > 0 || timeout_ms == 0) {
            stall_by_chance();  // with the answer in hand
            return count;
        }
        if (std::exchange(interrupted_, false)) return -EINTR;
        // SIGCONT interrupts it, whatever has come since SIGSTOP.
        if (random_.one_in(options_.faults.early_return) || stall_by_chance()) return -EINTR;
        if (events_.empty() && timeout_ms < 0) {
            stalled_ = true;
            return 0;
        }
        if (events_.empty() || (timeout_ms > 0 && deadline < events_.top().time)) {
            now_ = deadline;
            note_progress();  // a timer is due: that is what was waited for
            return 0;
        }
        now_ = std::max(now_, events_.top().time);
        run_due();
        if (options_.short_waits) timeout_ms = 0;
    }
}

// --- descriptors

void Kernel::violation(std::string text) noexcept { violations_.push_back(std::move(text)); }

File* Kernel::file(int fd, const char* call) noexcept {
    if (fd >= first_descriptor && index(fd) < table_.size() && table_[index(fd)] != nullptr) {
        return table_[index(fd)];
    }
    violation(std::string{call} + " on descriptor " + std::to_string(fd) + ", which is not open");
    return nullptr;
}

int Kernel::open(File& file) noexcept {
    if (open_count_ >= options_.max_descriptors) return -EMFILE;
    const auto free = std::find(table_.begin(), table_.end(), nullptr);
    const auto place = static_cast<std::size_t>(free - table_.begin());
    if (free == table_.end()) table_.push_back(nullptr);
    table_[place] = &file;
    ++open_count_;
    note_progress();
    return first_descriptor + static_cast<int>(place);
}

void Kernel::close(int fd) noexcept {
    File* const closed = file(fd, "close");
    if (closed == nullptr) return;
    if (closed->watched()) {
        // If the descriptor had been duplicated, epoll would go on reporting it, and it could not
        // be removed any more.
        violation(std::string{"close of a "} + closed->kind() + " that epoll still watches");
    }
    table_[index(fd)] = nullptr;
    --open_count_;
    note_progress();
    closed->release();
}

std::string Kernel::describe_open() const {
    std::map<std::string_view, int> counts;
    for (const File* file : table_) {
        if (file != nullptr) ++counts[file->kind()];
    }
    std::string text;
    for (const auto& [kind, count] : counts) {
        if (!text.empty()) text += ", ";
        text += std::string{kind} + ' ' + std::to_string(count);
    }
    return text;
}

std::size_t Kernel::open_pipes() const noexcept {
    return static_cast<std::size_t>(
        std::count_if(pipes_.begin(), pipes_.end(),
                      [](const auto& pipe) { return pipe->readers + pipe->writers > 0; }));
}

std::size_t Kernel::bytes_in_pipes() const noexcept {
    std::size_t bytes = 0;
    for (const auto& pipe : pipes_) {
        if (pipe->readers + pipe->writers > 0) bytes += pipe->bytes();
    }
    return bytes;
}

Pipe& Kernel::make_pipe() {
    ++pipes_made_;
    pipes_.push_back(std::make_unique<Pipe>(options_.pipe_slots));
    return *pipes_.back();
}

int Kernel::shortage() noexcept {
    constexpr int errors[] = {EMFILE, ENFILE, ENOBUFS, ENOMEM};
    return errors[random_.below(std::size(errors))];
}

int Kernel::splice_refusal() noexcept {
    const auto count = static_cast<std::int64_t>(splices_++);
    const std::int64_t limit = options_.faults.splice_refused_after;
    return limit >= 0 && count >= limit ? options_.faults.splice_error : 0;
}

// --- connections

void Kernel::serve(const Place& place, std::function<Dialled()> answer) {
    servers_[place] = std::move(answer);
}

Endpoint& Kernel::dial(std::uint16_t port, const Link& link) {
    auto& client = make<Endpoint>(*this, link);
    client.set_places({next_client_ip_++, free_port()}, {this_machine, port});
    client.start_connecting();
    after(link.latency, [this, &client, port, link] { offer(client, port, link); });
    return client;
}

void Kernel::offer(Endpoint& client, std::uint16_t port, const Link& link) {
    if (client.state() != Endpoint::State::syn_sent) return;  // gave up
    Listener* const listener = listener_on(port);
    if (listener == nullptr) {
        after(link.latency, [&client] { client.fail_connecting(ECONNREFUSED); });
        return;
    }
    if (listener->full()) {
        // The SYN is dropped and sent again.
        after(std::chrono::seconds{1}, [this, &client, port, link] { offer(client, port, link); });
        return;
    }
    auto& server = make<Endpoint>(*this, link);
    server.set_places(client.remote(), client.local());
    server.join(client);
    server.establish();
    client.establish();
    listener->push(server);
}

// The kernel goes by a hash of the connection, socket(7).
Listener* Kernel::listener_on(std::uint16_t port) noexcept {
    const auto found = listeners_.find(port);
    if (found == listeners_.end()) return nullptr;
    const std::vector<Listener*>& all = found->second;
    return all[all.size() == 1 ? 0 : static_cast<std::size_t>(random_.below(all.size()))];
}

Kernel::Pair Kernel::connected_pair(const Link& link) {
    auto& ours = make<Endpoint>(*this, link);
    auto& theirs = make<Endpoint>(*this, link);
    theirs.set_places({next_client_ip_++, free_port()}, {this_machine, free_port()});
    ours.set_places(theirs.remote(), theirs.local());
    ours.join(theirs);
    ours.establish();
    theirs.establish();
    return {open(ours), &theirs};
}

int Kernel::listen(int fd, const Place& place, int backlog, bool shared) noexcept {
    Place bound = place;
    if (bound.port == 0) bound.port = free_port();
    const auto found = listeners_.find(bound.port);
    if (found != listeners_.end() && !(shared && found->second.front()->shared()))
        return EADDRINUSE;
    auto& listener = make<Listener>(*this, bound, static_cast<std::size_t>(backlog), shared);
    listeners_[bound.port].push_back(&listener);
    replace(fd, listener);
    return 0;
}

void Kernel::forget(const Listener& listener) noexcept {
    const auto found = listeners_.find(listener.place().port);
    std::erase(found->second, &listener);
    if (found->second.empty()) listeners_.erase(found);
}

int Kernel::accept(Listener& listener, Place& peer) noexcept {
    if (open_count_ >= options_.max_descriptors) return -EMFILE;
    if (listener.empty()) return -EAGAIN;
    if (random_.one_in(options_.faults.accept_shortage)) return -shortage();
    Endpoint& connection = listener.pop();
    if (random_.one_in(options_.faults.accept_aborted)) {
        connection.abort();
        return -ECONNABORTED;
    }
    peer = connection.remote();
    return open(connection);
}

int Kernel::connect(Endpoint& socket, const Place& to) noexcept {
    socket.set_places({this_machine, free_port()}, to);
    const auto found = servers_.find(to);
    Dialled answer = found != servers_.end()
                         ? found->second()
                         : Dialled{Dialled::Kind::fails, ECONNREFUSED, {}, {}, {}};
    note_progress();
    const Link link = answer.link ? answer.link() : options_.link;
    socket.set_link(link);
    const auto succeed = [this, &socket, link, on_accept = std::move(answer.on_accept)] {
        if (socket.state() != Endpoint::State::syn_sent) return;  // closed meanwhile
        auto& remote = make<Endpoint>(*this, link);
        remote.set_places(socket.remote(), socket.local());
        remote.join(socket);
        remote.establish();
        socket.establish();
        if (on_accept) on_accept(remote);
    };
    switch (answer.kind) {
    case Dialled::Kind::refused_at_once: return answer.error;
    case Dialled::Kind::accepted_at_once:
        socket.start_connecting();
        succeed();
        return 0;
    case Dialled::Kind::accepted:
        socket.start_connecting();
        after(answer.delay, succeed);
        return EINPROGRESS;
    case Dialled::Kind::fails:
        socket.start_connecting();
        after(answer.delay, [&socket, error = answer.error] { socket.fail_connecting(error); });
        return EINPROGRESS;
    case Dialled::Kind::silent: socket.start_connecting(); return EINPROGRESS;
    case Dialled::Kind::itself:
        socket.start_connecting();
        after(answer.delay, [&socket, to] {
            if (socket.state() != Endpoint::State::syn_sent) return;
            socket.set_places(to, to);
            socket.join(socket);
            socket.establish();
        });
        return EINPROGRESS;
    }
    return EINVAL;
}

}  // namespace sim
