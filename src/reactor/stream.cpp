#include "eplb/stream.hpp"

#include "base/socket_options.hpp"
#include "base/sys.hpp"

#include <algorithm>
#include <fmt/format.h>
#include <utility>

namespace eplb {

Stream::Stream(Reactor& reactor, Task& task, Fd socket)
    : socket_{std::move(socket)},
      short_read_is_proof_{is_internet_socket(socket_)},
      watch_{reactor, task} {
    if (const int error = watch_.attach(socket_.get())) {
        throw fmt::system_error(error, "cannot watch a socket");
    }
}

Stream::Result Stream::receive(std::span<std::byte> buffer) noexcept {
    if (!watch_.readable()) return {Status::blocked};
    const sys::IoResult got = sys::recv(socket_.get(), buffer);
    switch (got.status) {
    case sys::Io::moved:
        if (got.bytes < buffer.size() && short_read_is_proof_ && !watch_.hung_up() &&
            !watch_.urgent())
            watch_.clear_readable();
        return {Status::moved, got.bytes};
    case sys::Io::would_block: watch_.clear_readable(); return {Status::blocked};
    case sys::Io::eof: return error_ == 0 ? Result{Status::ended} : failed(error_);
    case sys::Io::error: break;
    }
    return failed(got.error);
}

// Nothing is consumed, so the flag stays set unless there is nothing at all: that it is readable is true.
// With bytes in front of a FIN recv(2) never says that it has come; the watch does.
Stream::Result Stream::peek(std::span<std::byte> buffer, std::size_t at_least) noexcept {
    if (!watch_.readable()) return {Status::blocked};
    const sys::IoResult got = sys::peek(socket_.get(), buffer);
    switch (got.status) {
    case sys::Io::moved:
        if (got.bytes >= std::min(at_least, buffer.size())) return {Status::moved, got.bytes};
        return {watch_.hung_up() ? Status::ended : Status::blocked, got.bytes};
    case sys::Io::would_block: watch_.clear_readable(); return {Status::blocked};
    case sys::Io::eof: return error_ == 0 ? Result{Status::ended} : failed(error_);
    case sys::Io::error: break;
    }
    return failed(got.error);
}

Stream::Result Stream::send(std::span<const std::byte> bytes) noexcept {
    if (!watch_.writable()) return {Status::blocked};
    const sys::IoResult sent = sys::send(socket_.get(), bytes);
    switch (sent.status) {
    case sys::Io::moved: return {Status::moved, sent.bytes};
    case sys::Io::would_block: watch_.clear_writable(); return {Status::blocked};
    case sys::Io::eof:  // send(2) says 0 for nothing alone
    case sys::Io::error: break;
    }
    return failed(sent.error);
}

Stream::Result Stream::failed(int error) noexcept {
    if (error_ == 0) error_ = static_cast<std::uint16_t>(error);
    return {Status::failed, 0, error};
}

void Stream::finish() noexcept { sys::shutdown_write(socket_.get()); }

void Stream::reset_on_close() noexcept { sys::reset_on_close(socket_.get()); }

Fd Stream::release() noexcept {
    watch_.detach();
    return std::move(socket_);
}

}  // namespace eplb
