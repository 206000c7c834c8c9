#include "eplb/list_hook.hpp"

#include "support/catch.hpp"

#include <list>
#include <memory>
#include <random>
#include <vector>

namespace {

struct Red;
struct Blue;

struct Item : eplb::ListHook<Red>, eplb::ListHook<Blue> {
    explicit Item(int value_) : value{value_} {}
    int value;
};

using RedList = eplb::IntrusiveList<Item, Red>;
using BlueList = eplb::IntrusiveList<Item, Blue>;

bool in_red(const Item& item) { return static_cast<const eplb::ListHook<Red>&>(item).linked(); }
void unlink_red(Item& item) { static_cast<eplb::ListHook<Red>&>(item).unlink(); }

template <class List>
std::vector<int> values(const List& list) {
    std::vector<int> out;
    if (list.empty()) return out;
    for (Item* item = &list.front(); item != nullptr; item = list.next(*item)) {
        out.push_back(item->value);
    }
    return out;
}

}  // namespace

TEST_CASE("list: items come out in the order they went in", "[base][list]") {
    RedList list;
    CHECK(list.empty());
    CHECK(list.size() == 0);

    Item a{1};
    Item b{2};
    Item c{3};
    list.push_back(a);
    list.push_back(b);
    list.push_back(c);
    CHECK(list.size() == 3);
    CHECK(values(list) == std::vector{1, 2, 3});
    CHECK(&list.front() == &a);
    CHECK(&list.pop_front() == &a);
    CHECK_FALSE(in_red(a));
    CHECK(&list.pop_front() == &b);
    CHECK(&list.pop_front() == &c);
    CHECK(list.empty());
}

TEST_CASE("list: an item can be unlinked from any place, and twice", "[base][list]") {
    RedList list;
    Item a{1};
    Item b{2};
    Item c{3};
    for (Item* const item : {&a, &b, &c}) list.push_back(*item);

    unlink_red(b);
    CHECK(values(list) == std::vector{1, 3});
    unlink_red(b);
    CHECK(values(list) == std::vector{1, 3});
    unlink_red(c);
    CHECK(values(list) == std::vector{1});
    unlink_red(a);
    CHECK(list.empty());
    list.push_back(b);
    CHECK(values(list) == std::vector{2});
}

TEST_CASE("list: an item that dies leaves the list", "[base][list]") {
    RedList list;
    Item a{1};
    auto b = std::make_unique<Item>(2);
    Item c{3};
    list.push_back(a);
    list.push_back(*b);
    list.push_back(c);
    b.reset();
    CHECK(values(list) == std::vector{1, 3});
}

TEST_CASE("list: a list that dies lets go of its items", "[base][list]") {
    Item a{1};
    Item b{2};
    {
        RedList list;
        list.push_back(a);
        list.push_back(b);
        CHECK(in_red(a));
    }
    CHECK_FALSE(in_red(a));
    CHECK_FALSE(in_red(b));
}

TEST_CASE("list: the hooks of two tags are independent", "[base][list]") {
    RedList red;
    BlueList blue;
    Item a{1};
    Item b{2};
    red.push_back(a);
    red.push_back(b);
    blue.push_back(b);
    blue.push_back(a);
    CHECK(values(red) == std::vector{1, 2});
    CHECK(values(blue) == std::vector{2, 1});
    unlink_red(a);
    CHECK(values(red) == std::vector{2});
    CHECK(values(blue) == std::vector{2, 1});
}

TEST_CASE("list: splice_back appends everything and leaves the other one empty", "[base][list]") {
    RedList first;
    RedList second;
    Item a{1};
    Item b{2};
    Item c{3};

    first.splice_back(second);
    CHECK(first.empty());

    second.push_back(a);
    second.push_back(b);
    first.splice_back(second);
    CHECK(values(first) == std::vector{1, 2});
    CHECK(second.empty());

    second.push_back(c);
    first.splice_back(second);
    CHECK(values(first) == std::vector{1, 2, 3});
    first.splice_back(second);
    CHECK(values(first) == std::vector{1, 2, 3});
    second.push_back(first.pop_front());
    CHECK(values(second) == std::vector{1});
    CHECK(values(first) == std::vector{2, 3});
}

TEST_CASE("list: clear unlinks every item", "[base][list]") {
    RedList list;
    Item a{1};
    Item b{2};
    list.push_back(a);
    list.push_back(b);
    list.clear();
    CHECK(list.empty());
    CHECK_FALSE(in_red(a));
    CHECK_FALSE(in_red(b));
    list.clear();
    CHECK(list.empty());
}

TEST_CASE("list: behaves like std::list under random operations", "[base][list]") {
    std::mt19937 random{12345};
    RedList list;
    std::vector<std::unique_ptr<Item>> items;
    std::list<int> model;
    for (int i = 0; i < 20'000; ++i) {
        const auto choice = random() % 4;
        if (choice <= 1) {
            items.push_back(std::make_unique<Item>(i));
            list.push_back(*items.back());
            model.push_back(i);
        } else if (choice == 2 && !items.empty()) {
            const std::size_t victim = random() % items.size();
            model.remove(items[victim]->value);
            std::swap(items[victim], items.back());
            items.pop_back();
        } else if (!list.empty()) {
            Item& first = list.pop_front();
            REQUIRE(first.value == model.front());
            model.pop_front();
            std::erase_if(items, [&](const auto& item) { return item.get() == &first; });
        }
        if (i % 500 == 0) REQUIRE(values(list) == std::vector(model.begin(), model.end()));
    }
    CHECK(values(list) == std::vector(model.begin(), model.end()));
}
