// Programs of callbacks, at random: whatever an index calls does anything to two indexes, and to
// the very writers, readers and handles whose operations run it, several deep. Reentrancy_test has
// the cases that somebody has thought of. One thread. To repeat a failure, set COWINDEX_SEED to the
// number that it prints.

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <memory>
#include <optional>
#include <random>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include <cowindex/cowindex.hpp>

#include "support/catch.hpp"
#include "support/counting_allocator.hpp"
#include "support/environment.hpp"
#include "support/validate.hpp"

using cowindex::ShardId;

namespace {

// What an index calls. A copy is made in the middle of an operation, whose writer it must not use;
// neither must what measures.
enum class Callback { destructor, copy, function, pressure };

struct Callbacks {
    virtual void called(Callback callback) = 0;
    static inline Callbacks* listener = nullptr;
    static void call(Callback callback) {
        if (listener != nullptr) listener->called(callback);
    }

  protected:
    ~Callbacks() = default;
};

struct Shard {
    explicit Shard(int its_value = 0, bool is_armed = false, std::size_t its_bytes = 0)
        : value(its_value), armed(is_armed), bytes(its_bytes) {}
    Shard(const Shard& other) : value(other.value), bytes(other.bytes) {}
    Shard(Shard&& other)
        : value(other.value), armed(std::exchange(other.armed, false)), bytes(other.bytes) {
        Callbacks::call(Callback::copy);
    }
    Shard& operator=(const Shard& other) {
        value = other.value;
        bytes = other.bytes;
        return *this;
    }
    ~Shard() {
        if (std::exchange(armed, false)) Callbacks::call(Callback::destructor);
    }

    int value;
    bool armed = false;
    std::size_t bytes; // what it says that it owns
};

template <class Self>
struct CallingPolicy : cowindex::DefaultPolicy<Shard> {
    using Allocator = test::CountingAllocator<std::byte>;
    static Shard clone(const Shard& shard) {
        Callbacks::call(Callback::copy);
        return Shard(shard);
    }
    static std::size_t bytes(const Shard& shard) {
        Callbacks::call(Callback::copy);
        return sizeof(Shard) + shard.bytes;
    }
    static void back_off(int) noexcept {}
};
struct Cloning : CallingPolicy<Cloning> {};
struct Assigning : CallingPolicy<Assigning> {
    static void assign(Shard& retired, const Shard& shard) {
        Callbacks::call(Callback::copy);
        retired = shard;
    }
};

struct Thrown : std::runtime_error {
    Thrown() : std::runtime_error("thrown by a callback") {}
};

// Sets a variable for the length of a scope.
template <class T>
class Set {
  public:
    Set(T& variable, T value) : variable_(variable), before_(std::exchange(variable, value)) {}
    ~Set() { variable_ = before_; }
    Set(const Set&) = delete;
    Set& operator=(const Set&) = delete;

  private:
    T& variable_;
    T before_;
};

template <class Policy>
class World final : Callbacks {
  public:
    using Index = cowindex::CowIndex<Shard, Policy>;
    using Writer = typename Index::Writer;

    explicit World(std::uint64_t seed)
        : random_(seed), may_throw_(one_in(2)), may_end_(one_in(2)), runs_out_(one_in(2)),
          exact_(one_in(2)), alone_(one_in(3)) {
        for (Place& place : places_) {
            if (!one_in(3)) {
                auto& budget = place.options.budget;
                budget.soft_bytes = 1 + below(12000);
                if (one_in(2)) budget.hard_bytes = budget.soft_bytes + below(12000);
                budget.on_pressure = [](const auto&) { call(Callback::pressure); };
            }
            fill(place);
        }
        listener = this;
    }
    World(const World&) = delete;
    World& operator=(const World&) = delete;
    ~World() {
        // In a random order; half of the time what ends may still act.
        if (one_in(2)) listener = nullptr;
        left_ = 30;
        std::array<int, 8> order{0, 1, 2, 3, 4, 5, 6, 7};
        std::shuffle(order.begin(), order.end(), random_);
        for (const int part : order) end(part);
        listener = nullptr;
        for (const int part : order) end(part); // what was made meanwhile
        enough_memory();
    }

