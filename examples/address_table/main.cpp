// Who owns an IP address: lookups in a table of ranges by two threads while a third changes it.
//
//   address_table [<file.csv> [<address>...]]
//
// The file has lines first,last,system,... as the tables of autonomous systems do that can be had
// on the web. Without one, a table of the same shape is made up. With addresses, it says to whom
// they belong; then it changes the table while it is read.

#include <atomic>
#include <cstdint>
#include <exception>
#include <fstream>
#include <iostream>
#include <iterator>
#include <map>
#include <random>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "address_table.hpp"

namespace {

using namespace address_table;

constexpr std::size_t made_up_ranges = 100'000;
constexpr int moves = 2000;
// Reserved addresses, which are in no table: 16 blocks, which change their owner together.
constexpr Range moving{240u << 24, (240u << 24) + (1u << 24) - 1, 0};
constexpr System owners = 1'000'000'000; // and following; far above those that exist

std::vector<Range> make_up() {
    std::mt19937 random(1);
    std::vector<Range> ranges;
    Address next = 1u << 24;
    for (std::size_t i = 0; i < made_up_ranges; ++i) {
        const Address length = Address{256} << random() % 8;
        next += random() % 4 == 0 ? length : 0; // a gap
        ranges.push_back({next, next + length - 1, static_cast<System>(1 + random() % 60'000)});
        next += length;
    }
    return ranges;
}

// The same answers by other means: what begins where, in one ordinary map.
class Oracle {
  public:
    explicit Oracle(const std::vector<Range>& ranges) {
        for (const Range& range : ranges) assign(range);
    }
    void assign(const Range& range) {
        const System after = range.last == UINT32_MAX ? 0 : lookup(range.last + 1);
        starts_.erase(starts_.lower_bound(range.first), starts_.upper_bound(range.last));
        starts_[range.first] = range.system;
        if (range.last != UINT32_MAX) starts_[range.last + 1] = after;
    }
    System lookup(Address address) const { return std::prev(starts_.upper_bound(address))->second; }

  private:
    std::map<Address, System> starts_{{0, 0}};
};

// Looks up addresses at random, and both ends of the range that moves.
void look_up(const Table& table, unsigned seed, const std::atomic<bool>& stop,
             std::atomic<std::uint64_t>& lookups, std::atomic<std::uint64_t>& hits,
             std::atomic<std::uint64_t>& torn) {
    std::mt19937 random(seed);
    auto reader = table.reader("lookups");
    while (!stop) {
        const auto view = reader.pin();
        std::uint64_t found = 0;
        for (int i = 0; i < 100; ++i)
            found += lookup(view, static_cast<Address>(random())) != 0 ? 1u : 0u;
        if (lookup(view, moving.first) != lookup(view, moving.last)) ++torn;
        lookups += 102;
        hits += found;
    }
}

int change_while_read(Table table, const std::vector<Range>& ranges) {
    Oracle oracle(ranges);
    std::atomic<bool> stop{false};
    std::atomic<std::uint64_t> lookups{0};
    std::atomic<std::uint64_t> hits{0};
    std::atomic<std::uint64_t> torn{0};
    std::vector<std::thread> threads;
    for (unsigned seed = 1; seed <= 2; ++seed)
        threads.emplace_back([&, seed] { look_up(table, seed, stop, lookups, hits, torn); });

    std::mt19937 random(7);
    for (int i = 0; i < moves; ++i) {
        // Every other time a range of the table changes its owner, or is taken away.
        Range range = moving;
        if (i % 2 == 0 && !ranges.empty()) range = ranges[random() % ranges.size()];
        range.system = i % 10 == 8 ? 0 : owners + static_cast<System>(i);
        assign(table, range);
        oracle.assign(range);
    }
    stop = true;
    for (std::thread& thread : threads) thread.join();

    const auto now = table.snapshot();
    std::uint64_t wrong = 0;
    for (const Range& range : ranges) {
        for (const Address address : {range.first - 1, range.first, range.last, range.last + 1})
            wrong += lookup(now, address) != oracle.lookup(address) ? 1u : 0u;
    }
    std::cout << moves << " changes, " << torn << " lookups saw half of one, " << wrong
              << " addresses end up with the wrong owner\n";
    std::cerr << lookups << " lookups meanwhile, " << hits << " of an address with an owner\n";
    return torn == 0 && wrong == 0 ? 0 : 1;
}

int run(const std::vector<std::string>& arguments) {
    std::vector<Range> ranges;
    if (arguments.empty()) {
        ranges = make_up();
    } else {
        std::ifstream in(arguments[0]);
        if (!in) throw std::runtime_error("'" + arguments[0] + "' cannot be read");
        ranges = read_csv(in);
    }
    const Table table = make_table(ranges);
    std::cout << ranges.size() << " ranges in " << table.size() << " blocks\n";

    const auto version = table.snapshot();
    for (std::size_t i = 1; i < arguments.size(); ++i) {
        const System system = lookup(version, parse_address(arguments[i]));
        std::cout << arguments[i] << (system == 0 ? ": nobody" : ": AS" + std::to_string(system))
                  << '\n';
    }
    return change_while_read(table, ranges);
}

} // namespace

int main(int argc, char** argv) {
    try {
        return run({argv + 1, argv + argc});
    } catch (const std::exception& error) {
        std::cerr << "address_table: " << error.what() << '\n';
        return 1;
    }
}
