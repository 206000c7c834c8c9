#pragma once

#include "base/slab.hpp"
#include "eplb/list_hook.hpp"
#include "proxy/session.hpp"

#include <cstddef>
#include <cstdint>
#include <utility>

namespace eplb {

/// All sessions of a worker: the memory that they are in, and the list that each of them is in.
///
///   young     it began a moment ago, or has just got what it starved for
///   settled   it has turned out to be no short one
///   starved   it waits for descriptors or memory
///
/// And a way round all of them: every session that is there when a round begins is visited in it once,
/// whichever list it goes to meanwhile, and those that begin later are not. Everything is O(1).
///
/// Belongs to the thread of its worker. The sessions are over before it goes.
class SessionLists {
public:
    using List = IntrusiveList<Session>;

    /// In the first list, at its end. Throws std::bad_alloc.
    template <class... Arguments>
    [[nodiscard]] Session& create(Arguments&&... arguments) {
        Session& session = memory_.create(std::forward<Arguments>(arguments)...);
        session.set_visited_in(round_);
        young_.push_back(session);
        return session;
    }
    void destroy(Session& session) noexcept {
        if (session.visited_in() != round_) --unvisited_;
        unlink(session);
        memory_.destroy(session);
    }

    [[nodiscard]] const List& young() const noexcept { return young_; }
    [[nodiscard]] const List& settled() const noexcept { return settled_; }
    [[nodiscard]] const List& starved() const noexcept { return starved_; }
    // To the end of that list, whichever it is in; it may be the same.
    void move_to_young(Session& session) noexcept { move_to(young_, session); }
    void move_to_settled(Session& session) noexcept { move_to(settled_, session); }
    void move_to_starved(Session& session) noexcept { move_to(starved_, session); }

    /// The one before is over.
    void begin_round() noexcept;
    [[nodiscard]] bool round_over() const noexcept { return unvisited_ == 0; }
    /// One step: visits the session that is next, unless the round is over. nullptr: it has been
    /// visited before.
    [[nodiscard]] Session* visit_next() noexcept;
    /// It is over.
    void end_round() noexcept { next_ = nullptr; }

private:
    void move_to(List& list, Session& session) noexcept {
        unlink(session);
        list.push_back(session);
    }
    void unlink(Session& session) noexcept {
        if (next_ == &session) next_ = list_in_round().next(session);
        session.ListHook<Session>::unlink();
    }
    [[nodiscard]] const List& list_in_round() const noexcept {
        return list_ == 0 ? young_ : list_ == 1 ? settled_ : starved_;
    }

    Slab<Session> memory_;
    // Every session is in one of these:
    List young_;
    List settled_;
    List starved_;

    std::uint8_t round_ = 1;     // every session has been visited in this one, or is to be
    std::size_t unvisited_ = 0;  // sessions
    int list_ = 0;               // in which the round is
    Session* next_ = nullptr;    // in there
};

}  // namespace eplb
