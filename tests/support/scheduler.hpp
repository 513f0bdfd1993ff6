/// A deterministic scheduler: real threads, of which one at a time holds the baton.
///
/// The code under test hands the baton on at its sync points and its mutexes; the seed alone
/// decides to whom. A quarter of the seeds walk at random, the others give the threads priorities
/// and lower them at a few random steps (PCT: Burckhardt et al., ASPLOS 2010), which finds rare
/// orders of few events and is quick, since few batons are passed. Only the holder of the baton
/// touches the scheduler, so nothing in here needs a lock.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <memory>
#include <semaphore>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#if defined(__linux__)
#include <sched.h>
#endif

namespace test {

/// SplitMix64 (Steele et al., OOPSLA 2014): small, and the same everywhere.
class Random {
  public:
    explicit Random(std::uint64_t seed) : state_(seed) {}
    std::uint64_t next() {
        std::uint64_t z = state_ += 0x9E3779B97F4A7C15U;
        z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9U;
        z = (z ^ (z >> 27)) * 0x94D049BB133111EBU;
        return z ^ (z >> 31);
    }
    /// Below `bound`, which is not 0.
    std::uint64_t below(std::uint64_t bound) { return next() % bound; }
    bool coin() { return below(2) == 0; }

  private:
    std::uint64_t state_;
};

class Scheduler {
  public:
    /// Makes the threads; they serve all runs.
    explicit Scheduler(std::size_t threads) : workers_(threads) {
        for (std::size_t i = 0; i < threads; ++i) {
            workers_[i] = std::make_unique<Worker>();
            Worker& worker = *workers_[i];
            worker.owner = this;
            worker.thread = std::thread([&worker] { worker.owner->work(worker); });
        }
    }
    ~Scheduler() {
        for (auto& worker : workers_) {
            worker->body = nullptr;
            worker->go.release();
            worker->thread.join();
        }
    }
    Scheduler(const Scheduler&) = delete;
    Scheduler& operator=(const Scheduler&) = delete;

    /// Runs the bodies, at most one for each thread, to their ends. A deadlock or livelock is
    /// reported and ends the program.
    void run(const char* name, std::uint64_t seed, std::vector<std::function<void()>> bodies) {
        name_ = name;
        seed_ = seed;
        random_ = Random(seed);
        steps_ = 0;
        by_priority_ = random_.below(4) != 0;
        stay_ = 1 + random_.below(3);
        changes_.clear();
        const std::uint64_t span = std::uint64_t{8} << random_.below(6);
        for (std::uint64_t n = random_.below(4); n > 0; --n)
            changes_.push_back(random_.below(span));
        lowest_ = 0;
        for (std::size_t i = 0; i < bodies.size(); ++i) {
            Worker& worker = *workers_.at(i);
            worker.body = std::move(bodies[i]);
            worker.done = false;
            worker.priority = static_cast<std::int64_t>(1 + random_.below(1U << 30));
        }
        if (Worker* first = choose(nullptr)) {
            first->go.release();
            finished_.acquire();
        }
    }

    /// Another thread may go on here. Without effect in threads that no scheduler runs.
    static void point() noexcept {
        if (self_ != nullptr) self_->owner->step(false);
    }
    /// As point(), in a loop that waits for another thread: the others go first.
    static void spin() noexcept {
        if (self_ != nullptr) self_->owner->step(true);
    }
    /// This thread does not go on before wake(what).
    static void block(const void* what) noexcept {
        if (self_ == nullptr) die("deadlock in a thread that is not scheduled", "?", 0);
        self_->blocked_on = what;
        self_->owner->step(false);
    }
    static void wake(const void* what) noexcept {
        if (self_ == nullptr) return;
        for (auto& worker : self_->owner->workers_)
            if (worker->blocked_on == what) worker->blocked_on = nullptr;
    }

    /// Mutexes that the calling thread holds, and how often it has locked one.
    static int held() noexcept { return held_; }
    static std::uint64_t locked() noexcept { return locked_; }

    [[nodiscard]] std::uint64_t steps() const noexcept { return steps_; }

  private:
    friend class ScheduledMutex;

    struct Worker {
        std::binary_semaphore go{0};
        Scheduler* owner = nullptr;
        std::function<void()> body;
        const void* blocked_on = nullptr;
        std::int64_t priority = 0;
        bool done = true;
        std::thread thread;
    };

