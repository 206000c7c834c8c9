// protocol: what a client says at the beginning of a connection, read without taking part in it.
#pragma once

#include "eplb/export.hpp"

#include <array>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <span>
#include <string_view>

namespace eplb {

/// The protocols that a client offers to speak inside of TLS (ALPN, RFC 7301), the one it likes best
/// first: "h2", "http/1.1", "postgresql". A name is any bytes at all, and clients send meaningless
/// ones on purpose (RFC 8701): escape them before they go into a log. A plain value.
class AlpnList {
public:
    /// What it has room for: each name takes its length, and a byte. Clients send less than 50.
    static constexpr std::size_t max_bytes = 256;

    /// Goes over the names, which are valid as long as the list is.
    class Iterator {
    public:
        using iterator_category = std::input_iterator_tag;   ///< names are made, not referred to
        using iterator_concept = std::forward_iterator_tag;  ///< as C++20 has it
        using value_type = std::string_view;                 ///< a name
        using difference_type = std::ptrdiff_t;              ///< as usual
        using pointer = void;                                ///< there is none
        using reference = std::string_view;                  ///< a name

        /// Of no list.
        Iterator() noexcept = default;
        /// The name.
        [[nodiscard]] std::string_view operator*() const noexcept {
            return {at_ + 1, static_cast<unsigned char>(*at_)};
        }
        /// On to the next one.
        Iterator& operator++() noexcept {
            at_ += 1 + static_cast<unsigned char>(*at_);
            return *this;
        }
        /// The same, and what it was before.
        Iterator operator++(int) noexcept {
            const Iterator before = *this;
            ++*this;
            return before;
        }
        friend bool operator==(const Iterator& a, const Iterator& b) noexcept = default;

    private:
        friend class AlpnList;
        explicit Iterator(const char* at) noexcept : at_{at} {}
        const char* at_ = nullptr;
    };

    /// The name that the client likes best, or end().
    [[nodiscard]] Iterator begin() const noexcept { return Iterator{names_.data()}; }
    /// Behind the last name.
    [[nodiscard]] Iterator end() const noexcept { return Iterator{names_.data() + size_}; }
    /// The client offered none, or said nothing of them.
    [[nodiscard]] bool empty() const noexcept { return size_ == 0; }
    /// Whether `name` is among them, exactly as it is written.
    [[nodiscard]] bool contains(std::string_view name) const noexcept {
        for (const std::string_view offered : *this) {
            if (offered == name) return true;
        }
        return false;
    }
    /// There was no room for all of them: those that the client likes least are missing.
    [[nodiscard]] bool cut() const noexcept { return cut_; }

    /// Puts `name`, of 1 to 255 bytes, behind the others. Without room for it, or for an earlier
    /// one, it is left out.
    void add(std::string_view name) noexcept {
        cut_ = cut_ || 1 + name.size() > max_bytes - size_;
        if (cut_) return;
        names_[size_++] = static_cast<char>(name.size());
        for (const char c : name) names_[size_++] = c;
    }

    friend bool operator==(const AlpnList& a, const AlpnList& b) noexcept = default;

private:
    std::array<char, max_bytes> names_{};  // as they are on the wire: each behind its length
    std::uint16_t size_ = 0;
    bool cut_ = false;
};

/// What a client says in the clear before TLS begins: the part of its ClientHello that decides where
/// a connection belongs. A plain value, of about half a KB: it refers to nothing.
///
/// Nobody has proved any of it. A client can say one name here and ask for another one inside of TLS:
/// it is good for choosing a server, and no reason to trust.
class ClientHello {
public:
    /// The longest server name: a name of the DNS as text (RFC 1035, 2.3.4).
    static constexpr std::size_t max_server_name = 253;

    /// The host that the client wants (SNI, RFC 6066, 3); empty if it did not say. In lower case and
    /// without a dot at the end, so it compares by bytes. Letters, digits, '-', '_' and '.' alone, or
    /// an address; never an empty label. International names are as they were sent: "xn--…".
    [[nodiscard]] std::string_view server_name() const noexcept {
        return {server_name_.data(), server_name_size_};
    }
    /// server_name() is an IPv4 or IPv6 address, without brackets. RFC 6066 forbids that; some
    /// clients do it nevertheless.
    [[nodiscard]] bool server_name_is_address() const noexcept { return server_name_is_address_; }

    /// What it wants to speak inside of TLS.
    [[nodiscard]] const AlpnList& alpn() const noexcept { return alpn_; }

    /// The client offers to say the real name in secret (ECH, RFC 9849): then server_name() and alpn()
    /// are those for everybody's eyes, and only the server that has the key knows more. Many clients
    /// do as if they did, always; nobody can tell the difference.
    [[nodiscard]] bool offers_ech() const noexcept { return offers_ech_; }

    /// The newest version that the client offers: 0x0304 for TLS 1.3, 0x0303 for TLS 1.2, 0x0301 for
    /// TLS 1.0. 0: none that has a number like these (drafts, and what RFC 8701 has it send).
    [[nodiscard]] std::uint16_t max_version() const noexcept { return max_version_; }
    /// The oldest one. 0: it did not say; only clients that know TLS 1.3 do.
    [[nodiscard]] std::uint16_t min_version() const noexcept { return min_version_; }

