// What is told of a question that is over.
#include "discovery/resolver_impl.hpp"

#include "base/duration.hpp"
#include "base/escape.hpp"

#include <algorithm>
#include <fmt/format.h>
#include <sys/socket.h>
#include <utility>

namespace eplb::control {

// Its time is over: what has not been answered is told, and why, as far as that is known.
void Resolver::Impl::finish_late(Entry entry) {
    Question& question = entry->second;
    if (question.starved) return finish(entry, failure(ARES_ENOMEM));
    int reason = ARES_ETIMEOUT;
    for (const std::uint64_t id : question.lookups) {
        const auto lookup = lookups_.find(id);
        if (lookup->second.status != ARES_ETIMEOUT) reason = lookup->second.status;
    }
    const std::string problem = reason == ARES_ETIMEOUT
                                    ? fmt::format("no answer within {}", format_duration(timeout_))
                                    : problem_of(reason);
    bool some = false;
    for (auto& [name, host] : question.hosts) {
        if (!host.over && all_families_ && !host.answer.addresses.empty()) {
            // One kind has been answered.
            host.answer.status = ARES_SUCCESS;
            for (const int family : families_) {
                const bool has = std::ranges::any_of(
                    host.answer.addresses,
                    [&](const Address& address) { return address.family() == family; });
                if (!has) host.answer.unanswered.push_back(family);
            }
            host.answer.unanswered_status = reason;
        } else if (!host.over) {
            host.answer.status = reason;
        }
        some = some || host.answer.status == ARES_SUCCESS;
    }
    if (!some) {
        NameAnswer answer = failure(problem);
        for (const ServiceRecord& record : question.records) {
            answer.unanswered.push_back(
                {record.host, record.port, record.priority, record.weight, 0});
        }
        return finish(entry, std::move(answer));
    }
    finish(entry);
}

void Resolver::Impl::finish(Entry entry) {
    if (entry->second.question.is_service()) return finish_service(entry);
    const Question& question = entry->second;
    const HostAnswer& host = question.hosts.begin()->second.answer;
    if (host.status != ARES_SUCCESS) return finish(entry, failure(host.status));
    NameAnswer answer;
    add(answer, host,
        {.host = question.question.name,
         .port = question.question.port,
         .priority = 0,
         .weight = 0},
        "");
    answer.ttl = host.ttl;
    finish(entry, std::move(answer));
}

void Resolver::Impl::finish_service(Entry entry) {
    const Question& question = entry->second;
    NameAnswer answer;
    answer.ttl = question.ttl;
    for (const ServiceRecord& record : question.records) {
        const HostAnswer& host = question.hosts.at(record.host).answer;
        const std::string prefix = fmt::format("{}: ", escaped(record.host));
        if (status_of(host.status) == Status::unanswered) {
            answer.unanswered.push_back(
                {record.host, record.port, record.priority, record.weight, 0});
            answer.problem = prefix + problem_of(host.status);
        }
        if (host.status != ARES_SUCCESS || answer.targets.size() > most_targets) continue;
        answer.ttl = std::min(answer.ttl, host.ttl);
        add(answer, host, record, prefix);
    }
    if (answer.targets.empty() && answer.unanswered.empty()) {
        answer.status = Status::no_data;
        answer.problem = "none of its hosts has an address";
    }
    finish(entry, std::move(answer));
}

void Resolver::Impl::add(NameAnswer& answer, const HostAnswer& host, const ServiceRecord& record,
                         const std::string& prefix) {
    answer.status = Status::good;
    for (const Address& address : host.addresses) {
        answer.targets.push_back(
            {address.with_port(record.port), record.priority, record.weight, record.host});
    }
    for (const int family : host.unanswered) {
        answer.unanswered.push_back(
            {record.host, record.port, record.priority, record.weight, family});
        answer.problem =
            fmt::format("{}{} addresses: {}", prefix, family == AF_INET ? "IPv4" : "IPv6",
                        problem_of(host.unanswered_status));
    }
}

NameAnswer Resolver::Impl::too_many() {
    return failure(fmt::format("the answer has more than {} addresses", most_targets));
}

void Resolver::Impl::finish(Entry entry, NameAnswer answer) {
    if (answer.targets.size() > most_targets) answer = too_many();
    arrange(answer.targets);
    Finished& finished = finished_.emplace_back();
    finished.done = std::move(entry->second.done);
    finished.answer = std::move(answer);
    drop(entry);
    reactor_.schedule(*this);
}

}  // namespace eplb::control
