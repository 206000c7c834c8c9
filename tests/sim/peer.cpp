#include "sim/peer.hpp"

#include <algorithm>
#include <cstring>
#include <utility>

namespace sim {

using eplb::Duration;
using eplb::sys::Io;

void fill_stream(std::uint64_t id, std::uint64_t position, std::span<std::byte> bytes) noexcept {
    // A word at a time: this is where the simulation spends its days. The host's byte order may
    // show.
    const auto word_at = [id](std::uint64_t at) { return at < 8 ? id : Random::mix(id + at / 8); };
    std::size_t done = 0;
    while (done < bytes.size()) {
        const std::uint64_t at = position + done;
        const std::uint64_t word = word_at(at);
        const std::size_t skip = at % 8;
        if (skip == 0 && bytes.size() - done >= sizeof word) {
            std::memcpy(&bytes[done], &word, sizeof word);
            done += sizeof word;
            continue;
        }
        const std::size_t count = std::min(sizeof word - skip, bytes.size() - done);
        std::memcpy(&bytes[done], reinterpret_cast<const char*>(&word) + skip, count);
        done += count;
    }
}

Peer::Peer(Kernel& kernel, std::uint64_t id, Script script, std::string name)
    : kernel_{kernel}, id_{id}, script_{script}, name_{std::move(name)} {}

void Peer::start(Endpoint& endpoint) {
    endpoint_ = &endpoint;
    may_write_ = kernel_.now() + script_.start_delay;
    endpoint.on_wake([this] { step(); });
    later(Duration{0});
    if (script_.start_delay > Duration{0}) later(script_.start_delay);
    if (script_.patience > Duration{0}) kernel_.after(script_.patience, [this] { reset_now(); });
}

void Peer::step() {
    if (over_ || endpoint_ == nullptr || endpoint_->state() == Endpoint::State::syn_sent) return;
    read_some();
    if (!over_) write_some();
    if (!over_) conclude();
}

void Peer::read_some() {
    if (!script_.reads) {
        // It does not look at its data, but sees when the connection is over.
        if (endpoint_->reset_arrived() || (fin_sent_ && endpoint_->fin_arrived())) {
            error_ = endpoint_->take_error();
            close();
        }
        return;
    }
    while (!eof_ && kernel_.now() >= may_read_) {
        const auto result = endpoint_->recv(room_for(script_.read_chunk));
        if (result.status == Io::would_block) return;
        if (result.status == Io::error) {
            error_ = result.error;
            return close();
        }
        if (result.status == Io::eof) {
            if (!endpoint_->fin_arrived()) return;  // reset, and a send was told of it already
            eof_ = true;
            break;
        }
        check(std::span{buffer_}.first(result.bytes));
        if (received_ >= script_.reset_after_received) return reset_now();
        if (!stalled_ && received_ >= script_.stall_after) {
            stalled_ = true;
            may_read_ = kernel_.now() + script_.stall_for;
            later(script_.stall_for);
        } else if (script_.read_gap > Duration{0}) {
            const Duration gap = up_to(script_.read_gap);
            may_read_ = kernel_.now() + gap;
            later(gap);
        }
    }
    // The end of the stream may be followed by a reset.
    if (eof_ && endpoint_->reset_arrived()) {
        error_ = endpoint_->take_error();
        close();
    }
}

void Peer::write_some() {
    if (fin_sent_ || (script_.answers_at_end && !eof_)) return;
    const std::uint64_t target = script_.echo ? received_ : script_.bytes;
    while (kernel_.now() >= may_write_) {
        if (sent_ >= script_.urgent_at && !urgent_sent_) {
            urgent_sent_ = true;
            endpoint_->send_urgent(std::byte{'!'});
        }
        if (sent_ >= target) return;
        std::uint64_t size = script_.exact_chunks ? script_.write_chunk
                                                  : kernel_.random().magnitude(script_.write_chunk);
        size = std::min(size, target - sent_);
        if (!urgent_sent_) size = std::min(size, script_.urgent_at - sent_);
        const auto bytes = room_for(static_cast<std::size_t>(size));
        fill_stream(id_, sent_, bytes);
        const auto result = endpoint_->send(bytes);
        if (result.status == Io::would_block) return;
        if (result.status == Io::error) {
            // What was received before the reset is still there to be read.
            const int error = result.error;
            while (script_.reads && !over_ && !eof_ && endpoint_->unread() > 0) {
                may_read_ = {};
                read_some();
            }
            if (error_ == 0) error_ = error;
            return close();
        }
        sent_ += result.bytes;
        if (script_.write_gap > Duration{0}) {
            const Duration gap = up_to(script_.write_gap);
            may_write_ = kernel_.now() + gap;
            later(gap);
        }
    }
}

bool Peer::all_sent() const noexcept {
    if (script_.urgent_at != Script::never && !urgent_sent_) return false;
    return script_.echo ? eof_ && sent_ == received_ : sent_ == script_.bytes;
}

void Peer::conclude() {
    if (fin_sent_) {
        if (eof_) close();
        return;
    }
    if (!all_sent() || (script_.answers_at_end && !eof_) || end_scheduled_) return;
    if (kernel_.now() < may_write_ || script_.end == Script::End::silent) return;
    end_scheduled_ = true;
    switch (script_.end) {
    case Script::End::silent: break;
    case Script::End::fin: kernel_.after(script_.end_delay, [this] { finish_sending(); }); break;
    case Script::End::close: kernel_.after(script_.end_delay, [this] { close(); }); break;
    case Script::End::reset: kernel_.after(script_.end_delay, [this] { reset_now(); }); break;
    }
}

void Peer::finish_sending() {
    if (over_ || fin_sent_) return;
    fin_sent_ = true;
    endpoint_->shutdown_write();
    step();
}

void Peer::reset_now() {
    if (over_) return;
    endpoint_->set_linger_zero();
    close();
}

void Peer::close() {
    if (over_) return;
    over_ = true;
    over_at_ = kernel_.now();
    endpoint_->release();
}

void Peer::check(std::span<const std::byte> bytes) {
    if (received_ < sizeof partner_) {
        const std::size_t part = std::min<std::size_t>(sizeof partner_ - received_, bytes.size());
        std::memcpy(reinterpret_cast<char*>(&partner_) + received_, bytes.data(), part);
        bytes = bytes.subspan(part);
        received_ += part;
    }
    if (expected_.size() < bytes.size()) expected_.resize(bytes.size());
    fill_stream(partner_, received_, std::span{expected_}.first(bytes.size()));
    const auto wrong = std::mismatch(bytes.begin(), bytes.end(), expected_.begin()).first;
    if (wrong != bytes.end() && complaint_.empty()) {
        const auto offset = static_cast<std::uint64_t>(wrong - bytes.begin());
        complaint_ = name_ + " received a wrong byte at " + std::to_string(received_ + offset);
    }
    received_ += bytes.size();
}

std::span<std::byte> Peer::room_for(std::size_t size) {
    if (buffer_.size() < size) buffer_.resize(size);
    return std::span{buffer_}.first(size);
}

void Peer::later(Duration delay) {
    kernel_.after(delay, [this] { step(); });
}

Duration Peer::up_to(Duration most) noexcept {
    return Duration{static_cast<Duration::rep>(
        1 + kernel_.random().below(static_cast<std::uint64_t>(most.count())))};
}

bool Peer::is_polite() const noexcept {
    return script_.end == Script::End::fin && script_.reads &&
           script_.reset_after_received == Script::never;
}

std::string Peer::describe() const {
    static constexpr const char* ends[] = {"fin", "close", "reset", "silent"};
    std::string text = name_ + ": sent " + std::to_string(sent_) + " of " +
                       (script_.echo ? std::string{"an echo"} : std::to_string(script_.bytes)) +
                       ", received " + std::to_string(received_);
    if (endpoint_ != nullptr && endpoint_->peer() != nullptr) {
        text += ", " + std::to_string(endpoint_->peer()->bytes_arrived()) + " arrived at eplb";
        text += ", eplb has not read " + std::to_string(endpoint_->peer()->unread());
    }
    text += std::string{", ends with "} + ends[static_cast<int>(script_.end)];
    if (script_.urgent_at != Script::never)
        text += ", urgent at " + std::to_string(script_.urgent_at);
    if (fin_sent_) text += ", sent FIN";
    if (eof_) text += ", saw the end";
    if (error_ != 0) text += std::string{", error "} + std::strerror(error_);
    if (over_) text += ", over";
    return text;
}

}  // namespace sim
