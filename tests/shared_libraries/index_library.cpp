// Compiled twice, as first_ and as second_, with everything but the exported functions hidden.

#include "index_library.hpp"

#include <utility>

#define JOINED(a, b) a##b
#define NAMED(prefix, name) JOINED(prefix, name)

SharedIndex* NAMED(PREFIX, make)() { return new SharedIndex(3, std::string("a")); }

bool NAMED(PREFIX, use)(SharedIndex& index, int round) {
    auto reader = index.reader("library");
    const auto view = reader.pin();
    const auto before = view.snapshot();
    const std::string text = std::to_string(round);
    const auto version = index.update([&](SharedIndex::Writer& writer) { writer.edit(1) = text; });
    static_cast<void>(index.reclaim());
    return version == before.version() + 1 && before == view.snapshot() &&
           index.snapshot()[1] == text;
}

std::size_t NAMED(PREFIX, readers)(SharedIndex& index) { return index.active_readers(); }

void NAMED(PREFIX, end)(SharedIndex* index) { delete index; }
