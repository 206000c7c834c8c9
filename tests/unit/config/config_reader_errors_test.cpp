#include "support/catch.hpp"
#include "support/config_reading.hpp"
#include "support/config_values.hpp"

#include <algorithm>
#include <cstddef>
#include <fmt/format.h>
#include <set>
#include <string>
#include <string_view>
#include <vector>

// What is told of a value that a key cannot have. A new key needs rows for a wrong type, and for what is out of range or
// unknown.

using namespace eplb::control;
using namespace eplb::test;

namespace {

struct Row {
    In where;
    std::string_view line;
    std::string_view message;  ///< without the place, which is that of the value
};

constexpr Row table[] = {
    {In::process, "workers = 0", R"(workers: 0 is not a whole number from 1 to 256, or "auto")"},
    {In::process, "workers = 257",
     R"(workers: 257 is not a whole number from 1 to 256, or "auto")"},
    {In::process, "workers = -1", R"(workers: -1 is not a whole number from 1 to 256, or "auto")"},
    {In::process, R"(workers = "4")",
     R"(workers: expected a whole number from 1 to 256, or "auto", got a string)"},
    {In::process, R"(workers = "all")",
     R"(workers: expected a whole number from 1 to 256, or "auto", got a string)"},
    {In::process, "workers = 1.5",
     R"(workers: expected a whole number from 1 to 256, or "auto", got a number with a fraction)"},
    {In::process, "max_connections = 0",
     R"(max_connections: 0 is not a whole number from 1 to 100000000, or "auto")"},
    {In::process, "max_connections = 100000001",
     R"(max_connections: 100000001 is not a whole number from 1 to 100000000, or "auto")"},
    {In::process, R"(max_connections = "many")",
     R"(max_connections: expected a whole number from 1 to 100000000, or "auto", got a string)"},
    {In::process, "max_connections = 1e3",
     R"(max_connections: expected a whole number from 1 to 100000000, or "auto", got a number with a fraction)"},
    {In::process, "busy_poll = 50", R"(busy_poll: a duration needs a unit; did you mean "50s"?)"},
    {In::process, R"(busy_poll = "50")",
     R"(busy_poll: bad duration "50": the unit is missing; did you mean 50s?)"},
    {In::process, R"(busy_poll = "2s")", "busy_poll: 2s is longer than 1s"},
    {In::process, R"(busy_poll = "soon")",
     R"(busy_poll: bad duration "soon": write a whole number and a unit, like 250ms, 5s, 10m or 2h, or "off")"},
    {In::process, "busy_poll = false",
     R"(busy_poll: expected a duration like "5s", got a boolean)"},
    {In::process, "control = true",
     R"(control: expected an address like "unix:/run/eplb/control.sock", got a boolean)"},
    {In::process, R"(control = "127.0.0.1:9000")",
     R"(control: only a Unix socket, like "unix:/run/eplb/control.sock": whoever can connect can reconfigure)"},
    {In::process, R"(control = ":9000")",
     R"(control: only a Unix socket, like "unix:/run/eplb/control.sock": whoever can connect can reconfigure)"},
    {In::process, R"(control = "localhost:9000")",
     R"(control: only a Unix socket, like "unix:/run/eplb/control.sock": whoever can connect can reconfigure)"},
    {In::process, R"(control = "on")",
     R"(control: bad address "on": the port is missing; write host:port, :port or unix:/path)"},
    {In::process, R"(control = "unix:")",
     R"(control: bad address "unix:": the path is missing; write unix:/path or unix:@name)"},

    {In::log, R"(level = "debgu")", R"(unknown level "debgu"; did you mean "debug"?)"},
    {In::log, R"(level = "loud")", R"(unknown level "loud"; use debug, info, warning or error)"},
    {In::log, R"(level = "INFO")", R"(unknown level "INFO"; use debug, info, warning or error)"},
    {In::log, "level = 3", "level: expected debug, info, warning or error, got a number"},
    {In::log, R"(format = "jsn")", R"(unknown format "jsn"; did you mean "json"?)"},
    {In::log, R"(format = "xml")", R"(unknown format "xml"; use text or json)"},
    {In::log, "format = true", "format: expected text or json, got a boolean"},
    {In::log, "file = 1", R"(file: expected a file name, or "-" for standard error, got a number)"},
    {In::log, R"(file = "")",
     R"(file: expected a file name, or "-" for standard error, got nothing)"},
    {In::log, R"(file = "a\tb")",
     R"(file: expected a file name, or "-" for standard error, got control characters)"},
    {In::log, R"(file = ["-"])",
     R"(file: expected a file name, or "-" for standard error, got an array)"},
    {In::log, R"(sessions = "closed")", R"(unknown sessions "closed"; did you mean "close"?)"},
    {In::log, R"(sessions = "everything")",
     R"(unknown sessions "everything"; use off, close or open+close)"},
    {In::log, "sessions = false", "sessions: expected off, close or open+close, got a boolean"},

    {In::dns, R"(servers = "ns.example")",
     R"(servers: "ns.example" is not the address of a name server; write "192.0.2.1" or "[2001:db8::1]:53")"},
    {In::dns, R"(servers = "0.0.0.0")",
     R"(servers: "0.0.0.0" is not the address of a name server; write "192.0.2.1" or "[2001:db8::1]:53")"},
    {In::dns, R"(servers = "192.0.2.1:0")",
     R"(servers: "192.0.2.1:0" is not the address of a name server; write "192.0.2.1" or "[2001:db8::1]:53")"},
    {In::dns, R"(servers = "unix:/x")",
     R"(servers: "unix:/x" is not the address of a name server; write "192.0.2.1" or "[2001:db8::1]:53")"},
    {In::dns, R"(servers = "fe80::1%lo")",
     R"(servers: "fe80::1%lo" is not the address of a name server; write "192.0.2.1" or "[2001:db8::1]:53")"},
    {In::dns, R"(servers = "")",
     R"(servers: "" is not the address of a name server; write "192.0.2.1" or "[2001:db8::1]:53")"},
    {In::dns, "servers = 53", "servers: expected addresses of name servers, got a number"},
    {In::dns, R"(min_ttl = "99ms")", "min_ttl: 99ms is shorter than 100ms"},
    {In::dns, R"(min_ttl = "off")", "min_ttl: this cannot be turned off"},
    {In::dns, R"(max_ttl = "25h")", "max_ttl: 25h is longer than 1d"},
    {In::dns, "max_ttl = 0", R"(max_ttl: a duration needs a unit; did you mean "5s"?)"},
    {In::dns, R"(timeout = "61s")", "timeout: 61s is longer than 1m"},
    {In::dns, "timeout = true", R"(timeout: expected a duration like "5s", got a boolean)"},
    {In::dns, R"(family = "ipv5")", R"(unknown family "ipv5"; did you mean "ipv4"?)"},
    {In::dns, "family = 4", "family: expected auto, both, ipv4 or ipv6, got a number"},
    {In::dns, R"(missing = "wate")", R"(unknown missing "wate"; did you mean "wait"?)"},
    {In::dns, "missing = true", "missing: expected wait or fail, got a boolean"},
    {In::dns, R"(on_absent = "kep")", R"(unknown on_absent "kep"; did you mean "keep"?)"},
    {In::dns, "on_absent = 0", "on_absent: expected keep, drain or close, got a number"},

    {In::service, R"(on_remove = "drian")", R"(unknown on_remove "drian"; did you mean "drain"?)"},
    {In::service, R"(on_remove = "stop")", R"(unknown on_remove "stop"; use drain, close or keep)"},
    {In::service, "on_remove = 0", "on_remove: expected drain, close or keep, got a number"},
    {In::service, R"(relay = "spilce")", R"(unknown relay "spilce"; did you mean "splice"?)"},
    {In::service, R"(relay = "fast")", R"(unknown relay "fast"; use auto, splice or copy)"},
    {In::service, "relay = 1979-05-27", "relay: expected auto, splice or copy, got a date or time"},
    {In::service, "pipe_size = 65536", R"(pipe_size: expected a size like "256KiB", got a number)"},
    {In::service, R"(pipe_size = "0")", "pipe_size: 0 is out of range; from 64KiB to 16MiB"},
    {In::service, R"(pipe_size = "65535")",
     "pipe_size: 65535 is out of range; from 64KiB to 16MiB"},
    {In::service, R"(pipe_size = "17MiB")",
     "pipe_size: 17MiB is out of range; from 64KiB to 16MiB"},
    {In::service, R"(pipe_size = "64K")",
     R"(pipe_size: bad size "64K": unknown unit "K"; use KiB, MiB or GiB, or none for bytes)"},
    {In::service, R"(pipe_size = "large")",
     R"(pipe_size: bad size "large": write a whole number and a unit, like 64KiB or 1MiB)"},
    {In::service, R"(pipe_size = "99999999999999999999")",
     R"(pipe_size: bad size "99999999999999999999": it is too large)"},
    {In::service, "backlog = 0", "backlog: 0 is not a whole number from 1 to 65535"},
    {In::service, "backlog = 65536", "backlog: 65536 is not a whole number from 1 to 65535"},
    {In::service, R"(backlog = "4096")",
     "backlog: expected a whole number from 1 to 65535, got a string"},
    {In::service, "backlog = {}", "backlog: expected a whole number from 1 to 65535, got a table"},
    {In::service, R"(accept_proxy = "v3")", R"(unknown accept_proxy "v3"; did you mean "v1"?)"},
    {In::service, R"(accept_proxy = "proxy")",
     R"(unknown accept_proxy "proxy"; use off, v1, v2 or any)"},
    {In::service, "accept_proxy = true",
     "accept_proxy: expected off, v1, v2 or any, got a boolean"},
    {In::service, R"(send_proxy = "any")", R"(unknown send_proxy "any"; use off, v1 or v2)"},
    {In::service, "send_proxy = 2", "send_proxy: expected off, v1 or v2, got a number"},
    {In::service, R"(proxy_tlvs = "crc32")",
     R"(proxy_tlvs: there is no "crc32"; did you mean "crc32c"?)"},
    {In::service, R"(proxy_tlvs = "tls")",
     R"(proxy_tlvs: there is no "tls"; use crc32c, unique_id or authority)"},
    {In::service, "proxy_tlvs = true",
     R"(proxy_tlvs: expected names like ["crc32c"], got a boolean)"},
    {In::service, "max_connections_per_source = -1",
     "max_connections_per_source: -1 is not a whole number from 0 to 100000000"},
    {In::service, "max_connections_per_source = 100000001",
     "max_connections_per_source: 100000001 is not a whole number from 0 to 100000000"},
    {In::service, R"(max_connections_per_source = "off")",
     "max_connections_per_source: expected a whole number from 0 to 100000000, got a string"},
    {In::service, "connection_rate_per_source = 100",
     R"(connection_rate_per_source: expected a rate like "100/s", or "off", got a number)"},
    {In::service, R"(connection_rate_per_source = "100")",
     R"(connection_rate_per_source: bad rate "100": the period is missing; did you mean 100/s?)"},
    {In::service, R"(connection_rate_per_source = "0/s")",
     R"(connection_rate_per_source: bad rate "0/s": it lets nothing through; write "off" for no limit)"},
    {In::service, R"(connection_rate_per_source = "5/10x")",
     R"(connection_rate_per_source: bad rate "5/10x": "10x" is not a period; write s, m, h, 10s or 250ms)"},
    {In::service, R"(nodelay = "true")", "nodelay: expected true or false, got a string"},
    {In::service, "nodelay = 1", "nodelay: expected true or false, got a number"},
    {In::service, R"(keepalive = "on")",
     R"(keepalive: expected a table like { idle = "60s" }, or "off", got a string)"},
    {In::service, "keepalive = 60",
     R"(keepalive: expected a table like { idle = "60s" }, or "off", got a number)"},
    {In::service, "source = 10",
     R"(source: expected IP addresses like ["10.0.0.1"], got a number)"},
    {In::service, R"(source = "10.0.0.1:80")",
     R"(source: "10.0.0.1:80" is not an IP address of this machine, like 10.0.0.1)"},
    {In::service, R"(source = "localhost")",
     R"(source: "localhost" is not an IP address of this machine, like 10.0.0.1)"},
    {In::service, R"(source = "0.0.0.0")",
     R"(source: "0.0.0.0" is not an IP address of this machine, like 10.0.0.1)"},
    {In::service, R"(source = "::")",
     R"(source: "::" is not an IP address of this machine, like 10.0.0.1)"},
    {In::service, R"(source = "unix:/x")",
     R"(source: "unix:/x" is not an IP address of this machine, like 10.0.0.1)"},
    {In::service, R"(source = "")",
     R"(source: "" is not an IP address of this machine, like 10.0.0.1)"},
    {In::service, R"(interface = "")", R"(interface: "" is not the name of an interface)"},
    {In::service, R"(interface = "sixteen_letters_")",
     R"(interface: "sixteen_letters_" is not the name of an interface)"},
    {In::service, R"(interface = "a/b")", R"(interface: "a/b" is not the name of an interface)"},
    {In::service, "interface = 0", "interface: expected the name of an interface, got a number"},
    {In::service, "mark = -1", "mark: -1 is not a whole number from 0 to 4294967295"},
    {In::service, "mark = 4294967296",
     "mark: 4294967296 is not a whole number from 0 to 4294967295"},
    {In::service, R"(mark = "0x1")",
     "mark: expected a whole number from 0 to 4294967295, got a string"},
    {In::service, R"(congestion = "a b")", R"(congestion: "a b" is not a congestion control)"},
    {In::service, R"(congestion = "")", R"(congestion: "" is not a congestion control)"},
    {In::service, "congestion = true", "congestion: expected a congestion control, got a boolean"},
    {In::service, R"(transparent = "yes")", "transparent: expected true or false, got a string"},
    {In::service, "fast_open = 65536", "fast_open: 65536 is not a whole number from 0 to 65535"},
    {In::service, "fast_open = true",
     "fast_open: expected a whole number from 0 to 65535, got a boolean"},
    {In::service, R"(defer_accept = "999ms")", "defer_accept: 999ms is shorter than 1s"},
    {In::service, R"(defer_accept = "61m")", "defer_accept: 61m is longer than 1h"},
    {In::service, "defer_accept = true",
     R"(defer_accept: expected a duration like "5s", got a boolean)"},
    {In::service, R"(unix_mode = "0680")",
     R"(unix_mode: expected octal digits in quotes, like "0660")"},
    {In::service, R"(unix_mode = "1777")",
     R"(unix_mode: expected octal digits in quotes, like "0660")"},
    {In::service, R"(unix_mode = "")",
     R"(unix_mode: expected octal digits in quotes, like "0660")"},
    {In::service, "unix_mode = 0o660",
     R"(unix_mode: expected octal digits in quotes, like "0660")"},
    {In::service, R"(unix_owner = "")",
     R"(unix_owner: expected a user like "mysql", or "user:group", got a string)"},
    {In::service, "unix_owner = 0",
     R"(unix_owner: expected a user like "mysql", or "user:group", got a number)"},
    {In::service, R"(unix_owner = "no such user")",
     R"(unix_owner: there is no user "no such user")"},
    {In::service, R"(unix_owner = "root:no such group")",
     R"(unix_owner: there is no group "no such group")"},
    {In::service, R"(unix_owner = "-1")", R"(unix_owner: there is no user "-1")"},
    {In::service, R"(unix_owner = "4294967295")", R"(unix_owner: there is no user "4294967295")"},
    {In::service, R"(balance = "leastcon")",
     R"(unknown balance "leastcon"; did you mean "leastconn"?)"},
    {In::service, "eject_after = -1", "eject_after: -1 is not a whole number from 0 to 1000000"},
    {In::service, R"(ejection_time = "off")", "ejection_time: this cannot be turned off"},
    {In::service, R"(max_ejection_time = "0s")", "max_ejection_time: this cannot be turned off"},
    {In::service, "max_ejected_percent = 101",
     "max_ejected_percent: 101 is not a whole number from 0 to 100"},
    {In::service, R"(on_down = "clos")", R"(unknown on_down "clos"; did you mean "close"?)"},
    {In::service, "slow_start = 30", R"(slow_start: a duration needs a unit; did you mean "30s"?)"},
    {In::service, "rebalance = true", "rebalance: expected off or idle, got a boolean"},
    {In::service, R"(rebalance_idle = "9ms")", "rebalance_idle: 9ms is shorter than 10ms"},
    {In::service, "retries = -1", R"(retries: -1 is not a whole number from 0 to 1000, or "auto")"},
    {In::service, "retries = 1001",
     R"(retries: 1001 is not a whole number from 0 to 1000, or "auto")"},
    {In::service, R"(retries = "all")",
     R"(retries: expected a whole number from 0 to 1000, or "auto", got a string)"},
    {In::service, "max_lifetime = 5",
     R"(max_lifetime: a duration needs a unit; did you mean "5s"?)"},
    {In::service, "max_lifetime_jitter = 101",
     "max_lifetime_jitter: 101 is not a whole number from 0 to 100"},
    {In::service, R"(max_lifetime_jitter = "10%")",
     "max_lifetime_jitter: expected a whole number from 0 to 100, got a string"},
    {In::service, R"(dead_peer_timeout = "99ms")", "dead_peer_timeout: 99ms is shorter than 100ms"},
    {In::service, R"(dead_peer_timeout = "25h")", "dead_peer_timeout: 25h is longer than 1d"},
    {In::service, "max_connections = -1",
     "max_connections: -1 is not a whole number from 0 to 100000000"},
    {In::service, R"(max_connections = "auto")",
     "max_connections: expected a whole number from 0 to 100000000, got a string"},
    {In::service, "connection_rate = 100",
     R"(connection_rate: expected a rate like "100/s", or "off", got a number)"},
    {In::service, R"(over_limit = "weit")", R"(unknown over_limit "weit"; did you mean "wait"?)"},
    {In::service, "queue = -1", "queue: -1 is not a whole number from 0 to 100000000"},
    {In::service, "queue_timeout = true",
     R"(queue_timeout: expected a duration like "5s", got a boolean)"},
    {In::service, R"(when_all_down = "tryall")",
     R"(unknown when_all_down "tryall"; did you mean "try_all"?)"},

    {In::service, R"(name = "")",
     "name: a name is one or more printable ASCII characters without blanks and quotes"},
    {In::service, R"(name = "two words")",
     "name: a name is one or more printable ASCII characters without blanks and quotes"},
    {In::service, "name = \"\xc3\xa4\"",
     "name: a name is one or more printable ASCII characters without blanks and quotes"},
    {In::service, "name = 5", "name: expected a name, got a number"},
    {In::listen, "listen = 5555", R"(listen: expected addresses like [":5555"], got a number)"},
    {In::listen, R"(listen = "5555")",
     R"(listen: bad address "5555": the port is missing; write host:port, :port or unix:/path)"},
    {In::listen, R"(listen = ":0")",
     R"(listen: bad address ":0": ports are numbers from 1 to 65535)"},
    {In::listen, R"(listen = "localhost:0")",
     R"(listen: bad address "localhost:0": ports are numbers from 1 to 65535)"},
    {In::listen, R"(listen = ":65536")",
     R"(listen: bad address ":65536": "65536" is not a port; ports are numbers up to 65535)"},
    {In::listen, R"(listen = ":1,:2")",
     R"(listen: bad address ":1,:2": an IPv6 address needs brackets: [address]:port)"},
    {In::listen, "listen = []", "listen: expected at least one address, got none"},
    {In::listen, "listen = {}", R"(listen: expected addresses like [":5555"], got a table)"},

    {In::check, R"(type = "mysq")", R"(unknown type "mysq"; did you mean "mysql"?)"},
    {In::check, R"(interval = "off")", "interval: this cannot be turned off"},
    {In::check, R"(interval = "9ms")", "interval: 9ms is shorter than 10ms"},
    {In::check, "fast_interval = 1",
     R"(fast_interval: a duration needs a unit; did you mean "1s"?)"},
    {In::check, R"(timeout = "off")", "timeout: this cannot be turned off"},
    {In::check, "rise = 0", "rise: 0 is not a whole number from 1 to 1000"},
    {In::check, "fall = 1001", "fall: 1001 is not a whole number from 1 to 1000"},
    {In::check, R"(address = "db.example:80")",
     R"(address: "db.example:80" is a name; write its address)"},
    {In::check, R"(address = ":80")", R"(address: nobody can be asked at ":80")"},
    {In::check, R"(address = "127.0.0.1:0")", R"(address: nobody can be asked at "127.0.0.1:0")"},
    {In::check, "address = 80",
     R"(address: expected an address like "10.0.0.1:8008", or "backend", got a number)"},
    {In::check, "port = 0", "port: 0 is not a whole number from 1 to 65535"},
    {In::check, R"(port = "http")", "port: expected a whole number from 1 to 65535, got a string"},
    {In::check, "send = 1", "send: expected a string, got a number"},
    {In::check, R"(user = "a\u0000b")", "user: a user's name has no zero byte"},
    {In::check, R"(database = "a\u0000b")", "database: a database's name has no zero byte"},
    {In::check, "password = true", "password: expected a string, got a boolean"},
    {In::check, R"(path = "health")",
     R"(path: expected a path like "/health", of printable ASCII without blanks)"},
    {In::check, R"(path = "/a b")",
     R"(path: expected a path like "/health", of printable ASCII without blanks)"},
    {In::check, R"(host = "a\r\nb")",
     "host: expected a host name, of printable ASCII without blanks"},
    {In::check, "status = 99",
     R"(status: expected HTTP statuses like 200, "200-399" or ["200-299", 401])"},
    {In::check, R"(status = "399-200")",
     R"(status: expected HTTP statuses like 200, "200-399" or ["200-299", 401])"},
    {In::check, "status = []",
     R"(status: expected HTTP statuses like 200, "200-399" or ["200-299", 401])"},
    {In::check, R"(status = "2xx")",
     R"(status: expected HTTP statuses like 200, "200-399" or ["200-299", 401])"},
    {In::check, "status = 2.5",
     R"(status: expected HTTP statuses like 200, "200-399" or ["200-299", 401])"},

    {In::second_address, R"(address = "srv:")",
     R"(address: bad address "srv:": "" is not the name of a service; write srv:_mysql._tcp.example)"},
    {In::second_address, R"(address = "srv:_mysql._tcp.example:3306")",
     R"(address: bad address "srv:_mysql._tcp.example:3306": "_mysql._tcp.example:3306" is not the name of a service; write srv:_mysql._tcp.example)"},
    {In::second_address, "address = 3306",
     R"(address: expected an address like "127.0.0.1:3306", got a number)"},
    {In::second_address, R"(address = ["127.0.0.1:1"])",
     R"(address: expected an address like "127.0.0.1:3306", got an array)"},
    {In::second_address, R"(address = "")", R"(address: bad address "": it is empty)"},
    {In::second_address, R"(address = "127.0.0.1")",
     R"(address: bad address "127.0.0.1": the port is missing; write host:port, :port or unix:/path)"},
    {In::second_address, R"(address = "127.0.0.1:0")",
     R"(address: bad address "127.0.0.1:0": ports are numbers from 1 to 65535)"},
    {In::second_address, R"(address = "300.1.1.1:1")",
     R"(address: bad address "300.1.1.1:1": "300.1.1.1" is not an IP address)"},
    {In::second_address, R"(address = ":3306")",
     R"(address: ":3306" names no host; did you mean 127.0.0.1:3306?)"},
    {In::second_address, R"(address = "0.0.0.0:3306")",
     R"(address: "0.0.0.0:3306" names no host; did you mean 127.0.0.1:3306?)"},
    {In::second_backend, R"(name = "a\"b")",
     "name: a name is one or more printable ASCII characters without blanks and quotes"},
    {In::second_backend, R"(name = ["a"])", "name: expected a name, got an array"},
    {In::second_backend, "backup = 1", "backup: expected true or false, got a number"},
    {In::second_backend, "max_connections = -1",
     "max_connections: -1 is not a whole number from 0 to 100000000"},
    {In::second_backend, R"(max_connections = "off")",
     "max_connections: expected a whole number from 0 to 100000000, got a string"},
    {In::second_backend, "weight = -1", "weight: -1 is not a whole number from 0 to 65535"},
    {In::second_backend, "weight = 65536", "weight: 65536 is not a whole number from 0 to 65535"},
    {In::second_backend, R"(weight = "1")",
     "weight: expected a whole number from 0 to 65535, got a string"},
    {In::second_backend, "weight = 0.5",
     "weight: expected a whole number from 0 to 65535, got a number with a fraction"},
};

