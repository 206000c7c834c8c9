#include "protocol/fragments.hpp"

#include "support/catch.hpp"

#include <array>
#include <span>
#include <string>
#include <string_view>
#include <vector>

using eplb::FragmentCursor;
using eplb::Fragments;

namespace {

Fragments in_pieces(const std::vector<std::string_view>& pieces) {
    Fragments message;
    for (const std::string_view piece : pieces) {
        message.add(std::as_bytes(std::span{piece.data(), piece.size()}));
    }
    return message;
}

std::string rest_of(FragmentCursor cursor) {
    std::string text(cursor.size(), '?');
    CHECK(cursor.copy(std::as_writable_bytes(std::span{text})));
    return text;
}

}  // namespace

TEST_CASE("fragments: are read as if they were in one", "[protocol][fragments]") {
    for (const std::vector<std::string_view>& pieces :
         {std::vector<std::string_view>{"\x01\x02\x03\x04\x05\x06text"},
          {"\x01", "\x02\x03\x04", "\x05\x06t", "ext"},
          {"", "\x01\x02", "", "\x03\x04\x05\x06text"}}) {
        const Fragments message = in_pieces(pieces);
        CHECK(message.size() == 10);
        FragmentCursor cursor{message};
        CHECK(cursor.u8() == 0x01);
        CHECK(cursor.u16() == 0x0203);
        CHECK(cursor.u24() == 0x040506);
        CHECK(cursor.size() == 4);
        CHECK(rest_of(cursor) == "text");
        const FragmentCursor part = cursor.take(3);
        CHECK(rest_of(part) == "tex");
        CHECK(rest_of(cursor) == "t");
        cursor.skip(1);
        CHECK(cursor.empty());
        CHECK_FALSE(cursor.failed());
        CHECK_FALSE(part.failed());
    }
}

TEST_CASE("fragment cursor: who asks for too much gets nothing, and it is not forgotten",
          "[protocol][fragments]") {
    const Fragments message = in_pieces({"\x01\x02\x03", "\x04"});
    FragmentCursor number{message};
    number.skip(3);
    CHECK(number.u16() == 0);
    CHECK(number.failed());
    CHECK(number.empty());
    CHECK(number.u8() == 0);

    FragmentCursor part{message};
    FragmentCursor beyond = part.take(5);
    CHECK(beyond.empty());
    CHECK(beyond.failed());
    CHECK(part.failed());
    CHECK(part.take(0).failed());

    FragmentCursor copy{message};
    std::array<std::byte, 5> five{};
    CHECK_FALSE(copy.copy(five));
    CHECK(five == std::array<std::byte, 5>{});
    CHECK(copy.failed());

    // A part ends where it ends, although the message goes on.
    FragmentCursor outer{message};
    FragmentCursor inner = outer.take(1);
    CHECK(inner.u16() == 0);
    CHECK(inner.failed());
    CHECK_FALSE(outer.failed());
}
