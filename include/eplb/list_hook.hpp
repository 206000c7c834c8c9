// base: lists of what is somewhere else.
#pragma once

#include <cstddef>

namespace eplb {

template <class T, class Tag>
class IntrusiveList;

/// A place in at most one IntrusiveList. Derive from it; the destructor unlinks, so an object that
/// dies while it is listed leaves no dangling entry behind. `Tag` tells the hooks of a type apart
/// that is in several lists. Not thread-safe.
template <class Tag>
class ListHook {
public:
    ListHook() noexcept = default;
    ListHook(const ListHook&) = delete;
    ListHook& operator=(const ListHook&) = delete;
    ~ListHook() { unlink(); }

    /// Whether it is in a list. O(1).
    [[nodiscard]] bool linked() const noexcept { return next_ != nullptr; }

    /// O(1); does nothing when not linked.
    void unlink() noexcept {
        if (!linked()) return;
        prev_->next_ = next_;
        next_->prev_ = prev_;
        prev_ = next_ = nullptr;
    }

private:
    template <class T, class OtherTag>
    friend class IntrusiveList;

    ListHook* prev_ = nullptr;
    ListHook* next_ = nullptr;
};

/// A doubly linked list of objects that derive from ListHook<Tag>. It owns none of them, allocates
/// nothing, and every operation is O(1) except clear() and size().
template <class T, class Tag = T>
class IntrusiveList {
public:
    /// What `T` has to derive from.
    using Hook = ListHook<Tag>;

    IntrusiveList() noexcept { head_.prev_ = head_.next_ = &head_; }
    ~IntrusiveList() {
        clear();
        head_.prev_ = head_.next_ = nullptr;
    }
    IntrusiveList(const IntrusiveList&) = delete;
    IntrusiveList& operator=(const IntrusiveList&) = delete;

    /// O(1), which size() is not.
    [[nodiscard]] bool empty() const noexcept { return head_.next_ == &head_; }

    /// `item` must not be in a list.
    void push_back(T& item) noexcept {
        Hook& hook = item;
        hook.prev_ = head_.prev_;
        hook.next_ = &head_;
        head_.prev_->next_ = &hook;
        head_.prev_ = &hook;
    }

    /// `item` must not be in a list.
    void push_front(T& item) noexcept {
        Hook& hook = item;
        hook.prev_ = &head_;
        hook.next_ = head_.next_;
        head_.next_->prev_ = &hook;
        head_.next_ = &hook;
    }

    /// The list must not be empty.
    [[nodiscard]] T& front() const noexcept { return item(*head_.next_); }

    /// Unlinks the first one. The list must not be empty.
    T& pop_front() noexcept {
        T& first = front();
        static_cast<Hook&>(first).unlink();
        return first;
    }

    /// The one behind `current`, or nullptr at the end.
    [[nodiscard]] T* next(T& current) const noexcept {
        Hook* const hook = static_cast<Hook&>(current).next_;
        return hook == &head_ ? nullptr : &item(*hook);
    }

    /// Moves everything from `other` to the end of this list.
    void splice_back(IntrusiveList& other) noexcept {
        if (other.empty()) return;
        Hook* const first = other.head_.next_;
        Hook* const last = other.head_.prev_;
        first->prev_ = head_.prev_;
        head_.prev_->next_ = first;
        last->next_ = &head_;
        head_.prev_ = last;
        other.head_.prev_ = other.head_.next_ = &other.head_;
    }

    /// Unlinks all of them, and destroys none. O(n).
    void clear() noexcept {
        while (!empty()) pop_front();
    }

    /// O(n): for tests and statistics.
    [[nodiscard]] std::size_t size() const noexcept {
        std::size_t count = 0;
        for (const Hook* hook = head_.next_; hook != &head_; hook = hook->next_) ++count;
        return count;
    }

private:
    [[nodiscard]] static T& item(Hook& hook) noexcept { return static_cast<T&>(hook); }

    mutable Hook head_;
};

}  // namespace eplb