// For each list of networks.
constexpr Row network_table[] = {
    {In::service, "KEY = 10", R"(KEY: expected networks like ["10.0.0.0/8"], got a number)"},
    {In::service, "KEY = {}", R"(KEY: expected networks like ["10.0.0.0/8"], got a table)"},
    {In::service, R"(KEY = "10.0.0.1/8")",
     R"(KEY: bad network "10.0.0.1/8": it has bits set behind the prefix; did you mean 10.0.0.0/8?)"},
    {In::service, R"(KEY = "10.0.0.0/33")",
     R"(KEY: bad network "10.0.0.0/33": an IPv4 prefix has 0 to 32 bits)"},
    {In::service, R"(KEY = "")", R"(KEY: bad network "": it is empty)"},
    {In::service, R"(KEY = "unix:/x")",
     R"(KEY: bad network "unix:/x": clients of Unix sockets have no path; write unix: for all of them)"},
    {In::service, R"(KEY = "localhost")",
     R"(KEY: bad network "localhost": "localhost" is not an IP address; networks are like 10.0.0.0/8, 2001:db8::/32 or unix:)"},
};

// For each of the times of a session.
constexpr Row time_table[] = {
    {In::service, "KEY = 5", R"(KEY: a duration needs a unit; did you mean "5s"?)"},
    {In::service, R"(KEY = "5min")",
     R"(KEY: bad duration "5min": unknown unit "min"; use us, ms, s, m, h or d)"},
    {In::service, R"(KEY = "-1s")",
     R"(KEY: bad duration "-1s": write a whole number and a unit, like 250ms, 5s, 10m or 2h, or "off")"},
    {In::service, R"(KEY = "36526d")",
     R"(KEY: bad duration "36526d": it is longer than a century)"},
    {In::service, "KEY = 07:32:00", R"(KEY: expected a duration like "5s", got a date or time)"},
    {In::service, "KEY = []", R"(KEY: expected a duration like "5s", got an array)"},
};