    friend bool operator==(const ClientHello& a, const ClientHello& b) noexcept = default;

private:
    friend class ClientHelloReader;

    std::array<char, max_server_name> server_name_{};
    std::uint8_t server_name_size_ = 0;
    bool server_name_is_address_ = false;
    bool offers_ech_ = false;
    std::uint16_t max_version_ = 0;
    std::uint16_t min_version_ = 0;
    AlpnList alpn_;
};

/// Why there is no ClientHello. to_string() has the text for a log.
enum class ClientHelloProblem : std::uint8_t {
    none,              ///< there is, or there may be one
    other_protocol,    ///< the first bytes are those of no TLS handshake: another protocol, or TLS
                       ///< that begins with something else
    sslv2_hello,       ///< the hello of SSL 2.0, which was also used to offer newer ones (RFC 6176)
    empty_record,      ///< a record without a byte in it (RFC 8446, 5.1)
    record_too_long,   ///< a record of more than 16 KiB (RFC 8446, 5.1)
    too_many_records,  ///< it is in more pieces than max_client_hello_records
    interrupted,       ///< something else, where its next record had to be
    other_message,     ///< the first message of the handshake is another one
    too_long,          ///< it says that it is longer than max_client_hello_message_bytes
    trailing_bytes,    ///< its last record does not end where it ends
    bad_length,        ///< a length in it contradicts another one, or the protocol
    duplicate_extension,   ///< an extension is there twice (RFC 8446, 4.2)
    bad_server_name_list,  ///< SNI without a name, or with two
    bad_server_name,       ///< a name that no host can have: too long, with an empty label, or with
                           ///< bytes that are neither letters, digits, '-', '_' nor an address
    bad_alpn,              ///< ALPN without a name, or with an empty one
    bad_versions,          ///< a list of versions without one, or with half of one
};

/// A text for a log, e.g. "an extension is there twice". Static; nothing in it is the peer's.
[[nodiscard]] EPLB_API std::string_view to_string(ClientHelloProblem problem) noexcept;

/// The longest ClientHello that is read, in bytes, without the headers of records. The protocol allows
/// 16 MiB, but somebody has to keep them while they trickle in. Clients send 200 to 600, and up to
/// 2,000 with keys against quantum computers.
constexpr std::size_t max_client_hello_message_bytes = 16 * 1024;
/// In so many records it may come. One is what clients send; two, some that hide from filters.
constexpr std::size_t max_client_hello_records = 4;
/// What has to be looked at, at most, for an answer, in bytes.
constexpr std::size_t max_client_hello_bytes =
    max_client_hello_message_bytes + 5 * max_client_hello_records;

/// What came of parse_client_hello().
struct ClientHelloResult {
    /// From `complete` on it is the answer, whatever comes later.
    enum class Status : std::uint8_t {
        incomplete,  ///< so far so good: more must come, see `needed_bytes`
        complete,    ///< `hello` and `hello_bytes` are valid
        not_tls,     ///< the first bytes cannot begin a ClientHello: `problem`
        bad,         ///< they did, but it is not one that a server should see: `problem`
    };
    Status status = Status::incomplete;  ///< says which of the others means something
    /// See to_string(ClientHelloProblem).
    ClientHelloProblem problem = ClientHelloProblem::none;
    /// Incomplete: no hello that begins like this is shorter than so many bytes, counted from the
    /// beginning of the connection; more than were given, and at most max_client_hello_bytes. For
    /// SO_RCVLOWAT, socket(7), so that nobody is woken for less; that something is wrong is then
    /// seen so much later. 1 if nothing has come.
    std::size_t needed_bytes = 0;
    /// Complete: where its last record ends, in bytes from the beginning.
    std::size_t hello_bytes = 0;
    /// Complete: what it says.
    ClientHello hello;

    friend bool operator==(const ClientHelloResult& a,
                           const ClientHelloResult& b) noexcept = default;
};

/// Reads the ClientHello with which a TLS client begins, TLS 1.0 to 1.3 (RFC 8446, 4.1.2; RFC 5246,
/// 7.4.1.2), from the first `bytes` of a connection, which may be cut anywhere. They stay where they
/// are: look with recv(MSG_PEEK), recv(2), and the server gets them untouched.
///
/// What is behind the hello is never looked at. `incomplete` is never said of max_client_hello_bytes
/// or more. An answer stays the same when more comes. What is wrong with records and their order, and
/// the kind and the length of the hello, is known as soon as these bytes are there; what is in it is
/// looked at when it is there as a whole. Extensions that play no role here, and values that clients
/// make up (RFC 8701), are passed over.
///
/// A pure function: it may be called on any thread, allocates nothing, and keeps nothing. About a
/// microsecond for a hello; less than a tenth of that when it is incomplete, so asking at each byte
/// that trickles in costs no more than the calls.
[[nodiscard]] EPLB_API ClientHelloResult
parse_client_hello(std::span<const std::byte> bytes) noexcept;

}  // namespace eplb
