#pragma once

#include "base/asan.hpp"
#include "base/sys.hpp"
#include "eplb/list_hook.hpp"

#include <cassert>
#include <cstddef>
#include <cstdint>
#include <new>
#include <utility>

namespace eplb {

/// Memory for many objects of one type, without a word of overhead for each. It comes from the
/// system in chunks of 64 KiB, sys::map(), and goes back when a chunk is empty: what a burst took is
/// not kept. New objects go where most others are, so that chunks get a chance to become empty.
///
/// create() and destroy() are O(1), with a system call a chunk. One empty chunk is kept. Belongs to
/// one thread, and outlives its objects.
template <class T>
class Slab {
public:
    static constexpr std::size_t chunk_bytes = 64 * 1024;

    Slab() noexcept = default;
    ~Slab() {
        assert(size_ == 0 && "an object outlives its slab");
        while (!available_.empty()) unmap(available_.pop_front());
    }
    Slab(const Slab&) = delete;
    Slab& operator=(const Slab&) = delete;

    /// Throws std::bad_alloc, and what the constructor throws.
    template <class... Arguments>
    [[nodiscard]] T& create(Arguments&&... arguments) {
        if (available_.empty()) available_.push_front(map());
        Chunk& chunk = available_.front();
        Slot* const slot = chunk.free;
        unpoison(slot, sizeof(Slot));
        chunk.free = slot->next;
        T* object = nullptr;
        try {
            object = new (slot->bytes) T(std::forward<Arguments>(arguments)...);
        } catch (...) {
            slot->next = chunk.free;
            chunk.free = slot;
            poison(slot, sizeof(Slot));
            throw;
        }
        ++chunk.used;
        ++size_;
        if (chunk.free == nullptr) chunk.unlink();
        return *object;
    }

    /// `object` was made by create() of this slab.
    void destroy(T& object) noexcept {
        object.~T();
        auto* const slot = reinterpret_cast<Slot*>(&object);
        Chunk& chunk = chunk_of(slot);
        slot->next = chunk.free;
        chunk.free = slot;
        poison(slot, sizeof(Slot));
        --chunk.used;
        --size_;
        if (!chunk.linked()) available_.push_front(chunk);
        if (chunk.used == 0) release(chunk);
    }

    /// Objects that live.
    [[nodiscard]] std::size_t size() const noexcept { return size_; }
    /// Chunks that are mapped.
    [[nodiscard]] std::size_t chunks() const noexcept { return chunks_; }

private:
    union Slot {
        Slot* next;  // while it is free
        alignas(T) std::byte bytes[sizeof(T)];
    };
    struct Chunk : ListHook<Chunk> {
        Slot* free = nullptr;
        std::size_t used = 0;
    };
    static constexpr std::size_t header_bytes =
        (sizeof(Chunk) + alignof(Slot) - 1) / alignof(Slot) * alignof(Slot);
    static constexpr std::size_t slots = (chunk_bytes - header_bytes) / sizeof(Slot);
    static_assert(slots >= 8);

    // Chunks are aligned to their size.
    [[nodiscard]] static Chunk& chunk_of(Slot* slot) noexcept {
        const auto place = reinterpret_cast<std::uintptr_t>(slot);
        return *reinterpret_cast<Chunk*>(slot->bytes - place % chunk_bytes);
    }

    [[nodiscard]] Chunk& map() {
        // Twice as much has an aligned chunk in it; the rest goes back.
        void* const area = sys::map(2 * chunk_bytes);
        if (area == nullptr) throw std::bad_alloc{};
        auto* const begin = static_cast<std::byte*>(area);
        const auto place = reinterpret_cast<std::uintptr_t>(begin);
        const std::size_t before = (chunk_bytes - place % chunk_bytes) % chunk_bytes;
        if (before != 0) sys::unmap(begin, before);
        sys::unmap(begin + before + chunk_bytes, chunk_bytes - before);

        auto* const chunk = new (begin + before) Chunk;
        auto* const first = reinterpret_cast<Slot*>(begin + before + header_bytes);
        for (std::size_t i = slots; i-- > 0;) {
            first[i].next = chunk->free;
            chunk->free = first + i;
        }
        poison(first, slots * sizeof(Slot));
        ++chunks_;
        return *chunk;
    }

    // Unless no other has room: the next create() would map one again.
    void release(Chunk& chunk) noexcept {
        if (&available_.front() == &chunk && available_.next(chunk) == nullptr) return;
        chunk.unlink();
        unmap(chunk);
    }

    void unmap(Chunk& chunk) noexcept {
        chunk.~Chunk();
        unpoison(&chunk, chunk_bytes);  // whoever is given these pages next may use them
        sys::unmap(&chunk, chunk_bytes);
        --chunks_;
    }

    IntrusiveList<Chunk> available_;  // with a free slot
    std::size_t size_ = 0;
    std::size_t chunks_ = 0;
};

}  // namespace eplb
