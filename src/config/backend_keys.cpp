// The keys of [[service.backend]].
#include "config/make_key.hpp"

#include <cstdint>

namespace eplb::control {
namespace {

constexpr std::uint32_t most_weight = 65535;

KeyTable<BackendValues> make_backend_keys() {
    using V = BackendValues;
    return {
        without_default(key<V>(
            "address", backend_address_codec(), [](auto& v) -> auto& { return v.address; },
            "--backend",
            "`\"127.0.0.1:3306\"`, `\"[::1]:3306\"`, `\"unix:/path\"`, or a name: "
            "`\"db.example:3306\"` stands for all addresses of that host; "
            "`\"srv:_mysql._tcp.example\"` for what its SRV records say, where the lowest priority "
            "is used and the others are backups, and `weight` is multiplied by the record's "
            "(whose 0 counts as 1). Names are asked for again all the time, see [dns]; the last "
            "good answer stays while there is no other. Required.")),
        without_default(key<V>(
            "name", name_codec(), [](auto& v) -> auto& { return v.name; }, "",
            "For logs. The default is the address; for the addresses of a name it is that name. "
            "With another name and the same address it is the same backend, renamed.")),
        key<V>(
            "weight", count_codec(0, most_weight), [](auto& v) -> auto& { return v.weight; }, "",
            "Its share of the connections, in proportion to the other weights. 0: no new "
            "connections, those that it has go on."),
        key<V>(
            "backup", boolean_codec(), [](auto& v) -> auto& { return v.backup; }, "",
            "It gets connections only while no backend that is no backup works."),
        key<V>(
            "max_connections", count_codec(0, 100'000'000),
            [](auto& v) -> auto& { return v.max_connections; }, "",
            "Sessions at a time; further clients get other backends, or wait in the `queue`. One "
            "whose server has finished counts no longer, however long its client takes. 0 is no "
            "limit."),
    };
}

}  // namespace

const KeyTable<BackendValues>& backend_keys() {
    static const KeyTable<BackendValues> table = make_backend_keys();
    return table;
}

}  // namespace eplb::control
