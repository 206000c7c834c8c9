#pragma once

#include "eplb/address.hpp"
#include "eplb/fd.hpp"
#include "support/bytes.hpp"

#include <cstddef>
#include <deque>
#include <limits>
#include <memory>
#include <optional>
#include <poll.h>
#include <string>
#include <vector>

namespace eplb {
class Reactor;
}

namespace eplb::test {

/// Something that acts on the network while a test's reactor turns.
class Actor {
public:
    virtual ~Actor() = default;
    /// Does what can be done without waiting, and returns whether that was anything.
    virtual bool act() = 0;
    /// Adds the descriptors, and what to wait for, when there is nothing to do.
    virtual void poll_for(std::vector<pollfd>& entries) const = 0;
};

/// One end of a connection in the hands of the test: a client, or what a backend accepted. Nothing
/// here blocks: what the kernel does not take waits in the peer until the Loop gives it its turn.
class Peer final : public Actor {
public:
    Peer() = default;
    explicit Peer(Fd socket) : socket_{std::move(socket)} {}

    void send(const Bytes& bytes);
    /// One urgent byte behind what was sent so far, which must all be with the kernel.
    void send_urgent(char byte);
    /// Sends FIN behind what was sent so far.
    void half_close();
    /// Sends RST; what the kernel or the peer still holds is lost.
    void reset();
    /// close(2): FIN, or RST if there was something unread.
    void close();

    /// Reads nothing until resume().
    void hold() { may_read_ = 0; }
    void resume() { may_read_ = unlimited; }
    /// Reads `count` more bytes and then holds.
    void read_at_most(std::size_t count) { may_read_ = count; }

    /// What was received and not taken out yet.
    [[nodiscard]] const Bytes& received() const { return received_; }
    /// Takes out everything that was received.
    [[nodiscard]] Bytes take() { return std::exchange(received_, {}); }
    /// Every byte ever received.
    [[nodiscard]] std::size_t received_bytes() const { return received_bytes_; }
    /// The other end sent FIN, and all before it was read.
    [[nodiscard]] bool finished() const { return finished_; }
    /// The errno that reading or writing met, or 0: ECONNRESET after RST.
    [[nodiscard]] int error() const { return error_; }
    [[nodiscard]] bool was_reset() const;
    /// finished() or failed.
    [[nodiscard]] bool over() const { return finished_ || error_ != 0; }
    /// Bytes that the kernel has not taken yet.
    [[nodiscard]] std::size_t unsent() const { return outgoing_.size() - sent_; }
    [[nodiscard]] std::size_t sent_bytes() const { return sent_bytes_; }

    [[nodiscard]] bool is_open() const { return socket_.valid(); }
    [[nodiscard]] const Fd& socket() const { return socket_; }

    bool act() override;
    void poll_for(std::vector<pollfd>& entries) const override;

private:
    static constexpr std::size_t unlimited = std::numeric_limits<std::size_t>::max();

    bool write_some();
    bool read_some();

    Fd socket_;
    std::string outgoing_;
    std::size_t sent_ = 0;
    std::size_t sent_bytes_ = 0;
    Bytes received_;
    std::size_t received_bytes_ = 0;
    std::size_t may_read_ = unlimited;
    int error_ = 0;
    int write_error_ = 0;
    bool finished_ = false;
    bool want_half_close_ = false;
};

/// What a ScriptedBackend does with its connections.
struct Script {
    Bytes greeting{};               ///< sent at once
    bool echo = false;              ///< sends back what it receives
    bool finish_with_peer = false;  ///< answers FIN with FIN
    bool reset_at_once = false;
    bool close_at_once = false;
};

/// A server on 127.0.0.1 that follows a script and keeps every connection for the test to look at.
class ScriptedBackend final : public Actor {
public:
    explicit ScriptedBackend(Script script = {});

    [[nodiscard]] const Address& address() const { return address_; }
    /// The connections in the order in which they came. Peers stay where they are in memory.
    [[nodiscard]] std::size_t connections() const { return peers_.size(); }
    [[nodiscard]] Peer& connection(std::size_t index) { return peers_.at(index); }
    [[nodiscard]] Peer& last() { return peers_.back(); }
    /// From now on connecting is refused; connections that exist live on.
    void stop_listening() { listener_.reset(); }

    bool act() override;
    void poll_for(std::vector<pollfd>& entries) const override;

private:
    Script script_;
    Fd listener_;
    Address address_;
    std::deque<Peer> peers_;
    std::deque<bool> answered_fin_;
};

/// Turns a reactor and lets actors act, all on one thread, until something is so. It never sleeps:
/// when nobody can do anything it waits in poll(2) for the descriptors of all of them, and gives up
/// when nothing happens there for a while, or when too many turns did not help.
class Loop {
public:
    explicit Loop(Reactor& reactor) : reactor_{reactor} {}

    void add(Actor& actor) { actors_.push_back(&actor); }
    void remove(Actor& actor) { std::erase(actors_, &actor); }

    /// One turn for everybody. Returns whether anything happened.
    bool turn();

    /// Whether `done()` came true.
    template <class Predicate>
    [[nodiscard]] bool until(Predicate done) {
        int idle_ms = 0;
        for (int turns = 0; turns < max_turns && idle_ms < guard_ms; ++turns) {
            if (done()) return true;
            idle_ms = turn() || wait(slice_ms) ? 0 : idle_ms + slice_ms;
        }
        return done();
    }

    /// Turns until nobody has anything to do any more. Returns false if that does not come about.
    [[nodiscard]] bool settle();

private:
    static constexpr int max_turns = 100'000;
    static constexpr int guard_ms = 60'000;
    static constexpr int slice_ms = 10;  // what another thread made true shows at no descriptor

    /// Waits until a descriptor is ready; false when none was in time.
    [[nodiscard]] bool wait(int timeout_ms) const;

    Reactor& reactor_;
    std::vector<Actor*> actors_;
};

}  // namespace eplb::test
