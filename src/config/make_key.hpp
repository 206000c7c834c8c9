#pragma once

#include "config/config_keys.hpp"

#include <memory>
#include <string>
#include <utility>

namespace eplb::control {

/// `access` gives a reference to the value that the key is about.
template <class Values, class Value, class Access>
Key<Values> key(std::string name, const Codec<Value>& codec, Access access, std::string flag,
                std::string details) {
    Key<Values> result;
    result.name = std::move(name);
    result.type = codec.type;
    result.default_value = codec.write(access(std::as_const(*std::make_unique<Values>())));
    result.details = std::move(details);
    result.flag = std::move(flag);
    result.read = [codec, access](const Node& node, Values& values, const Complaint& complain) {
        auto value = codec.read(node, complain);
        if (!value) return false;
        access(values) = std::move(*value);
        return true;
    };
    result.write = [codec, access](const Values& values) { return codec.write(access(values)); };
    return result;
}

/// One that has to be given, or whose `details` say what it is otherwise.
template <class Values>
Key<Values> without_default(Key<Values> key) {
    key.default_value.clear();
    return key;
}

}  // namespace eplb::control