struct Case {
    In where;
    std::string line;
    std::string message;
};

std::vector<Case> all_cases() {
    std::vector<Case> cases;
    for (const Row& row : table)
        cases.push_back({row.where, std::string{row.line}, std::string{row.message}});
    for (const std::string_view key : {"allow", "deny", "trusted_proxies"}) {
        for (const Row& row : network_table)
            cases.push_back({row.where, with_key(row.line, key), with_key(row.message, key)});
    }
    for (const std::string_view key :
         {"connect_timeout", "idle_timeout", "half_close_timeout", "drain_timeout"}) {
        for (const Row& row : time_table)
            cases.push_back({row.where, with_key(row.line, key), with_key(row.message, key)});
    }
    cases.push_back(
        {In::check, fmt::format("expect = \"{:x>4097}\"", ""), "expect: longer than 4096 bytes"});
    return cases;
}

}  // namespace

TEST_CASE("config reader: every key has a bad value in these tests", "[control][config_reader]") {
    std::set<std::string> names;
    for (const Case& row : all_cases()) names.insert(name_of_key(row.where, key_of(row.line)));
    CHECK(names == names_of_keys());
}

TEST_CASE("config reader: a bad value is told at its place, and nothing else is",
          "[control][config_reader]") {
    for (const Case& row : all_cases()) {
        const std::string key = key_of(row.line);
        const std::string file = file_with(row.where, row.line);
        INFO(file);
        const auto before = file.begin() + static_cast<std::ptrdiff_t>(file.find(row.line));
        CHECK(read_config(file).told == fmt::format("{}:{}: error: {}",
                                                    1 + std::count(file.begin(), before, '\n'),
                                                    key.size() + 4, row.message));
        if (!stands_in_defaults(row.where, key)) continue;
        CHECK(read_config(file_with(In::defaults, row.line)).told ==
              fmt::format("2:{}: error: {}", key.size() + 4, row.message));
    }
}

TEST_CASE("config reader: a bad value leaves what its key would have set as it was",
          "[control][config_reader]") {
    Settings untouched;
    untouched.services.resize(1);
    untouched.services[0].backends.resize(2);
    ServiceValues with_listener;
    with_listener.listen.push_back({":5555", {}});
    with_listener.config.name = ":5555";
    for (const Case& row : all_cases()) {
        const std::string key = key_of(row.line);
        INFO(row.line);
        const Settings settings = read_config(file_with(row.where, row.line)).settings;
        REQUIRE(settings.services.size() == 1);
        untouched.services[0].values = row.where == In::listen ? ServiceValues{} : with_listener;
        CHECK(value_of(settings, row.where, key) == value_of(untouched, row.where, key));
        CHECK_FALSE(settings.services[0].origins.contains(key));
        for (const In part : {In::process, In::log, In::dns, In::service, In::check})
            CHECK(values_in(settings, part) == values_in(untouched, part));
        CHECK(settings.process.origins.empty());
        CHECK(settings.log.origins.empty());
        CHECK(settings.dns.origins.empty());
    }
}
