#include "support/dns.hpp"

#include <algorithm>
#include <arpa/inet.h>
#include <array>
#include <netinet/in.h>
#include <stdexcept>
#include <sys/socket.h>
#include <utility>

namespace eplb::test {
namespace {

constexpr std::size_t header_bytes = 12;
constexpr std::size_t largest_datagram = 1232;

std::string big_endian_16(unsigned value) {
    return {static_cast<char>(value >> 8), static_cast<char>(value)};
}

std::string big_endian_32(std::uint32_t value) {
    return big_endian_16(value >> 16) + big_endian_16(value & 0xffff);
}

unsigned read_16(std::string_view text, std::size_t at) {
    return static_cast<unsigned>(static_cast<unsigned char>(text[at]) << 8 |
                                 static_cast<unsigned char>(text[at + 1]));
}

std::string packed(int family, std::string_view address) {
    std::array<char, 16> bytes{};
    if (inet_pton(family, std::string{address}.c_str(), bytes.data()) != 1)
        throw std::invalid_argument("not an address");
    return {bytes.data(), family == AF_INET ? 4U : 16U};
}

sockaddr_in local(std::uint16_t port) {
    sockaddr_in where{};
    where.sin_family = AF_INET;
    where.sin_port = htons(port);
    where.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return where;
}

Fd bound_socket(int type, std::uint16_t port) {
    Fd fd{::socket(AF_INET, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)};
    const sockaddr_in where = local(port);
    if (::bind(fd.get(), reinterpret_cast<const sockaddr*>(&where), sizeof where) != 0) return Fd{};
    return fd;
}

std::uint16_t port_of(const Fd& fd) {
    sockaddr_in where{};
    socklen_t length = sizeof where;
    ::getsockname(fd.get(), reinterpret_cast<sockaddr*>(&where), &length);
    return ntohs(where.sin_port);
}

}  // namespace

std::string dns_name(std::string_view text) {
    std::string name;
    while (!text.empty()) {
        const std::size_t dot = std::min(text.find('.'), text.size());
        name += static_cast<char>(dot);
        name += text.substr(0, dot);
        text.remove_prefix(std::min(dot + 1, text.size()));
    }
    return name + '\0';
}

DnsRecord a_record(std::string owner, std::uint32_t ttl, std::string_view address) {
    return {std::move(owner), dns_a, ttl, packed(AF_INET, address)};
}

DnsRecord aaaa_record(std::string owner, std::uint32_t ttl, std::string_view address) {
    return {std::move(owner), dns_aaaa, ttl, packed(AF_INET6, address)};
}

DnsRecord cname_record(std::string owner, std::uint32_t ttl, std::string_view target) {
    return {std::move(owner), dns_cname, ttl, dns_name(target)};
}

DnsRecord srv_record(std::string owner, std::uint32_t ttl, std::uint16_t priority,
                     std::uint16_t weight, std::uint16_t port, std::string_view target) {
    return {
        std::move(owner), dns_srv, ttl,
        big_endian_16(priority) + big_endian_16(weight) + big_endian_16(port) + dns_name(target)};
}

std::string dns_message(std::uint16_t id, std::string_view name, std::uint16_t type,
                        const DnsReply& reply) {
    std::string message =
        big_endian_16(id) + big_endian_16(0x8180U | static_cast<unsigned>(reply.rcode)) +
        big_endian_16(1) + big_endian_16(static_cast<unsigned>(reply.records.size())) +
        big_endian_32(0);
    message += dns_name(name) + big_endian_16(type) + big_endian_16(1);
    for (const DnsRecord& record : reply.records) {
        // The question's name is written once, RFC 1035, 4.1.4.
        message += record.owner == name ? std::string{"\xc0\x0c"} : dns_name(record.owner);
        message += big_endian_16(record.type) + big_endian_16(1) + big_endian_32(record.ttl) +
                   big_endian_16(static_cast<unsigned>(record.data.size())) + record.data;
    }
    return message;
}

DnsServer::DnsServer() {
    // The same port for both; somebody else may have one of them.
    for (int i = 0; i < 100 && !listener_.valid(); ++i) {
        udp_ = bound_socket(SOCK_DGRAM, 0);
        listener_ = bound_socket(SOCK_STREAM, port_of(udp_));
    }
    if (!listener_.valid() || ::listen(listener_.get(), 8) != 0)
        throw std::runtime_error("no port for a name server");
}

Address DnsServer::address() const {
    return Address::parse("127.0.0.1:1").with_port(port_of(udp_));
}

void DnsServer::serve() {
    serve_udp();
    serve_tcp();
}

std::string DnsServer::answer(std::string_view question) const {
    std::string name;
    std::size_t at = header_bytes;
    while (question[at] != 0) {
        const auto length = static_cast<std::size_t>(question[at]);
        name += (name.empty() ? "" : ".") + std::string{question.substr(at + 1, length)};
        at += length + 1;
    }
    const auto type = static_cast<std::uint16_t>(read_16(question, at + 1));
    const auto found = replies.find({name, type});
    const DnsReply reply = found == replies.end() ? DnsReply{.rcode = 3} : found->second;
    if (reply.rcode < 0) return {};
    return dns_message(static_cast<std::uint16_t>(read_16(question, 0)), name, type, reply);
}

std::string DnsServer::edns_answer(std::string_view question) const {
    if (edns == Edns::silence) return {};
    std::string reply{question.substr(0, header_bytes)};
    reply[2] = static_cast<char>(0x81);
    reply[3] = static_cast<char>(0x81);
    reply.replace(10, 2, 2, '\0');
    if (edns == Edns::format_error_without_question) {
        reply.replace(4, 2, 2, '\0');
        return reply;
    }
    const std::string_view rest = question.substr(header_bytes);
    return reply += rest.substr(0, rest.find('\0') + 5);
}

std::size_t DnsServer::waiting() {
    take_udp();
    return taken_.size();
}

void DnsServer::take_udp() {
    std::array<char, 4096> buffer;
    for (;;) {
        Question question;
        question.length = sizeof question.from;
        const ssize_t size =
            ::recvfrom(udp_.get(), buffer.data(), buffer.size(), 0,
                       reinterpret_cast<sockaddr*>(&question.from), &question.length);
        if (size <= 0) return;
        question.text.assign(buffer.data(), static_cast<std::size_t>(size));
        taken_.push_back(std::move(question));
    }
}

void DnsServer::serve_udp() {
    take_udp();
    most_at_once = std::max(most_at_once, static_cast<int>(taken_.size()));
    for (const Question& question : std::exchange(taken_, {})) {
        ++udp_questions;
        const bool has_edns = read_16(question.text, 10) > 0;
        std::string reply =
            has_edns && edns != Edns::answers ? edns_answer(question.text) : answer(question.text);
        if (reply.empty()) continue;
        if (reply.size() > largest_datagram) {
            reply = reply.substr(0, header_bytes);
            reply[2] = static_cast<char>(reply[2] | 2);  // TC
            reply.replace(6, 2, 2, '\0');
            const std::string_view rest = std::string_view{question.text}.substr(header_bytes);
            reply += rest.substr(0, rest.find('\0') + 5);
        }
        ::sendto(udp_.get(), reply.data(), reply.size(), 0,
                 reinterpret_cast<const sockaddr*>(&question.from), question.length);
    }
}

void DnsServer::serve_tcp() {
    if (!tcp_.valid()) {
        tcp_.reset(::accept4(listener_.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
        received_.clear();
        sending_.clear();
    }
    if (!tcp_.valid()) return;
    std::array<char, 4096> buffer;
    const ssize_t size = ::recv(tcp_.get(), buffer.data(), buffer.size(), 0);
    if (size == 0) return tcp_.reset();
    if (size > 0) received_.append(buffer.data(), static_cast<std::size_t>(size));
    while (received_.size() >= 2 && received_.size() >= 2 + read_16(received_, 0)) {
        const std::size_t length = read_16(received_, 0);
        ++tcp_questions;
        const std::string reply = answer(std::string_view{received_}.substr(2, length));
        sending_ += big_endian_16(static_cast<unsigned>(reply.size())) + reply;
        received_.erase(0, 2 + length);
    }
    const ssize_t sent = ::send(tcp_.get(), sending_.data(),
                                std::min(sending_.size(), tcp_piece_bytes), MSG_NOSIGNAL);
    if (sent > 0) sending_.erase(0, static_cast<std::size_t>(sent));
}

}  // namespace eplb::test
