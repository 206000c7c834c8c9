#pragma once

#include "eplb/address.hpp"
#include "eplb/fd.hpp"

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <sys/socket.h>
#include <utility>
#include <vector>

namespace eplb::test {

/// A record of an answer, with its data encoded.
struct DnsRecord {
    std::string owner;
    std::uint16_t type;
    std::uint32_t ttl;
    std::string data;
};

constexpr std::uint16_t dns_a = 1;
constexpr std::uint16_t dns_cname = 5;
constexpr std::uint16_t dns_aaaa = 28;
constexpr std::uint16_t dns_srv = 33;

/// "a.example" as labels, RFC 1035, 3.1.
[[nodiscard]] std::string dns_name(std::string_view text);
[[nodiscard]] DnsRecord a_record(std::string owner, std::uint32_t ttl, std::string_view address);
[[nodiscard]] DnsRecord aaaa_record(std::string owner, std::uint32_t ttl, std::string_view address);
[[nodiscard]] DnsRecord cname_record(std::string owner, std::uint32_t ttl, std::string_view target);
[[nodiscard]] DnsRecord srv_record(std::string owner, std::uint32_t ttl, std::uint16_t priority,
                                   std::uint16_t weight, std::uint16_t port,
                                   std::string_view target);

struct DnsReply {
    int rcode = 0;  ///< 2 SERVFAIL, 3 NXDOMAIN, 5 REFUSED; negative: silence
    std::vector<DnsRecord> records = {};
};

/// The message that answers the question for `name` and `type`.
[[nodiscard]] std::string dns_message(std::uint16_t id, std::string_view name, std::uint16_t type,
                                      const DnsReply& reply);

/// A name server on 127.0.0.1, UDP and TCP, that answers when it is told to. What it does not know is
/// NXDOMAIN.
class DnsServer {
public:
    DnsServer();

    std::map<std::pair<std::string, std::uint16_t>, DnsReply> replies;
    /// What it does with questions that have an EDNS record, RFC 6891.
    enum class Edns { answers, format_error, format_error_without_question, silence };
    Edns edns = Edns::answers;
    std::size_t tcp_piece_bytes = 700;  ///< of an answer, at each serve()
    int udp_questions = 0;
    int tcp_questions = 0;
    int most_at_once = 0;  ///< UDP questions that one serve() has found

    [[nodiscard]] Address address() const;
    /// UDP questions that have come since serve().
    [[nodiscard]] std::size_t waiting();
    /// Answers what has come; a TCP answer goes out a few bytes at each call.
    void serve();

private:
    [[nodiscard]] std::string answer(std::string_view question) const;
    [[nodiscard]] std::string edns_answer(std::string_view question) const;
    void take_udp();
    void serve_udp();
    void serve_tcp();

    struct Question {
        std::string text;
        sockaddr_storage from{};
        socklen_t length = 0;
    };

    Fd udp_;
    std::vector<Question> taken_;
    Fd listener_;
    Fd tcp_;
    std::string received_;
    std::string sending_;
};

}  // namespace eplb::test
