// What a commit of k shards of n costs, publishing and reclaiming included:
//   floor             clone, swap one pointer, free, in place: what no versioned index can beat
//   cowindex          one writer that stays open
//   cowindex_reader   the same while a reader's slot is in use, so that reclaiming needs barriers
//   cowindex_update   through update(), which opens and closes its writer
//   cowindex_each     the shards named at once, with edit_each()
//   cowindex_ahead    one writer that fetches the next shard while it commits this one
//   cowindex_assign   with a policy that assigns to retired shards
//   vector            copying a vector of shared_ptr: the usual hand-written copy-on-write index
//   deep_clone        copying all shards
// Every candidate changes the same pseudo-random shards. Arguments: n, k.
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include <benchmark/benchmark.h>

#include "fixture.hpp"
#include "shards.hpp"
#include <cowindex/cowindex.hpp>

namespace {

using namespace benchmarks;

// Each candidate: made of n shards, and commit(random, n, k). Its warm_up commits fill the pools.
template <class Shard>
struct Floor {
    static constexpr const char* name = "floor";
    static constexpr std::size_t warm_up = 10'000;

    explicit Floor(std::size_t n) {
        shards.reserve(n);
        for (std::size_t i = 0; i < n; ++i) shards.push_back(std::make_unique<Shard>());
    }
    void commit(Random& random, std::size_t n, std::size_t k) {
        for (std::size_t i = 0; i < k; ++i) {
            auto& place = shards[random.below(n)];
            auto clone = std::make_unique<Shard>(*place);
            clone->touch();
            place.swap(clone);
        }
    }
    std::vector<std::unique_ptr<Shard>> shards;
};

template <class Shard>
struct CowCommit {
    static constexpr const char* name = "cowindex";
    static constexpr std::size_t warm_up = 10'000;

    explicit CowCommit(std::size_t n) : index(n), writer(index.writer()) {}
    void commit(Random& random, std::size_t n, std::size_t k) {
        for (std::size_t i = 0; i < k; ++i) writer.edit(random.below(n)).touch();
        writer.commit();
    }
    cowindex::CowIndex<Shard> index;
    cowindex::IndexWriter<Shard> writer;
};

template <class Shard>
struct CowCommitEach : CowCommit<Shard> {
    static constexpr const char* name = "cowindex_each";

    explicit CowCommitEach(std::size_t n) : CowCommit<Shard>(n) {}
    void commit(Random& random, std::size_t n, std::size_t k) {
        ids.clear();
        for (std::size_t i = 0; i < k; ++i) ids.push_back(random.below(n));
        this->writer.edit_each(ids, [](cowindex::ShardId, Shard& shard) { shard.touch(); });
        this->writer.commit();
    }
    std::vector<cowindex::ShardId> ids;
};

// For k = 1: what a program can do that knows its next change, from a queue, say.
template <class Shard>
struct CowCommitAhead : CowCommit<Shard> {
    static constexpr const char* name = "cowindex_ahead";

    explicit CowCommitAhead(std::size_t n) : CowCommit<Shard>(n) {}
    void commit(Random& random, std::size_t n, std::size_t) {
        const cowindex::ShardId id = std::exchange(next, random.below(n));
        this->writer.prefetch(next);
        this->writer.edit(id).touch();
        this->writer.commit();
    }
    cowindex::ShardId next = 0;
};

template <class Shard>
struct CowCommitWithReader : CowCommit<Shard> {
    static constexpr const char* name = "cowindex_reader";

    explicit CowCommitWithReader(std::size_t n) : CowCommit<Shard>(n) {}
    cowindex::Reader<Shard> reader = this->index.reader();
};

template <class Shard>
struct Assigning : cowindex::DefaultPolicy<Shard> {
    static void assign(Shard& retired, const Shard& shard) { retired = shard; }
};

template <class Shard>
struct CowAssign {
    static constexpr const char* name = "cowindex_assign";
    static constexpr std::size_t warm_up = 10'000;
    using Index = cowindex::CowIndex<Shard, Assigning<Shard>>;

    explicit CowAssign(std::size_t n) : index(n), writer(index.writer()) {}
    void commit(Random& random, std::size_t n, std::size_t k) {
        for (std::size_t i = 0; i < k; ++i) writer.edit(random.below(n)).touch();
        writer.commit();
    }
    Index index;
    typename Index::Writer writer;
};

template <class Shard>
struct CowUpdate {
    static constexpr const char* name = "cowindex_update";
    static constexpr std::size_t warm_up = 10'000;

