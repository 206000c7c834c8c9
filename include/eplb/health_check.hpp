// health: how backends are checked.
#pragma once

#include "eplb/address.hpp"
#include "eplb/clock.hpp"
#include "eplb/export.hpp"

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace eplb {

/// How a backend is asked, again and again, whether it works. A plain value; all defaults are those
/// of a service that says only `type`.
struct EPLB_API CheckConfig {
    /// What proves that a backend works.
    enum class Type : std::uint8_t {
        none,  ///< nobody is asked
        /// A connection that stands is enough. Not for MySQL and MariaDB: they count each one as a
        /// failed handshake, and after max_connect_errors of them (100) refuse every client of this
        /// machine with error 1129, until somebody logs in before that. It is left with a reset,
        /// which PostgreSQL 15 logs each time ("could not receive data from client").
        tcp,
        /// Sends `send`, and wants `expect` among the first 4 KiB of the answer. With an empty
        /// `expect` it is enough that the connection stands and `send` was taken.
        send_expect,
        /// Logs in as `user`, who must have no password and needs no rights, and out again. Seen
        /// with MariaDB 10.11: nothing is logged, nothing counted, and what was counted of earlier
        /// mistakes is forgotten.
        ///
        /// Without a user: tries to log in as the anonymous one; being turned away is the proof of
        /// life. MariaDB 10.11 does not count that towards max_connect_errors, unlike everything
        /// else that ends without a user (closing, resetting, COM_QUIT behind the greeting); but
        /// with log_warnings >= 2, its default, it logs "Access denied" for each check, and
        /// Aborted_connects grows. So better give it a user.
        mysql,
        /// With `user`: a startup packet for `database`. Whoever asks for a password, turns the
        /// user away or does not know the database is alive; who cannot take connections (SQLSTATE
        /// 53xxx, 57xxx, and anything else unheard of) is not. Seen with PostgreSQL 15: nothing is
        /// logged for a user who may connect, or whose password is asked for; each check of a user
        /// or a database that does not exist is logged as FATAL. Where a password is asked for, and
        /// without a user, it is we who close, and have a socket in TIME-WAIT for a minute.
        ///
        /// Without a user: asks whether the connection could be encrypted by GSSAPI; any answer
        /// will do. PostgreSQL 15 logs nothing. An SSLRequest, which others use, it logs if it has
        /// SSL ("could not accept SSL connection"). But a server that is starting up, or has no
        /// connection left, answers as well. Those before 12 log "unsupported frontend protocol".
        postgres,
        /// PING, behind AUTH if there is a `password`. +PONG is well; so is, without a password,
        /// that one is needed (-NOAUTH), since clients have one; and that PING is not allowed
        /// (-NOPERM). Everything else is not: -LOADING, -MASTERDOWN, -MISCONF, -WRONGPASS.
        redis,
        /// GET `path`; the status has to be in one of `statuses`. The body is not looked at.
        http,
    };

    /// First and last, both included.
    struct StatusRange {
        std::uint16_t first = 200;  ///< the lowest that is well
        std::uint16_t last = 399;   ///< the highest that is well

        friend bool operator==(const StatusRange& a, const StatusRange& b) noexcept = default;
    };

    /// The rest plays no role for `none`.
    Type type = Type::none;
    /// From the start of a check to that of the next one, give or take 10 %. A check that is not
    /// over by then delays the next one.
    Duration interval = std::chrono::seconds{2};
    /// For connecting and the whole conversation together.
    Duration timeout = std::chrono::seconds{2};
    /// Instead of `interval` while the latest results contradict the state without having changed
    /// it yet. Longer than `interval`: `interval` it is.
    Duration fast_interval = std::chrono::milliseconds{500};
    unsigned rise = 2;  ///< good results in a row that make a backend that is down up; at least 1
    unsigned fall = 3;  ///< bad ones that make one that is up down; at least 1

    /// Ask another address, or another port, than clients are sent to. A port alone is one of the
    /// backend's own address, and means nothing for a Unix socket.
    std::optional<Address> address;
    std::optional<std::uint16_t> port;  ///< of `address`, if that is there

    std::string send;    ///< send_expect: any bytes
    std::string expect;  ///< send_expect: any bytes, at most 4096

    // Without zero bytes; of `password`, any. MySQL and PostgreSQL get no password.
    std::string user;      ///< mysql, postgres; redis: with a password, for ACLs
    std::string database;  ///< postgres; empty: the server takes the user's name
    std::string password;  ///< redis; goes in plain text

    // Printable, and without blanks.
    std::string path = "/";  ///< http
    std::string host;        ///< http: for the Host header; empty: the address that is asked
    std::vector<StatusRange> statuses{StatusRange{}};  ///< http

    /// Who is asked, for a backend at `backend`.
    [[nodiscard]] Address target(const Address& backend) const;

    friend bool operator==(const CheckConfig& a, const CheckConfig& b) noexcept = default;
};

}  // namespace eplb
