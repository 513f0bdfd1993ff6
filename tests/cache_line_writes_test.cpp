// Why reads scale and where commits stop: the writes of each operation to cache lines that others
// use, counted in the real code. docs/performance.md quotes them.

#include <algorithm>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <iostream>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <thread>
#include <vector>

#include <cowindex/cowindex.hpp>

#include "support/catch.hpp"
#include "support/line_trace.hpp"

#if defined(COWINDEX_TEST_LINE_TRACE)

namespace {

using Index = cowindex::CowIndex<std::uint64_t>;
using test::Line;
using test::LineTrace;
using test::trace_lines;

// A thread that stays, and runs one function at a time while its caller waits. Threads that end
// give their identity to the next one.
class Worker {
  public:
    Worker() : thread_([this] { loop(); }) {}
    Worker(const Worker&) = delete;
    Worker& operator=(const Worker&) = delete;
    ~Worker() {
        give(nullptr, nullptr);
        thread_.join();
    }

    template <class Fn>
    void run(Fn fn) {
        give([](void* function) { (*static_cast<Fn*>(function))(); }, &fn);
        std::unique_lock lock(mutex_);
        changed_.wait(lock, [&] { return !waiting_; });
    }

    // What `fn` accesses when this thread runs it.
    template <class Fn>
    [[nodiscard]] LineTrace trace(Fn fn) {
        LineTrace traced;
        run([&] { traced = trace_lines(fn); });
        return traced;
    }

  private:
    using Run = void (*)(void*);

    void give(Run its_run, void* function) {
        const std::lock_guard lock(mutex_);
        run_ = its_run;
        function_ = function;
        waiting_ = true;
        changed_.notify_all();
    }
    void loop() {
        std::unique_lock lock(mutex_);
        for (;;) {
            changed_.wait(lock, [&] { return waiting_; });
            if (run_ == nullptr) return;
            run_(function_);
            waiting_ = false;
            changed_.notify_all();
        }
    }

    std::mutex mutex_;
    std::condition_variable changed_;
    bool waiting_ = false;
    Run run_ = nullptr;
    void* function_ = nullptr;
    std::thread thread_;
};

std::set<Line> operator|(std::set<Line> some, const std::set<Line>& others) {
    some.insert(others.begin(), others.end());
    return some;
}

// An index in its steady state under watch, with two readers and two writers on a thread each.
struct Scene {
    Scene() {
        for (int i = 0; i < 200; ++i) {
            commit(writer_a, 1);
            commit(writer_b, 2);
            for (Worker* worker : {&a, &b})
                worker->run([&] {
                    (void)index.read([](const auto& view) { return view[3]; });
                    (void)index.snapshot();
                });
            (void)reader_a.pin();
            (void)reader_b.pin();
        }
    }

    static void commit(Index::Writer& writer, cowindex::ShardId id) {
        writer.discard(); // to the latest version
        ++writer.edit(id);
        writer.commit();
    }
    [[nodiscard]] auto pin(Index::Reader& reader, cowindex::ShardId id = 3) const {
        return [&reader, id] { volatile_sink = reader.pin()[id]; };
    }
    [[nodiscard]] auto read_fn(cowindex::ShardId id = 3) const {
        return
            [this, id] { volatile_sink = index.read([id](const auto& view) { return view[id]; }); };
    }
    [[nodiscard]] auto snapshot(cowindex::ShardId id = 3) const {
        return [this, id] { volatile_sink = index.snapshot()[id]; };
    }

    [[nodiscard]] static std::vector<Index::Reader> side_by_side(const Index& index) {
        std::vector<Index::Reader> readers;
        for (int i = 0; i < 2; ++i) readers.push_back(index.reader());
        return readers;
    }

    static inline volatile std::uint64_t volatile_sink = 0;

    Worker a; // before the memory is watched: what threads need is none of the index's
    Worker b;
    Worker c;
    Worker d;
    test::WatchedMemory watched;
    Index index{1000};
    std::vector<Index::Reader> readers = side_by_side(index); // in memory that is watched
    Index::Reader& reader_a = readers[0];
    Index::Reader& reader_b = readers[1];
    Index::Writer writer_a = index.writer();
    Index::Writer writer_b = index.writer();
};

} // namespace

