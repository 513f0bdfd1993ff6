// The programs of docs/migration.md, before and after: each is changed by one thread and read by
// another, which must never see half of a change.
//
//   migration

#include <atomic>
#include <functional>
#include <iostream>
#include <string>
#include <thread>

#include "atomic_shared_ptr.hpp"
#include "immer.hpp"
#include "mutex_and_map.hpp"
#include "prices.hpp"
#include "rcu.hpp"

namespace {

using migration::Items;
using migration::Prices;

constexpr int all = 1000; // the sum of two prices, of which one grows when the other falls
constexpr int changes = 2000;
bool failed = false;

// `change` sets the prices of "fig" and "pear"; `in_thread` is run in the reading thread and calls
// its argument with the function that adds them up.
template <class Change, class InThread>
void check(const std::string& name, Change change, InThread in_thread) {
    change(0, all);
    std::atomic<bool> done{false};
    std::atomic<int> sums{0};
    std::atomic<int> wrong{0};
    std::thread reader([&] {
        in_thread([&](auto&& sum) {
            do {
                if (sum() != all) ++wrong;
                ++sums;
            } while (!done);
        });
    });
    while (sums == 0) std::this_thread::yield();
    for (int i = 1; i <= changes; ++i) change(i % all, all - i % all);
    done = true;
    reader.join();
    std::cout << name << ": " << (wrong == 0 ? "right" : "WRONG") << '\n';
    if (wrong != 0) failed = true;
}

const Items both{"fig", "pear"};

template <class T>
void check_sum_member(const std::string& name) {
    T prices;
    check(
        name, [&](int fig, int pear) { prices.change({{"fig", fig}, {"pear", pear}}); },
        [&](auto&& loop) { loop([&] { return prices.sum(both); }); });
}

void check_mutex() {
    check_sum_member<migration::mutex_and_map::Before>("a mutex and a map");
    check_sum_member<migration::mutex_and_map::After>("a mutex and a map, after");
}

void check_atomic() {
    using namespace migration::atomic_shared_ptr;
#if defined(__cpp_lib_atomic_shared_ptr)
    Before before;
    check(
        "atomic<shared_ptr>",
        [&](int fig, int pear) { before.change({{"fig", fig}, {"pear", pear}}); },
        [&](auto&& loop) {
            loop([&] {
                const auto prices = before.prices();
                return prices->at("fig") + prices->at("pear");
            });
        });
#endif
    After after;
    const auto sum = [](const auto& version) {
        return version[After::shard_of("fig")].at("fig") +
               version[After::shard_of("pear")].at("pear");
    };
    check(
        "atomic<shared_ptr>, after",
        [&](int fig, int pear) { after.change({{"fig", fig}, {"pear", pear}}); },
        [&](auto&& loop) {
            auto reader = after.reader();
            loop([&] { return sum(reader.pin()); });
        });
    if (sum(after.prices()) != all) failed = true;
}

void check_rcu() {
#if defined(MIGRATION_LIBURCU)
    migration::rcu::Before before;
    check(
        "RCU", [&](int fig, int pear) { before.change({{"fig", fig}, {"pear", pear}}); },
        [&](auto&& loop) {
            rcu_register_thread();
            loop([&] { return before.sum(both); });
            rcu_unregister_thread();
        });
#endif
    migration::rcu::After after;
    check(
        "RCU, after", [&](int fig, int pear) { after.change({{"fig", fig}, {"pear", pear}}); },
        [&](auto&& loop) {
            auto reader = after.reader();
            loop([&] { return migration::rcu::After::sum(reader, both); });
        });
}

template <class T, class Sum>
void check_vector(const std::string& name, Sum sum) {
    T prices;
    prices.append(0);
    prices.append(0);
    check(
        name, [&](int fig, int pear) { prices.change({{0, fig}, {1, pear}}); },
        [&](auto&& loop) { loop([&] { return sum(prices.prices()); }); });
}

void check_immer() {
#if defined(MIGRATION_IMMER)
    check_vector<migration::immer_vector::Before>(
        "immer", [](const auto& prices) { return (*prices)[0] + (*prices)[1]; });
#endif
    check_vector<migration::immer_vector::After>(
        "immer, after", [](const auto& prices) { return prices[0] + prices[1]; });
}

} // namespace

int main() {
    check_mutex();
    check_atomic();
    check_rcu();
    check_immer();
    std::cout << (failed ? "not all sums were right\n" : "all sums were right\n");
    return failed ? 1 : 0;
}
