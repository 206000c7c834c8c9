// One name and one type: attempts at one server after the other.
#include "discovery/resolver_impl.hpp"

#include <algorithm>
#include <new>
#include <utility>

namespace eplb::control {
namespace {

// How often all servers are asked.
constexpr unsigned rounds = 3;
// The first attempt has this part of the time, and those of each further round twice as much as those of
// the one before.
constexpr int first_attempt_part = 5;

}  // namespace

void Resolver::Impl::look_up(Entry question, std::string name, unsigned type,
                             std::function<void(int status, Message message)> done) {
    const std::uint64_t id = next_lookup_++;
    Lookup lookup{.question = question->first,
                  .name = std::move(name),
                  .type = type,
                  .done = std::move(done)};
    lookup.failed.resize(servers_.size());
    waiting_.push_back(id);  // one that there is not is passed over
    const auto added = lookups_.emplace(id, std::move(lookup)).first;
    try {
        question->second.lookups.insert(id);
    } catch (const std::bad_alloc&) {
        lookups_.erase(added);
        throw;
    }
    // At once, if there is room; but not within whoever asks, for this may be over at once.
    reactor_.schedule(*this);
}

void Resolver::Impl::attempt_due(TimePoint due) {
    for (const std::uint64_t id : std::vector<std::uint64_t>{active_.begin(), active_.end()}) {
        const auto found = lookups_.find(id);
        if (found != lookups_.end() && found->second.next <= due) attempt(found);
    }
}

void Resolver::Impl::start_waiting() {
    while (active_.size() < most_in_flight && !waiting_.empty()) {
        const auto found = lookups_.find(waiting_.front());
        if (found != lookups_.end()) active_.insert(found->first);
        waiting_.pop_front();
        if (found == lookups_.end()) continue;
        found->second.active = true;
        attempt(found);
    }
}

// What nobody waits for any more would keep sockets open, and would be remembered for nothing.
void Resolver::Impl::cancel_unawaited() {
    for (Server& server : servers_) {
        for (const auto& channel : server.channels) {
            if (channel->queries > 0 && channel->awaited == 0) ares_cancel(channel->get());
        }
    }
}

// The next server that may still help.
void Resolver::Impl::attempt(LookupEntry entry) {
    Lookup& lookup = entry->second;
    if (std::ranges::find(lookup.failed, false) == lookup.failed.end())
        return finish(entry, lookup.status, {});
    do {
        if (lookup.server == servers_.size()) {
            lookup.server = 0;
            ++lookup.round;
        }
    } while (lookup.failed[lookup.server++]);
    if (lookup.round >= rounds) {
        lookup.next = TimePoint::max();  // what is on its way may still come
        return;
    }
    const std::size_t server = lookup.server - 1;
    lookup.next = reactor_.now() + timeout_ / first_attempt_part * (1 << lookup.round);
    query(entry, server, lookup.round == 0 && !servers_[server].plain);
}

void Resolver::Impl::query(LookupEntry entry, std::size_t server, bool edns) {
    Lookup& lookup = entry->second;
    const std::string name = lookup.name;
    AresChannel& channel = *servers_[server].channels[edns ? 1 : 0];
    auto query = std::make_unique<Query>(Query{this, &channel, entry->first, server, edns});
    lookup.asked.push_back(&channel);
    ++channel.queries;
    ++channel.awaited;
    // Which may be over at once, and the lookup with it.
    ares_query(channel.get(), name.c_str(), class_in, static_cast<int>(lookup.type), on_reply,
               query.release());
}

void Resolver::Impl::on_reply(void* argument, int status, int, unsigned char* message, int length) {
    const std::unique_ptr<Query> query{static_cast<Query*>(argument)};
    Impl& self = *query->self;
    if (self.closing_) return;
    --query->channel->queries;
    const auto found = self.lookups_.find(query->lookup);
    if (found == self.lookups_.end()) return;  // too late
    const std::uint64_t question = found->second.question;
    std::vector<AresChannel*>& asked = found->second.asked;
    asked.erase(std::ranges::find(asked, query->channel));
    --query->channel->awaited;
    const bool has_message = status == ARES_SUCCESS && message != nullptr && length > 0;
    try {
        self.on_reply(found, *query, status,
                      has_message ? Message{message, static_cast<std::size_t>(length)} : Message{});
    } catch (const std::bad_alloc&) {
        self.starve(question);  // c-ares is no way for an exception
    }
}

void Resolver::Impl::on_reply(LookupEntry entry, const Query& query, int status, Message message) {
    Lookup& lookup = entry->second;
    Server& server = servers_[query.server];
    switch (status) {
    case ARES_SUCCESS:
    case ARES_ENOTFOUND:
    case ARES_ENODATA:
    case ARES_EBADNAME:
        if (query.edns) server.answers_edns = true;
        // It was silent with it, and is not without.
        if (!query.edns && !server.answers_edns) server.plain = true;
        return finish(entry, status, message);
    case ARES_ETIMEOUT: return;  // the next one has been asked long ago
    case ARES_EFORMERR:
    case ARES_ENOTIMP:
    case ARES_ESERVFAIL:
        // RFC 6891, 7: a server that does not know EDNS says so. Some fail.
        if (query.edns && !server.answers_edns) {
            if (status != ARES_ESERVFAIL) server.plain = true;
            return this->query(entry, query.server, false);
        }
        break;
    default: break;
    }
    lookup.failed[query.server] = true;
    const bool told = status != ARES_ECONNREFUSED;
    if (told || lookup.status == ARES_ETIMEOUT) lookup.status = status;
    // In a turn of its own: this may be within ares_query().
    lookup.next = reactor_.now();
    reactor_.schedule(*this);
}

void Resolver::Impl::finish(LookupEntry entry, int status, Message message) {
    const auto done = std::move(entry->second.done);
    const auto question = questions_.find(entry->second.question);
    forget(entry);
    if (question == questions_.end() || question->second.starved) return;
    done(status, message);
    if (!waiting_.empty()) reactor_.schedule(*this);
}

void Resolver::Impl::forget(LookupEntry entry) noexcept {
    const auto question = questions_.find(entry->second.question);
    if (question != questions_.end()) question->second.lookups.erase(entry->first);
    active_.erase(entry->first);
    for (AresChannel* const channel : entry->second.asked) --channel->awaited;
    lookups_.erase(entry);
}

// Half of what has come for it is lost. It ends outside of whatever goes on.
void Resolver::Impl::starve(std::uint64_t id) noexcept {
    const auto question = questions_.find(id);
    if (question == questions_.end()) return;
    question->second.starved = true;
    question->second.deadline = reactor_.now();
    reactor_.schedule(*this);
}

void Resolver::Impl::drop(Entry question) noexcept {
    if (question == questions_.end()) return;
    while (!question->second.lookups.empty())
        forget(lookups_.find(*question->second.lookups.begin()));
    questions_.erase(question);
}

}  // namespace eplb::control
