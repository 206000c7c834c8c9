// What is to be looked up for a question, one after the other.
#include "discovery/resolver_impl.hpp"

#include <algorithm>
#include <iterator>
#include <new>
#include <string_view>
#include <utility>

namespace eplb::control {
namespace {

constexpr std::string_view localhost = "localhost";

// RFC 6761, 6.4: there is nothing in "invalid", and nobody needs to be asked.
bool is_invalid(std::string_view name) {
    if (name.ends_with('.')) name.remove_suffix(1);
    return name == "invalid" || name.ends_with(".invalid");
}

}  // namespace

void Resolver::Impl::begin_waiting() noexcept {
    look_until_ = TimePoint::max();
    const std::vector<std::uint64_t> waiting = std::exchange(waiting_for_hosts_, {});
    for (const std::uint64_t id : waiting) {
        try {
            if (questions_.contains(id)) begin(id);
        } catch (const std::bad_alloc&) {
            starve(id);
        }
    }
    reactor_.schedule(*this);
}

void Resolver::Impl::begin(std::uint64_t id) {
    const auto entry = questions_.find(id);
    Question& question = entry->second;
    if (!question.question.is_service()) {
        question.waiting = 1;
        return look_for(entry, question.question.name, names_of(question.question.name));
    }
    if (is_invalid(question.question.name)) return finish(entry, failure(ARES_ENOTFOUND));
    question.names = names_of(question.question.name);
    look_for_service(entry);
}

// As it is, and in the domains of the search list; resolv.conf(5).
std::vector<std::string> Resolver::Impl::names_of(const std::string& name) const {
    if (name.ends_with('.') || search_.empty()) return {name};
    std::vector<std::string> names;
    for (const std::string& domain : search_) {
        const bool root = domain == ".";
        names.push_back(root ? name + "." : name + "." + domain);
    }
    const auto dots = static_cast<std::size_t>(std::ranges::count(name, '.'));
    names.insert(dots >= ndots_ ? names.begin() : names.end(), name);
    return names;
}

void Resolver::Impl::look_for_service(Entry entry) {
    const std::uint64_t id = entry->first;
    const Question& question = entry->second;
    look_up(entry, question.names[question.name], type_srv,
            [this, id](int status, Message message) {
                on_service(questions_.find(id), status, message);
            });
}

void Resolver::Impl::on_service(Entry entry, int status, Message message) {
    Question& question = entry->second;
    if (status_of(status) == Status::unanswered) return finish(entry, failure(status));
    if (status == ARES_SUCCESS) {
        const auto found = parse_service_records(message);
        if (!found) return finish(entry, failure("the answer makes no sense"));
        if (!found->records.empty()) return on_records(entry, *found);
        status = ARES_ENODATA;
    }
    question.no_data = question.no_data || status == ARES_ENODATA;
    if (++question.name < question.names.size()) return look_for_service(entry);
    finish(entry, failure(question.no_data ? ARES_ENODATA : status));
}

void Resolver::Impl::on_records(Entry entry, const ServiceRecords& found) {
    if (found.records.size() > most_targets) return finish(entry, too_many());
    Question& question = entry->second;
    question.records = found.records;
    question.ttl = found.ttl;
    std::set<std::string> hosts;
    for (const ServiceRecord& record : question.records) hosts.insert(record.host);
    question.waiting = hosts.size();
    // Answers may come at once, and the last of them ends the question.
    const std::uint64_t id = entry->first;
    for (const std::string& host : hosts) {
        const auto still = questions_.find(id);
        if (still == questions_.end()) return;
        look_for(still, host, {host});
    }
}

// Its addresses; in hosts(5) first.
void Resolver::Impl::look_for(Entry entry, const std::string& name,
                              std::vector<std::string> names) {
    Host& host = entry->second.hosts[name];
    host.names = std::move(names);
    host.answer.addresses = known_addresses(name);
    if (!host.answer.addresses.empty()) {
        // What is in a file may change at any time.
        if (name != localhost) host.answer.ttl = Duration{0};
        return finish_host(entry, host, ARES_SUCCESS);
    }
    if (is_invalid(name)) return finish_host(entry, host, ARES_ENOTFOUND);
    ask_for_addresses(entry, name);
}

// RFC 6761, 6.3: localhost is no question.
std::vector<Address> Resolver::Impl::known_addresses(const std::string& name) const {
    std::vector<Address> all;
    if (name == localhost) {
        all = {Address::parse("127.0.0.1:0"), Address::parse("[::1]:0")};
    } else if (use_hosts_) {
        all = hosts_.known().find(name);
    }
    std::vector<Address> wanted;
    for (const int family : families_) {
        if (!wanted.empty() && !all_families_) break;
        std::ranges::copy_if(all, std::back_inserter(wanted),
                             [&](const Address& address) { return address.family() == family; });
    }
    return wanted;
}

// A name with both kinds is mostly one set of machines, and using both would connect to each twice:
// so one kind is asked for after the other, and what is not needed is not asked for. If both count,
// they are asked for together.
void Resolver::Impl::ask_for_addresses(Entry entry, const std::string& name) {
    const std::uint64_t id = entry->first;
    Host& host = entry->second.hosts.at(name);
    do {
        const int family = families_[host.family++];
        ++host.pending;
        look_up(entry, host.names[host.name], type_of(family),
                [this, id, name, family](int status, Message message) {
                    on_addresses(questions_.find(id), name, family, status, message);
                });
    } while (all_families_ && host.family < families_.size());
}

void Resolver::Impl::on_addresses(Entry entry, const std::string& name, int family, int status,
                                  Message message) {
    Host& host = entry->second.hosts.at(name);
    --host.pending;
    if (status == ARES_SUCCESS) {
        const auto found = parse_address_records(message, family);
        if (!found) {
            status = ARES_EBADRESP;
        } else if (found->addresses.empty()) {
            status = ARES_ENODATA;
        } else {
            host.answer.ttl = std::min(host.answer.ttl, found->ttl);
            host.answer.addresses.insert(host.answer.addresses.end(), found->addresses.begin(),
                                         found->addresses.end());
        }
    }
    host.no_data = host.no_data || status == ARES_ENODATA;
    if (status_of(status) == Status::unanswered) host.failed.emplace_back(family, status);
    if (host.pending > 0) return;
    const bool enough = !host.answer.addresses.empty();
    if (!enough && host.failed.empty()) {
        // A name is missing only if it is missing for both kinds: some servers say so for one.
        if (host.family < families_.size()) return ask_for_addresses(entry, name);
        if (++host.name < host.names.size()) {
            host.family = 0;
            return ask_for_addresses(entry, name);
        }
    }
    finish_host(entry, host, status);
}

void Resolver::Impl::finish_host(Entry entry, Host& host, int status) {
    HostAnswer& answer = host.answer;
    if (!answer.addresses.empty()) {
        answer.status = ARES_SUCCESS;
        for (const auto& [family, why] : host.failed) {
            answer.unanswered.push_back(family);
            answer.unanswered_status = why;
        }
    } else if (!host.failed.empty()) {
        answer.status = host.failed.front().second;
    } else {
        answer.status = host.no_data ? ARES_ENODATA : status;
    }
    host.over = true;
    if (--entry->second.waiting == 0) finish(entry);
}

}  // namespace eplb::control
