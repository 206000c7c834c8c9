#pragma once

#include "config/settings.hpp"
#include "eplb/clock.hpp"
#include "support/config_reading.hpp"

#include <cstdint>
#include <set>
#include <string>
#include <string_view>
#include <type_traits>
#include <typeinfo>

namespace eplb::test {

/// What a key sets, of any type. The compiler makes it, so that a table of hundreds costs next to nothing.
class Value {
public:
    template <class T>
    constexpr Value(T value) {
        if constexpr (std::is_convertible_v<T, std::string_view>) {
            text_ = value;
        } else if constexpr (std::is_convertible_v<T, Duration>) {
            unit_ = [] { return "ns"; };
            number_ = Duration{value}.count();
        } else {
            unit_ = [] { return std::is_integral_v<T> ? "" : typeid(T).name(); };
            number_ = static_cast<std::int64_t>(value);
        }
    }

    [[nodiscard]] std::string text() const;

private:
    std::string_view text_;
    std::int64_t number_ = 0;
    const char* (*unit_)() = nullptr;
};

/// Of what may be there or not, and is not.
constexpr Value nothing{"nothing"};

/// What `settings` have for a key of the file, in the first service and its second backend, as Value::text().
/// Several of a kind have blanks between.
[[nodiscard]] std::string value_of(const control::Settings& settings, In where,
                                   std::string_view key);

/// The same of all keys of a table, a line each.
[[nodiscard]] std::string values_in(const control::Settings& settings, In where);

/// "log.level", "service.listen", "backend.address".
[[nodiscard]] std::string name_of_key(In where, std::string_view key);

/// The names of all keys that there are.
[[nodiscard]] std::set<std::string> names_of_keys();

/// Whether it may be said in [defaults], too.
[[nodiscard]] bool stands_in_defaults(In where, std::string_view key);

}  // namespace eplb::test