    // One action, with all that its callbacks do, and a look at everything.
    void step() {
        left_ = 40;
        try_to_act();
        REQUIRE(depth_ == 0);
        enough_memory();
        const Set silent(listener, static_cast<Callbacks*>(nullptr));
        std::size_t open = 0;
        for (const auto& writer : writers_)
            if (writer.has_value() && writer->id_bound() != 0) ++open; // not one moved from
        std::size_t pending = 0;
        std::size_t total = 0;
        for (Place& place : places_) {
            if (!place.index.has_value()) {
                fill(place); // some other handle's work is lost
                continue;
            }
            look_at(place);
            pending += place.index->metrics().pending_writers;
            total += place.index->memory_usage().total_bytes();
        }
        if (ended_) return; // some writer's index has no handle here any more
        REQUIRE(pending == open);
        if (exact_) REQUIRE(total == Allocator::common().live_bytes);
    }

    [[nodiscard]] std::uint64_t actions() const { return actions_; }

  private:
    using Allocator = typename Policy::Allocator;
    static constexpr ShardId counted = 4; // the ids below count the updates that have succeeded

    struct Place {
        typename Index::Options options;
        std::optional<Index> index;
        std::array<int, counted> updates{};
        int life = 0;      // which index it is that is here
        bool known = true; // no assign() has overwritten the counts
    };

    static void enough_memory() { Allocator::common().refuse_from = ~std::uint64_t{0}; }

    std::size_t below(std::size_t bound) { return random_() % bound; }
    bool one_in(std::size_t n) { return below(n) == 0; }

    static void fill(Place& place) {
        place.index.emplace(30, [](ShardId) { return Shard(); }, place.options);
        place.updates = {};
        place.known = true;
        ++place.life;
    }

    static void look_at(Place& place) {
        const std::string wrong = test::validate(*place.index);
        REQUIRE(wrong == "");
        const auto snapshot = place.index->snapshot();
        for (ShardId id = 0; place.known && id < counted; ++id)
            REQUIRE(snapshot[id].value == place.updates[id]); // none lost, none twice
        auto& core = test::TestAccess::core(*place.index);
        REQUIRE_FALSE(test::TestAccess::updating(core));
        for (const auto* batch :
             {test::TestAccess::open_batches(core), test::TestAccess::idle_batches(core)}) {
            for (; batch != nullptr; batch = batch->next) {
                REQUIRE_FALSE((batch->busy || batch->closing));
                REQUIRE(batch->unlinked.read() == 0);
                std::size_t uncommitted = 0;
                for (const auto& change : batch->changes)
                    if (change.after != nullptr) uncommitted += change.after->bytes();
                REQUIRE(batch->uncommitted.read() == uncommitted);
            }
        }
    }

    void end(int part) {
        if (part < 4)
            let_go_of(writers_[static_cast<std::size_t>(part)]);
        else if (part < 6)
            let_go_of(places_[static_cast<std::size_t>(part - 4)].index);
        else if (part == 6)
            let_go_of(reader_);
        else
            for (auto& snapshot : snapshots_) snapshot = {};
    }

    // ---- callbacks -----------------------------------------------------------------------------

    void called(Callback callback) override {
        static constexpr int deepest = 4;
        if (depth_ == deepest || left_ == 0) return;
        const bool copying = callback == Callback::copy;
        {
            const Set deeper(depth_, depth_ + 1);
            const Set in_copy(copying_, copying_ || copying);
            for (std::size_t n = one_in(3) ? 1 + below(3) : 0; n > 0 && left_ > 0; --n) {
                --left_;
                try_to_act();
            }
        }
        if (callback != Callback::destructor && may_throw_ && one_in(20)) throw Thrown();
    }

    void try_to_act() {
        try {
            act();
        } catch (const Thrown&) {
        } catch (const std::bad_alloc&) {
        } catch (const std::logic_error&) {        // moved from, nested, absent, present
        } catch (const cowindex::ConflictError&) { // names them
        } catch (const cowindex::MemoryBudgetError&) {
        }
    }

    // ---- actions -------------------------------------------------------------------------------