    [[noreturn]] static void die(const char* what, const char* name, std::uint64_t seed) noexcept {
        std::fprintf(stderr, "scheduler: %s: %s, COWINDEX_SEED=%llu\n", name, what,
                     static_cast<unsigned long long>(seed));
        std::abort();
    }

    void work(Worker& me) {
        self_ = &me;
        for (;;) {
            me.go.acquire();
            if (me.body == nullptr) return;
            me.body();
            me.done = true;
            Worker* next = choose(nullptr);
            (next == nullptr ? finished_ : next->go).release();
        }
    }

    void step(bool others_first) noexcept {
        Worker& me = *self_;
        if (++steps_ > max_steps) die("no end in sight (livelock?)", name_, seed_);
        for (const std::uint64_t change : changes_)
            if (change == steps_) me.priority = --lowest_;
        if (others_first) me.priority = --lowest_;
        if (!by_priority_ && !others_first && me.blocked_on == nullptr && random_.below(4) < stay_)
            return;
        Worker* next = choose(others_first ? &me : nullptr);
        if (next == nullptr || next == &me) return;
        next->go.release();
        me.go.acquire();
    }

    /// Null when all are done. `last` is taken only if nobody else can go on.
    Worker* choose(Worker* last) noexcept {
        Worker* chosen = nullptr;
        std::uint64_t candidates = 0;
        bool waiting = false;
        for (auto& worker : workers_) {
            if (worker->done) continue;
            waiting = true;
            if (worker->blocked_on != nullptr || worker.get() == last) continue;
            ++candidates;
            if (chosen == nullptr || (by_priority_ ? worker->priority > chosen->priority
                                                   : random_.below(candidates) == 0))
                chosen = worker.get();
        }
        if (chosen == nullptr && last != nullptr) chosen = last;
        if (chosen == nullptr && waiting) die("deadlock", name_, seed_);
        return chosen;
    }

    static constexpr std::uint64_t max_steps = 200'000;

    static inline thread_local Worker* self_ = nullptr;
    static inline thread_local int held_ = 0;
    static inline thread_local std::uint64_t locked_ = 0;

    std::vector<std::unique_ptr<Worker>> workers_;
    std::binary_semaphore finished_{0};
    const char* name_ = "";
    std::uint64_t seed_ = 0;
    Random random_{0};
    std::uint64_t steps_ = 0;
    bool by_priority_ = false;
    std::uint64_t stay_ = 0;             // of four points passed, so many do not ask
    std::vector<std::uint64_t> changes_; // steps at which a thread loses its priority
    std::int64_t lowest_ = 0;
};

/// A mutex for `Policy::Mutex`. Waiting is a matter of the scheduler, so it sees deadlocks. It also
/// serves threads that no scheduler runs, if they take turns.
class ScheduledMutex {
  public:
    void lock() {
        Scheduler::point();
        while (taken_) Scheduler::block(this);
        taken_ = true;
        ++Scheduler::held_;
        ++Scheduler::locked_;
    }
    /// Waits, so that a loop around it does not: for the caller, all went well at once.
    bool try_lock() {
        lock();
        return true;
    }
    void unlock() {
        taken_ = false;
        --Scheduler::held_;
        Scheduler::wake(this);
        Scheduler::point();
    }

  private:
    bool taken_ = false;
};

/// Keeps all threads made in its scope on one processor: handing the baton on is then one switch
/// and not a call across processors, which is several times slower.
class OneProcessor {
  public:
#if defined(__linux__)
    OneProcessor() {
        restore_ = ::sched_getaffinity(0, sizeof before_, &before_) == 0;
        const int here = ::sched_getcpu();
        if (!restore_ || here < 0) return;
        cpu_set_t one;
        CPU_ZERO(&one);
        CPU_SET(static_cast<std::size_t>(here), &one);
        static_cast<void>(::sched_setaffinity(0, sizeof one, &one));
    }
    ~OneProcessor() {
        if (restore_) static_cast<void>(::sched_setaffinity(0, sizeof before_, &before_));
    }
    OneProcessor(const OneProcessor&) = delete;
    OneProcessor& operator=(const OneProcessor&) = delete;

  private:
    cpu_set_t before_;
    bool restore_ = false;
#else
    OneProcessor() {}
#endif
};

} // namespace test
