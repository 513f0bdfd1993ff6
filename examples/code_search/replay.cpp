#include "replay.hpp"

#include "git_process.hpp"

#include <optional>
#include <utility>

namespace code_search {

Replay::Replay(CodeIndex index, Source& source, Auditor& auditor, std::uint64_t check_every,
               RunState& state)
    : index_(std::move(index)), source_(source), auditor_(auditor), check_every_(check_every),
      state_(state) {
    const auto empty = index_.snapshot();
    for (const auto& [id, shard] : empty.items()) {
        shard_bytes_[id] = cowindex::DefaultPolicy<TextShard>::bytes(shard);
        index_bytes_ += shard_bytes_[id];
    }
    thread_ = state.start([this] {
        try {
            work();
        } catch (...) {
            done_ = true;
            throw;
        }
        done_ = true;
    });
}

Replay::~Replay() {
    if (!done_) state_.stop();
    if (thread_.joinable()) thread_.join();
}

void Replay::work() {
    std::optional<Commit> last;
    bool checked = true;
    const auto check = [&] {
        auditor_.submit(index_.snapshot(), last->name, source_.listing_after(*last));
        checked = true;
    };
    try {
        while (!state_.stopping()) {
            std::optional<Commit> commit = source_.next();
            if (!commit) {
                complete_ = true;
                break;
            }
            account(apply(index_, *commit));
            ++commits_;
            changes_ += commit->changes.size();
            last = std::move(commit);
            checked = false;
            if (commits_ % check_every_ == 0) check();
        }
    } catch (const Interrupted&) {
        // The time is over while git is still reading; what is applied counts.
    }
    if (!checked) check();
}

void Replay::account(const std::vector<cowindex::ShardId>& touched) {
    if (touched.empty()) return;
    bytes_of_full_clones_ += index_bytes_;
    const auto snapshot = index_.snapshot();
    for (const cowindex::ShardId id : touched) {
        index_bytes_ -= shard_bytes_[id];
        shard_bytes_[id] = cowindex::DefaultPolicy<TextShard>::bytes(snapshot[id]);
        index_bytes_ += shard_bytes_[id];
    }
}

} // namespace code_search
