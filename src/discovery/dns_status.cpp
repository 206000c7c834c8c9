#include "discovery/dns_status.hpp"

#include <fmt/format.h>
#include <utility>

namespace eplb::control {
using Status = NameAnswer::Status;

Status status_of(int ares_status) noexcept {
    switch (ares_status) {
    case ARES_SUCCESS: return Status::good;
    case ARES_ENOTFOUND:
    case ARES_EBADNAME: return Status::no_such_name;
    case ARES_ENODATA: return Status::no_data;
    default: return Status::unanswered;
    }
}

std::string problem_of(int ares_status) {
    switch (ares_status) {
    case ARES_SUCCESS: return {};
    case ARES_ENOTFOUND: return "there is no such name";
    case ARES_EBADNAME: return "that is no name";
    case ARES_ENODATA: return "it has no address";
    case ARES_ESERVFAIL: return "the name server failed (SERVFAIL)";
    case ARES_EREFUSED: return "the name server refused to answer (REFUSED)";
    case ARES_ENOTIMP: return "the name server does not know such questions (NOTIMP)";
    case ARES_EFORMERR: return "the name server does not understand the question (FORMERR)";
    case ARES_ECONNREFUSED: return "no name server can be reached";
    case ARES_ETIMEOUT: return "no name server answers";
    case ARES_EBADRESP: return "the answer makes no sense";
    case ARES_ENOMEM: return "not enough memory to ask";
    // None that it is known to tell: its own words are not for users.
    default: return fmt::format("it could not be asked for (error {} of c-ares)", ares_status);
    }
}

NameAnswer failure(int ares_status) {
    NameAnswer answer;
    answer.status = status_of(ares_status);
    answer.problem = problem_of(ares_status);
    return answer;
}

NameAnswer failure(std::string problem) {
    NameAnswer answer;
    answer.problem = std::move(problem);
    return answer;
}

}  // namespace eplb::control
