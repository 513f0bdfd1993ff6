#include "auditor.hpp"

#include "printable.hpp"

#include <string_view>
#include <unordered_map>
#include <utility>

namespace code_search {

namespace {

constexpr std::size_t most_waiting = 4;

} // namespace

Auditor::Auditor(RunState& state) : thread_(state.start([this] { work(); })) {}

Auditor::~Auditor() { finish(); }

void Auditor::submit(cowindex::Snapshot<TextShard> snapshot, std::string commit, Listing listing) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return failed_ || tasks_.size() < most_waiting; });
    tasks_.push_back({std::move(snapshot), std::move(commit), std::move(listing)});
    changed_.notify_all();
}

void Auditor::finish() {
    {
        const std::lock_guard lock(mutex_);
        finishing_ = true;
    }
    changed_.notify_all();
    if (thread_.joinable()) thread_.join();
}

void Auditor::work() {
    std::unique_lock lock(mutex_);
    while (true) {
        changed_.wait(lock, [this] { return finishing_ || !tasks_.empty(); });
        if (tasks_.empty()) return;
        const Task task = std::move(tasks_.front());
        tasks_.pop_front();
        changed_.notify_all();
        lock.unlock();
        try {
            compare(task.snapshot, task.listing(), task.commit);
        } catch (...) {
            lock.lock();
            failed_ = true;
            changed_.notify_all();
            throw;
        }
        ++checks_;
        lock.lock();
    }
}

void compare(const cowindex::Snapshot<TextShard>& snapshot, const std::vector<TreeEntry>& expected,
             const std::string& commit) {
    const auto mismatch = [&](std::string_view path, const std::string& what) {
        throw Mismatch("version " + std::to_string(snapshot.version()) + " (" + printable(commit) +
                       "): '" + printable(path) + "' " + what);
    };
    std::unordered_map<std::string_view, const TreeEntry*> missing;
    for (const TreeEntry& entry : expected) missing.emplace(entry.path, &entry);

    for (auto shard = snapshot.begin(); shard != snapshot.end(); ++shard) {
        for (const auto& file : shard->files()) {
            if (!file) continue;
            const auto found = missing.find(file->path);
            if (found == missing.end()) mismatch(file->path, "is in the index, but should not be");
            const TreeEntry& entry = *found->second;
            if (file->id != entry.id || file->submodule != entry.submodule) {
                mismatch(file->path, "is " + file->id + " in the index, but should be " + entry.id);
            }
            if (shard.id() != shard_of(file->path)) mismatch(file->path, "is in a wrong shard");
            missing.erase(found);
        }
    }
    if (!missing.empty()) mismatch(missing.begin()->first, "is not in the index, but should be");
}

} // namespace code_search
