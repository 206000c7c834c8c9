// The keys of [dns].
#include "config/make_key.hpp"

#include <chrono>

namespace eplb::control {
namespace {

using namespace std::chrono_literals;

constexpr Duration longest_ttl = 24h;

KeyTable<DnsOptions> make_dns_keys() {
    using V = DnsOptions;
    return {
        key<V>(
            "servers", name_servers_codec(), [](auto& v) -> auto& { return v.servers; }, "",
            "Who is asked for names, like `[\"192.0.2.1\", \"[2001:db8::1]:5353\"]`, the first one "
            "first; none: those of `/etc/resolv.conf`, which is read again at every reload. "
            "`/etc/hosts` comes before all of them."),
        key<V>(
            "min_ttl", duration_codec({.may_be_off = false, .least = 100ms, .most = longest_ttl}),
            [](auto& v) -> auto& { return v.min_ttl; }, "",
            "A name is asked for again when the TTL of its answer is over, but not before this."),
        key<V>(
            "max_ttl", duration_codec({.may_be_off = false, .least = 100ms, .most = longest_ttl}),
            [](auto& v) -> auto& { return v.max_ttl; }, "",
            "Nor later than this, whatever the TTL. Up to a tenth is added to either, so that not "
            "all balancers ask at once."),
        key<V>(
            "timeout", duration_codec({.may_be_off = false, .least = 100ms, .most = 60s}),
            [](auto& v) -> auto& { return v.timeout; }, "",
            "A question, with all that has to be asked to answer it, has failed after this. "
            "So long the start, or a reload, may wait for names that are new."),
        key<V>(
            "family",
            choice_codec<NameFamily>({{"auto", NameFamily::automatic},
                                      {"both", NameFamily::both},
                                      {"ipv4", NameFamily::ipv4},
                                      {"ipv6", NameFamily::ipv6}}),
            [](auto& v) -> auto& { return v.family; }, "",
            "Which addresses of a name become backends. `auto`: the IPv4 ones or, if there are "
            "none, the IPv6 ones, for a name that has both mostly stands for one set of machines, "
            "each of which would count twice. `both`: all of them."),
        key<V>(
            "missing",
            choice_codec<MissingName>({{"wait", MissingName::wait}, {"fail", MissingName::fail}}),
            [](auto& v) -> auto& { return v.missing; }, "",
            "A name that is not there at the start, or has no address that can be used: `wait` "
            "starts without it, warns once a minute, and gives its service the backends as soon as "
            "there are any; `fail`, as `--strict` does, does not start. A reload that brings such a "
            "name is refused, unless it is forced."),
        key<V>(
            "on_absent",
            choice_codec<OnAbsent>(
                {{"keep", OnAbsent::keep}, {"drain", OnAbsent::drain}, {"close", OnAbsent::close}}),
            [](auto& v) -> auto& { return v.on_absent; }, "",
            "Sessions of an address that the answer for its name does not have any more. It gets no "
            "new ones, but many a name server answers each question with another part of what it "
            "knows, so that says little of the server: with `keep` they go on, health checks do too, "
            "and `on_down` decides. `drain` gives them `drain_timeout`, `close` ends them. If the "
            "name has the address again, all is as it was. A name that stood for one address and "
            "now stands for one other has moved: that follows `on_remove`. As many are kept as may "
            "be checked (see `ulimit -n`), and 1,000 for each name."),
    };
}

}  // namespace

const KeyTable<DnsOptions>& dns_keys() {
    static const KeyTable<DnsOptions> table = make_dns_keys();
    return table;
}

}  // namespace eplb::control
