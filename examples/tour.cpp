#include <cowindex/cowindex.hpp>

#include <iostream>
#include <string>
#include <thread>

using Index = cowindex::CowIndex<std::string>; // a shard is of any type; edit() copies it

int main() {
    Index index;                                       // no shards yet
    const cowindex::ShardId fig = index.append("fig"); // ids count up; append() reuses none
    const cowindex::ShardId pear = index.append("pear");
    index.replace(pear, "quince");
    index.edit(fig, [](std::string& shard) { shard += " tree"; }); // each line: one version

    std::thread other([index]() mutable { // a copy of the handle is the same index
        index.update([](Index::Writer& writer) {
            writer.append("cherry"); // several changes, one version
            writer.erase(0);
        }); // runs again if somebody else changed the same shards
    });
    other.join();

    Index::Reader reader = index.reader("tour"); // for one thread, that keeps it
    for (Index::View view = reader.pin(); const auto& [id, shard] : view.items())
        std::cout << id << ": " << shard << '\n';
    std::cout << index.read([](const Index::View& view) { return view.size(); }) // without a Reader
              << " shards, is " << fig << " there: " << index.snapshot().contains(fig) << '\n';

    Index::Writer mine = index.writer(); // by hand: edit, look at the result, publish
    mine.edit(pear) += " pie";
    index.replace(pear, "pear"); // another commit comes first
    if (const auto result = mine.try_commit(); !result)
        std::cout << "shard " << result.conflicts()[0] << " was changed by another\n";
}