    explicit CowUpdate(std::size_t n) : index(n) {}
    void commit(Random& random, std::size_t n, std::size_t k) {
        index.update([&](auto& writer) {
            for (std::size_t i = 0; i < k; ++i) writer.edit(random.below(n)).touch();
        });
    }
    cowindex::CowIndex<Shard> index;
};

// What both that copy everything have in common. Publishing is a swap under a lock, of no
// consequence beside the copy.
template <class Version>
struct Copying {
    static constexpr std::size_t warm_up = 1;

    template <class Touch>
    void commit(Random& random, std::size_t n, std::size_t k, Touch touch) {
        auto next = std::make_shared<Version>(*latest);
        for (std::size_t i = 0; i < k; ++i) touch((*next)[random.below(n)]);
        std::shared_ptr<const Version> published = std::move(next);
        const std::lock_guard lock(mutex);
        latest.swap(published);
    }
    std::mutex mutex;
    std::shared_ptr<const Version> latest;
};

template <class Shard>
struct VectorOfShared : Copying<std::vector<std::shared_ptr<const Shard>>> {
    static constexpr const char* name = "vector";
    using Version = std::vector<std::shared_ptr<const Shard>>;

    explicit VectorOfShared(std::size_t n) {
        Version first;
        first.reserve(n);
        for (std::size_t i = 0; i < n; ++i) first.push_back(std::make_shared<const Shard>());
        this->latest = std::make_shared<const Version>(std::move(first));
    }
    void commit(Random& random, std::size_t n, std::size_t k) {
        Copying<Version>::commit(random, n, k, [](std::shared_ptr<const Shard>& place) {
            auto clone = std::make_shared<Shard>(*place);
            clone->touch();
            place = std::move(clone);
        });
    }
};

template <class Shard>
struct DeepClone : Copying<std::vector<Shard>> {
    static constexpr const char* name = "deep_clone";

    explicit DeepClone(std::size_t n) {
        this->latest = std::make_shared<const std::vector<Shard>>(n);
    }
    void commit(Random& random, std::size_t n, std::size_t k) {
        Copying<std::vector<Shard>>::commit(random, n, k, [](Shard& shard) { shard.touch(); });
    }
};

template <class Candidate>
void run(benchmark::State& state, std::size_t n, std::size_t k) {
    Candidate& candidate = keep<Candidate>(n, [&] {
        auto made = std::make_shared<Candidate>(n);
        Random random(7);
        for (std::size_t i = 0; i < Candidate::warm_up; ++i) made->commit(random, n, 1);
        return made;
    });
    static Random random; // goes on, so that no two runs change the same shards
    for (auto _ : state) candidate.commit(random, n, k);
}

template <class Made>
void add(const std::string& shard, std::size_t n, std::size_t k) {
    const std::string name = std::string("commit/") + Made::name + "/" + shard +
                             "/n:" + std::to_string(n) + "/k:" + std::to_string(k);
    benchmark::RegisterBenchmark(name.c_str(), run<Made>, n, k);
}

template <template <class> class Candidate, std::size_t size>
void add(std::size_t n, std::size_t k = 1) {
    // Copying everything needs room for two versions.
    if (!fits_into_memory(2 * n * (size + 64))) return;
    add<Candidate<Blob<size>>>("bytes:" + std::to_string(size), n, k);
}

const bool added = [] {
    for (const std::size_t n : {100UL, 1'000UL, 10'000UL, 100'000UL, 1'000'000UL, 10'000'000UL}) {
        add<Floor, 64>(n);
        add<CowCommit, 64>(n);
        add<CowCommitAhead, 64>(n);
        add<CowCommitWithReader, 64>(n);
        add<CowUpdate, 64>(n);
        add<VectorOfShared, 64>(n);
        add<DeepClone, 64>(n);
    }
    for (const std::size_t n : {1'000UL, 1'000'000UL, 10'000'000UL}) {
        for (const std::size_t k : {16UL, 1'000UL}) add<Floor, 64>(n, k);
        for (const std::size_t k : {16UL, 1'000UL}) add<CowCommit, 64>(n, k);
        for (const std::size_t k : {16UL, 1'000UL}) add<CowCommitEach, 64>(n, k);
        for (const std::size_t k : {16UL, 1'000UL}) add<CowCommitWithReader, 64>(n, k);
        add<VectorOfShared, 64>(n, 1'000);
    }
    for (const std::size_t n : {1'000UL, 100'000UL, 1'000'000UL}) {
        add<Floor, 4096>(n);
        add<CowCommit, 4096>(n);
    }
    for (const std::size_t n : {100UL, 10'000UL}) {
        add<Floor, 65536>(n);
        add<CowCommit, 65536>(n);
    }
    for (const std::size_t n : {1'000UL, 10'000UL}) {
        add<Floor<Words>>("words", n, 1);
        add<CowCommit<Words>>("words", n, 1);
        add<CowAssign<Words>>("words", n, 1);
    }
    return true;
}();

} // namespace
