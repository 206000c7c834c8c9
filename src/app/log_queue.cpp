#include "app/log_queue.hpp"

#include <algorithm>
#include <cstring>
#include <utility>

namespace eplb::app {
namespace {

// A few lines at a time come and go all day; what a burst took is given back.
constexpr std::size_t most_spare = 4;

}  // namespace

void LogBlock::append(const LogRecord& record) {
    const Header header{record.time, static_cast<std::uint32_t>(record.text.size()), record.level,
                        record.format};
    bytes_.append(reinterpret_cast<const char*>(&header), sizeof header);
    bytes_.append(record.text);
    ++lines_;
}

LogRecord LogBlock::read(std::size_t& at) const noexcept {
    Header header;
    std::memcpy(&header, bytes_.data() + at, sizeof header);
    const std::string_view text{bytes_.data() + at + sizeof header, header.size};
    at += sizeof header + header.size;
    return {header.time, header.level, header.format, text};
}

std::size_t LogQueue::push(const LogRecord& record) {
    const std::size_t size = LogBlock::bytes_of(record);
    if (size > most_bytes_) return 1;
    if (blocks_.empty() || cut_ || blocks_.back().bytes() + size > block_bytes) {
        blocks_.push_back(new_block(size));
        blocks_.back().number = made_++;
        cut_ = false;
    }
    blocks_.back().append(record);
    bytes_ += size;
    std::size_t dropped = 0;
    while (bytes_ > most_bytes_ && blocks_.size() > 1) {
        LogBlock oldest = take();
        dropped += oldest.lines();
        give_back(std::move(oldest));
    }
    return dropped;
}

LogBlock LogQueue::new_block(std::size_t bytes) {
    LogBlock block;
    if (!spare_.empty()) {
        block = std::move(spare_.back());
        spare_.pop_back();
    }
    block.reserve(std::max(bytes, block_bytes));
    return block;
}

LogBlock LogQueue::take() noexcept {
    LogBlock block = std::move(blocks_.front());
    blocks_.pop_front();
    bytes_ -= block.bytes();
    return block;
}

void LogQueue::give_back(LogBlock block) noexcept {
    if (spare_.size() >= most_spare || block.capacity() > 2 * block_bytes) return;
    block.clear();
    try {
        spare_.push_back(std::move(block));
    } catch (...) {  // then it goes
        return;
    }
}

std::uint64_t LogQueue::cut() noexcept {
    cut_ = true;
    return made_;
}

}  // namespace eplb::app
