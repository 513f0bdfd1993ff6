#include <cstdio>
#include <utility>

#include "other.hpp"

int main() {
    Index index(4);
    add(index, 1, 20);
    const auto before = index.snapshot();
    add(index, 3, 22);

    auto writer = index.writer();
    const auto id = writer.append({100});
    writer.edit(0).push_back(1000);
    const auto result = writer.try_commit();
    index.erase(id);
    index.replace(0, {});
    const auto freed = index.reclaim();

    const bool ok = result && sum(index) == 42 && before.version() == 1 && before[1].size() == 1 &&
                    before[3].empty() && index.version() == 5 && index.size() == 4 &&
                    index.metrics().commits == 5 && index.memory_usage().live_bytes > 0;
    std::printf("%s: sum %d, version %llu, freed %llu bytes\n", ok ? "ok" : "wrong", sum(index),
                static_cast<unsigned long long>(index.version()),
                static_cast<unsigned long long>(freed));
    return ok ? 0 : 1;
}