    void act() {
        ++actions_;
        if (runs_out_ && one_in(6)) {
            auto& account = Allocator::common();
            account.refuse_from = account.allocations + below(12);
            account.refuse_until = account.refuse_from + 1;
        }
        Place& place = places_[below(places_.size())];
        if (!place.index.has_value()) return;
        if (copying_ || one_in(2))
            act_on_index(place);
        else if (one_in(6))
            act_on_update(place);
        else if (!alone_)
            act_on_writer(*place.index);
        else if (updating_ != nullptr)
            act_on_running_update(writers_[0], *updating_);
    }

    // A handle may go while its own operation runs.
    void act_on_index(Place& place) {
        Index& index = *place.index;
        switch (below(13)) {
        case 0: index.replace(some_id(), some_shard()); break;
        case 1:
        case 2:
            count(place, [&](ShardId id) {
                index.edit(id, [&](Shard& shard) {
                    ++shard.value;
                    if (one_in(3)) call(Callback::function);
                });
            });
            break;
        case 3:
            count(place, [&](ShardId id) {
                index.update([&](Writer& writer) {
                    for (std::size_t n = below(4); n > 0; --n)
                        writer.replace(some_id(), some_shard());
                    ++writer.edit(id).value;
                    const Set hidden(updating_,
                                     static_cast<Writer*>(nullptr)); // or it would be undone
                    call(Callback::function);
                });
            });
            break;
        case 4: index.append(some_shard()); break;
        case 5: index.reclaim(); break;
        case 6: index.erase(some_id()); break;
        case 7:
            if (!alone_) let_go_of(snapshots_[below(2)], index.snapshot(one_in(2) ? "kept" : ""));
            break;
        case 8: let_go_of(snapshots_[below(2)], {}); break;
        case 9:
            static_cast<void>(index.memory_usage());
            static_cast<void>(index.pins());
            static_cast<void>(index.metrics());
            break;
        case 10: {
            std::optional<typename Index::Reader> other;
            if (!reader_.has_value() && !alone_) other.emplace(index.reader("reading"));
            reader_.swap(other);
            break;
        }
        case 11:
            if (may_end_ && one_in(6)) {
                ended_ = true;
                ++place.life;
                let_go_of(place.index);
            }
            break;
        default: {
            if (!one_in(4)) break;
            std::vector<Shard> shards;
            shards.reserve(8);
            for (int n = 0; n < 8; ++n) shards.emplace_back(n, one_in(2));
            place.known = false; // also if it throws
            index.assign(std::move(shards));
        }
        }
    }

    void act_on_writer(Index& index) {
        auto& slot = writers_[below(writers_.size())];
        if (!slot.has_value() || one_in(12)) {
            std::optional<Writer> other(index.writer(one_in(2) ? "writing" : ""));
            slot.swap(other); // what was there may come back in its own end
            return;
        }
        Writer& writer = *slot;
        const ShardId id = some_id();
        switch (below(18)) {
        case 0: let_go_of(slot); break;
        case 1:
        case 2: writer.replace(id, some_shard()); break;
        case 3: {
            const Set in_copy(copying_, true);
            writer.edit(id).value = 1;
            break;
        }
        case 4: writer.append(some_shard()); break;
        case 5: writer.erase(id); break;
        case 6: writer.revert(id); break;
        case 7:
        case 8: static_cast<void>(writer.try_commit()); break;
        case 9: writer.commit(); break;
        case 10: writer.commit_for(std::chrono::microseconds(below(200))); break;
        case 11: writer.discard(); break;
        case 12: writer.rebase(); break;
        case 13: move_to(writers_[below(writers_.size())], writer); break;
        case 14:
            writer.insert(1000 + 7000 * below(50), some_shard());
            if (one_in(2)) writer.erase(1000 + 7000 * below(50));
            break;
        case 15:
            writer.require(id);
            if (one_in(8)) writer.require_all();
            break;
        case 16: { // nodes for nothing
            const ShardId first = 200000 + 12800 * below(100);
            for (ShardId n = 0; n < 40; ++n) writer.insert(first + 64 * n, Shard());
            for (ShardId n = 0; n < 40; ++n) writer.erase(first + 64 * n);
            break;
        }
        default:
            if (updating_ != nullptr) act_on_running_update(slot, *updating_);
        }
    }

