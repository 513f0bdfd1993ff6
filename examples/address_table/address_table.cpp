#include "address_table.hpp"

#include <charconv>
#include <istream>
#include <stdexcept>
#include <utility>

namespace address_table {

namespace {

// Takes `separator` and what is before it off the front of `text`; all of it where there is none.
std::string_view cut(std::string_view& text, char separator) {
    const auto end = std::min(text.find(separator), text.size());
    const std::string_view part = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    return part;
}

std::uint32_t parse_number(std::string_view text, std::uint32_t largest) {
    std::uint32_t number = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
    if (error != std::errc() || end != text.data() + text.size() || number > largest)
        throw std::invalid_argument("'" + std::string(text) + "' is no number up to " +
                                    std::to_string(largest));
    return number;
}

// Puts `wanted` into a block and cuts off what overlaps it.
void assign(Block& block, const Range& wanted) {
    Block result;
    result.reserve(block.size() + 2);
    auto next = block.begin();
    for (; next != block.end() && next->first < wanted.first; ++next) {
        result.push_back(*next);
        result.back().last = std::min(next->last, wanted.first - 1);
    }
    // The one before may reach beyond the end of the wanted one, too.
    if (next != block.begin() && (next - 1)->last > wanted.last) --next;
    if (wanted.system != 0) result.push_back(wanted);
    for (; next != block.end(); ++next) {
        if (next->last <= wanted.last) continue;
        result.push_back(*next);
        if (wanted.last >= next->first) result.back().first = wanted.last + 1;
    }
    block = std::move(result);
}

// Calls fn(block number, the part of the range in that block).
template <class Fn>
void for_each_block(const Range& range, Fn&& fn) {
    const cowindex::ShardId last = range.last >> bits_in_block;
    for (cowindex::ShardId id = range.first >> bits_in_block; id <= last; ++id) {
        const auto start = static_cast<Address>(id << bits_in_block);
        const Address end = start + ((Address{1} << bits_in_block) - 1);
        fn(id, Range{std::max(range.first, start), std::min(range.last, end), range.system});
    }
}

} // namespace

void assign(Table& table, const Range& range) {
    table.update([&](Table::Writer& writer) {
        for_each_block(
            range, [&](cowindex::ShardId id, const Range& part) { assign(writer.edit(id), part); });
    });
}

Table make_table(const std::vector<Range>& ranges) {
    std::vector<Block> blocks(block_count);
    for (const Range& range : ranges) {
        for_each_block(range, [&](cowindex::ShardId id, const Range& part) {
            Block& block = blocks[id];
            if (part.system != 0 && (block.empty() || block.back().last < part.first))
                block.push_back(part);
            else
                assign(block, part);
        });
    }
    return Table(std::move(blocks));
}

Address parse_address(std::string_view text) {
    Address address = 0;
    std::string_view rest = text;
    for (int i = 0; i < 4; ++i) address = address << 8 | parse_number(cut(rest, '.'), 255);
    if (!rest.empty() || std::count(text.begin(), text.end(), '.') != 3)
        throw std::invalid_argument("'" + std::string(text) + "' is no IPv4 address");
    return address;
}

std::vector<Range> read_csv(std::istream& in) {
    std::vector<Range> ranges;
    std::string line;
    for (std::size_t number = 1; std::getline(in, line); ++number) {
        try {
            std::string_view rest = line;
            if (!rest.empty() && rest.back() == '\r') rest.remove_suffix(1);
            Range range;
            range.first = parse_address(cut(rest, ','));
            range.last = parse_address(cut(rest, ','));
            range.system = parse_number(cut(rest, ','), UINT32_MAX);
            if (range.last < range.first)
                throw std::invalid_argument("the range ends before it begins");
            ranges.push_back(range);
        } catch (const std::invalid_argument& error) {
            throw std::runtime_error("line " + std::to_string(number) + ": " + error.what());
        }
    }
    return ranges;
}

} // namespace address_table
