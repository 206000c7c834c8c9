#pragma once

#include "sim/kernel.hpp"

#include <cstddef>
#include <cstdint>
#include <limits>
#include <map>
#include <span>
#include <string>
#include <vector>

namespace sim {

/// Writes what the peer with this `id` sends from `position` on: the id itself, 8 bytes, and then
/// bytes that no other peer sends at that place. So a receiver can tell whose bytes it got.
void fill_stream(std::uint64_t id, std::uint64_t position, std::span<std::byte> bytes) noexcept;

/// What a program on another machine does with its connection.
struct Script {
    static constexpr std::uint64_t never = std::numeric_limits<std::uint64_t>::max();
    enum class End : std::uint8_t {
        fin,     ///< half-closes, reads to the end, closes
        close,   ///< closes at once, whatever there is left to read
        reset,   ///< closes with RST
        silent,  ///< neither sends nor closes any more
    };

    std::uint64_t bytes = 0;      ///< to send
    bool echo = false;            ///< a byte for each byte received, in place of `bytes`
    bool answers_at_end = false;  ///< sends only once the other side has finished
    End end = End::fin;
    eplb::Duration end_delay{0};

    eplb::Duration start_delay{0};
    std::size_t write_chunk = 64 * 1024;  ///< at most
    bool exact_chunks = true;             ///< else any size up to that
    eplb::Duration write_gap{0};          ///< at most
    std::size_t read_chunk = 64 * 1024;
    eplb::Duration read_gap{0};
    std::uint64_t stall_after =
        never;  ///< stops reading after so many bytes, once, for `stall_for`
    eplb::Duration stall_for{0};
    bool reads = true;
    eplb::Duration patience{0};  ///< resets if it is not over after so long; 0: never
    std::uint64_t reset_after_received = never;
    std::uint64_t urgent_at = never;  ///< sends a byte of urgent data there, which does not count
};

/// A program on another machine, with one connection. It checks what it receives against
/// fill_stream().
class Peer {
public:
    Peer(Kernel& kernel, std::uint64_t id, Script script, std::string name);
    Peer(const Peer&) = delete;
    Peer& operator=(const Peer&) = delete;

    /// Takes over `endpoint`, which may still be connecting.
    void start(Endpoint& endpoint);
    /// For directed tests, which change their minds. Takes effect at once.
    [[nodiscard]] Script& script() noexcept { return script_; }
    void step();
    /// Half-closes now, whatever the script says.
    void finish_sending();
    void reset_now();

    [[nodiscard]] std::uint64_t id() const noexcept { return id_; }
    [[nodiscard]] const std::string& name() const noexcept { return name_; }
    [[nodiscard]] Endpoint* endpoint() const noexcept { return endpoint_; }
    [[nodiscard]] std::uint64_t sent() const noexcept { return sent_; }
    [[nodiscard]] std::uint64_t received() const noexcept { return received_; }
    [[nodiscard]] bool saw_end() const noexcept { return eof_; }
    [[nodiscard]] bool sent_end() const noexcept { return fin_sent_; }
    [[nodiscard]] int error() const noexcept { return error_; }
    /// It has closed its connection, for whatever reason.
    [[nodiscard]] bool over() const noexcept { return over_; }
    [[nodiscard]] eplb::TimePoint over_at() const noexcept { return over_at_; }
    /// The id that the stream it receives began with; 0 while it is not complete.
    [[nodiscard]] std::uint64_t partner() const noexcept { return received_ >= 8 ? partner_ : 0; }
    /// What was wrong with the bytes received.
    [[nodiscard]] const std::string& complaint() const noexcept { return complaint_; }
    /// Reads all, sends all, and closes in order.
    [[nodiscard]] bool is_polite() const noexcept;
    /// One line for messages.
    [[nodiscard]] std::string describe() const;

private:
    void read_some();
    void write_some();
    void check(std::span<const std::byte> bytes);
    [[nodiscard]] std::span<std::byte> room_for(std::size_t size);
    void conclude();
    void close();
    void later(eplb::Duration delay);
    [[nodiscard]] eplb::Duration up_to(eplb::Duration most) noexcept;
    [[nodiscard]] bool all_sent() const noexcept;

    Kernel& kernel_;
    std::uint64_t id_;
    Script script_;
    std::string name_;
    Endpoint* endpoint_ = nullptr;
    std::vector<std::byte> buffer_;    // what is received or sent
    std::vector<std::byte> expected_;  // what should have been received
    std::uint64_t sent_ = 0;
    std::uint64_t received_ = 0;
    std::uint64_t partner_ = 0;
    eplb::TimePoint may_read_{};
    eplb::TimePoint may_write_{};
    eplb::TimePoint over_at_{};
    int error_ = 0;
    bool stalled_ = false;
    bool urgent_sent_ = false;
    bool eof_ = false;
    bool fin_sent_ = false;
    bool end_scheduled_ = false;
    bool over_ = false;
    std::string complaint_;
};

}  // namespace sim