TEST_CASE("the tracer sees reads and writes, of the standard library too") {
    Worker worker; // from now on shared_ptr counts with atomic instructions
    std::optional<test::WatchedMemory> watched(std::in_place);
    auto shared = std::make_shared<std::uint64_t>(0);
    watched.reset();

    const LineTrace reading = trace_lines([&] { Scene::volatile_sink = *shared; });
    CHECK(reading.touched().size() == 1);
    CHECK(reading.writes.empty());

    const LineTrace writing = trace_lines([&] { *shared = 7; });
    CHECK(writing.reads.empty());
    CHECK(writing.writes_to(reading.touched()) == 1);

    const LineTrace copying = trace_lines([&] { (void)std::shared_ptr<std::uint64_t>(shared); });
    CHECK(copying.writes_to(reading.touched()) == 2); // up and down
    CHECK(*shared == 7);
}

TEST_CASE(
    "reading through a reader or a borrowed slot writes no line that another reader touches") {
    Scene scene;
    const std::set<Line> others = scene.b.trace(scene.pin(scene.reader_b)).touched() |
                                  scene.b.trace(scene.snapshot()).touched();

    const LineTrace pin = scene.a.trace(scene.pin(scene.reader_a));
    CHECK(pin.lines_written_of(pin.touched()) == 2); // its slot, and the reader itself
    CHECK(pin.writes_to(others) == 0);

    const LineTrace read_fn = scene.a.trace(scene.read_fn());
    std::size_t shared_read_fn = 0;
    for (Worker* worker : {&scene.b, &scene.c, &scene.d}) {
        static_cast<void>(worker->trace(scene.read_fn())); // the first call, which gets a place
        shared_read_fn += read_fn.writes_to(others | worker->trace(scene.read_fn()).touched());
    }
    CHECK(shared_read_fn == 0);

    const LineTrace snapshot = scene.a.trace(scene.snapshot());
    CHECK(snapshot.writes_to(others) > 0);
    CHECK(snapshot.writes_to(others) <= 10);

    std::cout << "writes to lines that another reader touches:\n"
              << "  pin, read, unpin  " << pin.writes_to(others) << "\n  read(fn)          "
              << shared_read_fn << "\n  snapshot          " << snapshot.writes_to(others) << ", to "
              << snapshot.lines_written_of(others) << " lines\n";
}

TEST_CASE("a commit takes one line from readers of other shards, and a path from the rest") {
    Scene scene;
    constexpr std::ptrdiff_t commits = 51;
    std::vector<std::size_t> written, of_pin, of_snapshot, of_first_read, of_committer;
    // How many lines a read touches depends on where its nodes lie.
    std::vector<std::size_t> pin_lines, first_read_lines;
    for (std::ptrdiff_t i = 0; i < commits; ++i) {
        // Shards 1 and 900 are in different leaves.
        const std::set<Line> pin = scene.b.trace(scene.pin(scene.reader_b, 900)).touched();
        const std::set<Line> snapshot = scene.b.trace(scene.snapshot(900)).touched();
        const std::set<Line> committer =
            scene.b.trace([&] { Scene::commit(scene.writer_b, 2); }).touched();
        const std::set<Line> before = scene.b.trace(scene.pin(scene.reader_b, 900)).touched();
        const LineTrace commit = scene.a.trace([&] { Scene::commit(scene.writer_a, 1); });
        const std::set<Line> after = scene.b.trace(scene.pin(scene.reader_b, 1)).touched();

        written.push_back(commit.touched().size());
        of_pin.push_back(commit.lines_written_of(before));
        of_snapshot.push_back(commit.lines_written_of(snapshot));
        of_committer.push_back(commit.lines_written_of(committer));
        of_first_read.push_back(commit.lines_written_of(after));
        first_read_lines.push_back(after.size());
        pin_lines.push_back(pin.size());
        // All but the reader and its slot may be new; those are never written.
        CHECK(of_first_read.back() <= after.size() - 2);
    }
    const auto median = [](std::vector<std::size_t>& counts) {
        std::nth_element(counts.begin(), counts.begin() + commits / 2, counts.end());
        return counts[std::size_t{commits / 2}];
    };

    // The word that names the latest version; and, on the path that both share, the head of the
    // node that is retired.
    CHECK(median(of_pin) >= 1);
    CHECK(median(of_pin) <= 2);
    CHECK(median(of_committer) > 0);

    std::cout << "lines written by one commit of one shard of 1000 (medians):\n"
              << "  of the " << median(pin_lines) << " of a pin and read of another shard  "
              << median(of_pin) << "\n  of those of a snapshot  " << median(of_snapshot)
              << "\n  of the " << median(first_read_lines) << " of the first read of that shard  "
              << median(of_first_read) << "\n  of those of the commit before, by another thread  "
              << median(of_committer) << "\n  touched in all  " << median(written) << "\n";
}

#else

TEST_CASE("writes to cache lines that others use") {
    std::cout << "skipped: lines are traced on x86-64 Linux alone, without sanitizers\n";
    SUCCEED();
}

#endif