    // An update whose callbacks get at its writer.
    void act_on_update(Place& place) {
        auto& slot = writers_[below(writers_.size())];
        const std::size_t way = below(6);
        const Set found(updating_, updating_); // for as long as the update goes on
        place.index->update([&](Writer& writer) {
            updating_ = way < 2 ? &writer : nullptr;
            for (std::size_t n = below(4); n > 0; --n) writer.replace(some_id(), some_shard());
            call(Callback::function);
            switch (way) {
            case 0: writer.append(some_shard()); break;
            case 2:
                if (slot.has_value()) writer = std::move(*slot);
                break;
            case 3:
                if (!alone_) move_to(slot, writer);
                break;
            case 4: {
                Writer moved(std::move(writer));
                writer = std::move(moved);
                break;
            }
            case 5: static_cast<void>(writer.try_commit()); break;
            default: break;
            }
        });
    }

    void act_on_running_update(std::optional<Writer>& slot, Writer& writer) {
        switch (below(7)) {
        case 0: writer.replace(some_id(), some_shard()); break;
        case 1: static_cast<void>(writer.try_commit()); break;
        case 2: writer.commit_for(std::chrono::microseconds(50)); break;
        case 3: writer.discard(); break;
        case 4:
            if (!alone_) move_to(slot, writer);
            break;
        case 5:
            if (slot.has_value()) writer = std::move(*slot);
            break;
        default: const Writer ended(std::move(writer));
        }
    }

    // ---- parts of actions ----------------------------------------------------------------------

    ShardId some_id() { return counted + below(30); }
    Shard some_shard() { return Shard(7, one_in(2), exact_ ? 0 : below(300)); }

    template <class Write>
    void count(Place& place, Write write) {
        const ShardId id = below(counted);
        const int life = place.life;
        write(id);
        if (life == place.life) ++place.updates[id];
    }

    // The old one ends last: its end may come back here.
    template <class T>
    static void let_go_of(T& variable, T other) {
        std::swap(variable, other);
    }

    // The same; an optional may say that it has a value until the value's end is over.
    template <class T>
    static void let_go_of(std::optional<T>& variable) {
        std::optional<T> ended;
        variable.swap(ended);
    }

    static void move_to(std::optional<Writer>& slot, Writer& writer) {
        if (slot.has_value())
            *slot = std::move(writer);
        else
            slot.emplace(std::move(writer));
    }

    std::mt19937_64 random_;
    const bool may_throw_;
    const bool may_end_;  // a callback may end the last handle
    const bool runs_out_; // of memory, now and then
    const bool exact_;    // shards own nothing, so the accounts are what is allocated
    const bool alone_;    // nothing is kept besides the handles, which are the last users then
    std::array<Place, 2> places_;
    std::array<std::optional<Writer>, 4> writers_;
    std::array<typename Index::Snapshot, 2> snapshots_;
    std::optional<typename Index::Reader> reader_;
    Writer* updating_ = nullptr; // that of an update that runs
    int depth_ = 0;
    int left_ = 0;
    bool copying_ = false;
    bool ended_ = false;
    std::uint64_t actions_ = 0;
};

template <class Policy>
std::uint64_t run(std::uint64_t seed) {
    INFO("COWINDEX_SEED=" << seed);
    std::uint64_t actions = 0;
    {
        World<Policy> world(seed);
        for (int step = 0; step < 60; ++step) world.step();
        actions = world.actions();
    }
    REQUIRE(Policy::Allocator::common().live_objects == 0);
    return actions;
}

} // namespace

TEMPLATE_TEST_CASE("whatever callbacks do, nothing is lost, used after its end, or miscounted", "",
                   Cloning, Assigning) {
    const std::uint64_t seed = test::number_from_environment("COWINDEX_SEED", 0);
    if (seed != 0) {
        run<TestType>(seed);
        return;
    }
    const std::uint64_t programs = test::number_from_environment("COWINDEX_PROGRAMS", 1500);
    std::uint64_t actions = 0;
    for (std::uint64_t program = 1; program <= programs; ++program)
        actions += run<TestType>(program);
    REQUIRE(actions > 60 * programs);
}
