#include "discovery/dns_status.hpp"

#include "support/catch.hpp"

#include <string_view>

using namespace eplb::control;
using Status = NameAnswer::Status;

TEST_CASE("dns status: whatever ends a question has a meaning and words of ours",
          "[control][dns_status]") {
    struct Row {
        int ares_status;
        Status status;
        std::string_view problem;
    };
    constexpr Row rows[] = {
        {ARES_SUCCESS, Status::good, ""},
        {ARES_ENOTFOUND, Status::no_such_name, "there is no such name"},
        {ARES_EBADNAME, Status::no_such_name, "that is no name"},
        {ARES_ENODATA, Status::no_data, "it has no address"},
        {ARES_ESERVFAIL, Status::unanswered, "the name server failed (SERVFAIL)"},
        {ARES_EREFUSED, Status::unanswered, "the name server refused to answer (REFUSED)"},
        {ARES_ENOTIMP, Status::unanswered, "the name server does not know such questions (NOTIMP)"},
        {ARES_EFORMERR, Status::unanswered,
         "the name server does not understand the question (FORMERR)"},
        {ARES_ECONNREFUSED, Status::unanswered, "no name server can be reached"},
        {ARES_ETIMEOUT, Status::unanswered, "no name server answers"},
        {ARES_EBADRESP, Status::unanswered, "the answer makes no sense"},
        {ARES_ENOMEM, Status::unanswered, "not enough memory to ask"},
        {ARES_EDESTRUCTION, Status::unanswered, "it could not be asked for (error 16 of c-ares)"},
        {12345, Status::unanswered, "it could not be asked for (error 12345 of c-ares)"},
        {-1, Status::unanswered, "it could not be asked for (error -1 of c-ares)"},
    };
    for (const Row& row : rows) {
        CAPTURE(row.ares_status);
        CHECK(status_of(row.ares_status) == row.status);
        CHECK(problem_of(row.ares_status) == row.problem);
        const NameAnswer answer = failure(row.ares_status);
        CHECK(answer.status == row.status);
        CHECK(answer.problem == row.problem);
        CHECK(answer.targets.empty());
        CHECK(answer.unanswered.empty());
    }
}

TEST_CASE("dns status: what fails without c-ares is no answer, and says why",
          "[control][dns_status]") {
    const NameAnswer answer = failure("there are too many of them");
    CHECK(answer.status == Status::unanswered);
    CHECK(answer.problem == "there are too many of them");
    CHECK(answer.targets.empty());
}
