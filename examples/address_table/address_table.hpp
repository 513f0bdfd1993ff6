#pragma once

#include <cowindex/cowindex.hpp>

#include <algorithm>
#include <cstdint>
#include <iosfwd>
#include <string>
#include <string_view>
#include <vector>

namespace address_table {

using Address = std::uint32_t; ///< IPv4, the first byte highest
using System = std::uint32_t;  ///< the number of an autonomous system; 0 is nobody

/// Addresses from `first` to `last`, both included, that belong to one system.
struct Range {
    Address first = 0;
    Address last = 0;
    System system = 0;

    bool operator==(const Range&) const = default;
};

/// Ranges that do not overlap, ascending. A shard holds those of one block of addresses.
using Block = std::vector<Range>;
using Table = cowindex::CowIndex<Block>;

/// The upper 12 bits of an address choose its block: some hundred ranges of a full table each, so a
/// change copies a few kilobytes.
constexpr std::size_t block_count = 4096;
constexpr unsigned bits_in_block = 20;

/// To whom an address belongs as of `version`, a `View` or a `Snapshot`; 0 if to nobody.
template <class Version>
System lookup(const Version& version, Address address) {
    const Block& block = version[address >> bits_in_block];
    const auto after =
        std::upper_bound(block.begin(), block.end(), address,
                         [](Address wanted, const Range& range) { return wanted < range.first; });
    if (after == block.begin() || (after - 1)->last < address) return 0;
    return (after - 1)->system;
}

/// Gives the addresses of `range` to its system (0 takes them away), whoever had them before, in
/// one version, however many blocks the range lies in.
void assign(Table& table, const Range& range);

/// A table of ranges in any order; where they overlap the later one holds.
Table make_table(const std::vector<Range>& ranges);

/// Reads lines `first,last,system`, with anything after a further comma; addresses as 192.0.2.1.
/// Throws `std::runtime_error` that names the line at fault.
std::vector<Range> read_csv(std::istream& in);

/// Throws `std::invalid_argument`.
Address parse_address(std::string_view text);

} // namespace address_table
