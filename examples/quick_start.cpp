#include <cowindex/cowindex.hpp>

#include <iostream>
#include <map>
#include <string>

struct Bucket {
    std::map<std::string, int> counts;
};

int main() {
    cowindex::CowIndex<Bucket> index(64); // 64 shards with ids 0 to 63, version 0
    auto before = index.snapshot();       // owned: hold it as long as you like

    index.update([](auto& writer) { // clones shards 7 and 9, publishes both at once
        writer.edit(7).counts["fig"] += 1;
        writer.edit(9).counts["pear"] += 2;
    });

    auto reader = index.reader(); // one per thread, keep it
    auto view = reader.pin();     // one immutable version: no lock, no shared write
    std::cout << "version " << view.version() << ": " << view[7].counts.at("fig") << " fig, "
              << view[9].counts.at("pear") << " pears\n"
              << "version " << before.version() << ": " << before[7].counts.size()
              << " figs, still\n"
              << index.metrics().clone_operations << " of " << view.size() << " shards cloned\n";
}
