/// One history of an index, told by a string of bytes, next to a simple model that predicts each
/// result, each conflict and each refusal. Whatever the bytes, the index must do as the model says.
///
/// The index is looked at from the inside after each step (support/validate.hpp). Nothing that
/// settles the index is called but where the bytes say so: versions stay superseded, pinned, owned
/// or half dropped for as long as the history wants.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <new>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include <cowindex/cowindex.hpp>

#include "support/counting_allocator.hpp"
#include "support/validate.hpp"

namespace fuzz {

using cowindex::ShardId;
using cowindex::Version;

/// Ends the program: a fuzzer and a test that replays both notice.
[[noreturn]] inline void fail(const char* what, const char* file, int line) {
    std::fprintf(stderr, "%s:%d: not so: %s\n", file, line, what);
    std::abort();
}
#define FUZZ_CHECK(...) \
    ((__VA_ARGS__) ? static_cast<void>(0) : ::fuzz::fail(#__VA_ARGS__, __FILE__, __LINE__))

/// Bytes, then zeros for ever.
class Input {
  public:
    Input(const std::uint8_t* data, std::size_t size) : data_(data), left_(size) {}

    [[nodiscard]] bool empty() const { return left_ == 0; }
    std::uint8_t byte() {
        if (left_ == 0) return 0;
        --left_;
        return *data_++;
    }
    std::size_t below(std::size_t bound) { return byte() % bound; }

  private:
    const std::uint8_t* data_;
    std::size_t left_;
};

/// Each write makes a stamp of its own. The weight is memory that a shard claims to own.
struct Cell {
    Cell() = default;
    Cell(std::uint64_t its_stamp, std::size_t its_weight) : stamp(its_stamp) { weigh(its_weight); }
    Cell(const Cell& other) : Cell(other.stamp, other.weight) {}
    Cell(Cell&& other) noexcept : Cell(other.stamp, other.weight) {}
    Cell& operator=(const Cell&) = delete;
    ~Cell() { claimed -= weight; }

    void weigh(std::size_t heavier) {
        claimed += heavier - weight;
        weight = heavier;
    }

    std::uint64_t stamp = 0;
    std::size_t weight = 0;

    static inline std::size_t claimed = 0; ///< by all cells there are
    static inline std::uint64_t clones = 0;
};

struct Policy : cowindex::DefaultPolicy<Cell> {
    using Allocator = test::CountingAllocator<std::byte>;

    static Cell clone(const Cell& cell) {
        ++Cell::clones;
        return Cell(cell);
    }
    static std::size_t bytes(const Cell& cell) { return sizeof(Cell) + cell.weight; }

    // A commit looks for pins after few versions, so that short histories see it happen.
    static constexpr std::size_t barrier_min_versions = 2;
    static constexpr std::size_t barrier_max_versions = 4;

    static void back_off(int) noexcept {} // there is nobody to wait for
};

using Index = cowindex::CowIndex<Cell, Policy>;
using Core = cowindex::detail::Core<Cell, Policy>;

struct Entry {
    ShardId id;
    std::uint64_t stamp;
    bool operator==(const Entry&) const = default;
};

/// What one version holds, ascending.
struct State {
    Version version = 0;
    std::vector<Entry> entries;
    ShardId id_bound = 0;

    [[nodiscard]] std::vector<Entry>::const_iterator seek(ShardId id) const {
        return std::lower_bound(entries.begin(), entries.end(), id,
                                [](const Entry& entry, ShardId key) { return entry.id < key; });
    }
    /// 0 where the id is absent.
    [[nodiscard]] std::uint64_t stamp(ShardId id) const {
        const auto it = seek(id);
        return it == entries.end() || it->id != id ? 0 : it->stamp;
    }
    /// 0 erases.
    void set(ShardId id, std::uint64_t stamp) {
        const auto it = entries.begin() + (seek(id) - entries.begin());
        const bool present = it != entries.end() && it->id == id;
        if (stamp == 0) {
            if (present) entries.erase(it);
            return;
        }
        if (present)
            it->stamp = stamp;
        else
            entries.insert(it, {id, stamp});
        id_bound = std::max(id_bound, id + 1);
    }
};
using StatePtr = std::shared_ptr<const State>;

struct ModelWriter {
    explicit ModelWriter(Index::Writer its_writer, StatePtr its_base)
        : writer(std::move(its_writer)), base(std::move(its_base)), shown(*base) {}

    [[nodiscard]] bool changes(ShardId id) const {
        return std::find(changed.begin(), changed.end(), id) != changed.end();
    }
    [[nodiscard]] ShardId settled_bound() const {
        ShardId bound = base->id_bound;
        for (const ShardId id : changed)
            if (shown.stamp(id) != 0) bound = std::max(bound, id + 1);
        return bound;
    }
    void rest(const StatePtr& on) {
        base = on;
        shown = *on;
        changed.clear();
        required.clear();
        require_all = false;
        cell = nullptr;
    }
    void change(ShardId id, std::uint64_t stamp) {
        if (!changes(id)) changed.push_back(id);
        shown.set(id, stamp);
        if (cell_id == id) cell = nullptr;
    }
    void unchange(ShardId id) {
        std::erase(changed, id);
        const ShardId bound = shown.id_bound;
        shown.set(id, base->stamp(id));
        shown.id_bound = bound; // known to fall at the next commit or rebase only
        if (cell_id == id) cell = nullptr;
    }

    Index::Writer writer;
    StatePtr base;
    State shown; ///< what the writer itself sees
    std::vector<ShardId> changed;
    std::vector<ShardId> required;
    bool require_all = false;
    Cell* cell = nullptr; ///< a reference that edit() returned and that is still valid
    ShardId cell_id = 0;
};

struct ModelReader {
    std::optional<Index::Reader> reader;
    std::vector<Index::View> views;
    StatePtr pinned;
};

class History {
  public:
    History(const std::uint8_t* data, std::size_t size) : input_(data, size) {}

    void run() {
        begin();
        for (int steps = 0; steps < 200 && !input_.empty(); ++steps) {
            step();
            check();
        }
        end();
    }

  private:
    static constexpr ShardId dense[] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11};
    static constexpr ShardId edges[] = {
        0, 1, 62, 63, 64, 65, 127, 128, 8191, 8192, 8193, 1U << 20, (1U << 20) - 1};
    static constexpr ShardId wide[] = {0,
                                       63,
                                       64,
                                       8192,
                                       (ShardId{1} << 27) - 1,
                                       ShardId{1} << 27,
                                       ShardId{1} << 62,
                                       (ShardId{1} << 63) - 1,
                                       ShardId{1} << 63,
                                       ~ShardId{0} - 2,
                                       ~ShardId{0} - 1,
                                       ~ShardId{0}};
    static constexpr std::size_t most_shards = 24;
    static constexpr Version last_version = ~Version{0} - 1;

    using Held = std::pair<Index::Snapshot, StatePtr>;
    using Share = std::pair<std::shared_ptr<const Cell>, std::uint64_t>;

    // ---- beginning and end -----------------------------------------------------------------

    void begin() {
        const std::uint8_t shape = input_.byte();
        ids_ = shape % 3 == 0   ? Ids{dense, std::size(dense)}
               : shape % 3 == 1 ? Ids{edges, std::size(edges)}
                                : Ids{wide, std::size(wide)};
        cowindex::Options<Policy> options;
        options.allocator = test::CountingAllocator<std::byte>(account_);
        options.time_every = 1;
        options.first_version = (shape & 0x40) != 0 ? last_version - 5 : 0;
        const std::size_t count = shape / 3 % 5;
        auto first = std::make_shared<State>();
        first->version = options.first_version;
        if ((shape & 0x80) != 0) {
            hard_ = sizeof(Core::Record) + 12000 + 100 * std::size_t{input_.byte()};
            soft_ = hard_ - 20 * std::size_t{input_.byte()};
            options.budget.hard_bytes = hard_;
            options.budget.soft_bytes = soft_;
            options.budget.on_pressure = [this](const cowindex::MemoryStats&) { ++pressed_; };
        }
        index_.emplace(count, [&](ShardId) { return Cell(fresh(), 0); }, options);
        for (ShardId id = 0; id < count; ++id) first->set(id, id + 1);
        sequence_ = count;
        latest_ = std::move(first);
        core_ = &cowindex::detail::TestAccess::core(*index_);
        inside_.emplace(*core_);
    }

    // Lets go of everything in an order that the bytes choose, and looks whether anything is left.
    void end() {
        for (std::size_t round = 0;; ++round) {
            if (!index_ && writers_.empty() && readers_.empty() && held_.empty() && shares_.empty())
                break;
            switch ((input_.byte() + round) % 4) {
            case 0: index_.reset(); break;
            case 1:
                while (!writers_.empty()) drop_writer();
                break;
            case 2:
                while (!readers_.empty()) drop_reader();
                break;
            default:
                held_.clear();
                shares_.clear();
                weak_.reset();
            }
            for (const Held& held : held_) same(held.first, *held.second);
            for (const Share& share : shares_) FUZZ_CHECK(share.first->stamp == share.second);
        }
        weak_.reset();
        FUZZ_CHECK(account_.live_bytes == 0);
        FUZZ_CHECK(account_.live_objects == 0);
        FUZZ_CHECK(!account_.mismatched && !account_.misaligned);
        FUZZ_CHECK(Cell::claimed == 0);
    }

    [[nodiscard]] std::size_t users() const {
        return (index_ ? 1 : 0) + writers_.size() + readers_.size();
    }

    // ---- steps -----------------------------------------------------------------------------

    void step() {
        const std::uint8_t what = input_.byte();
        // Now and then memory runs out during the step.
        const bool starve = (what & 0xC0) == 0xC0;
        if (starve) {
            account_.refuse_from = account_.allocations + input_.below(6);
            account_.refuse_until = account_.refuse_from + 1 + input_.below(2) * 1000;
        }
        try {
            perform(what & 0x3F);
        } catch (const std::bad_alloc&) {
            FUZZ_CHECK(starve); // the model was not told: the index must be as before
        }
        account_.refuse_from = account_.refuse_until = ~std::uint64_t{0};
    }

    void perform(unsigned what) {
        switch (what % 32) {
        case 0: open_writer(); break;
        case 1: drop_writer(); break;
        case 2:
        case 3:
        case 4: writer_edit(); break;
        case 5: writer_write_through(); break;
        case 6: writer_replace(); break;
        case 7:
        case 8: writer_insert(); break;
        case 9: writer_append(); break;
        case 10:
        case 11: writer_erase(); break;
        case 12: writer_revert(); break;
        case 13: writer_require(); break;
        case 14:
        case 15:
        case 16: writer_commit(); break;
        case 17: writer_rebase(); break;
        case 18: writer_discard(); break;
        case 19: one_line_write(); break;
        case 20: update(); break;
        case 21: assign(); break;
        case 22: snapshots(); break;
        case 23: shares(); break;
        case 24:
        case 25: readers(); break;
        case 26: moves(); break;
        case 27: reclaim(); break;
        case 28: look_in(); break;
        case 29: compare(); break;
        case 30: handles(); break;
        default: read_all();
        }
    }

    std::uint64_t fresh() { return ++last_stamp_; }
    std::size_t weight() { return hard_ == 0 ? 0 : 16 * std::size_t{input_.byte()}; }
    ShardId some_id() { return ids_.first[input_.below(ids_.count)]; }

    template <class List>
    auto& some(List& list) {
        return list[input_.below(list.size())];
    }

    template <class Exception, class Fn>
    static void must_throw(Fn&& fn) {
        try {
            fn();
        } catch (const Exception&) {
            return;
        }
        fail("this must throw", __FILE__, __LINE__);
    }

    void open_writer() {
        if (!index_ || writers_.size() >= 4) return;
        writers_.push_back(std::make_unique<ModelWriter>(
            index_->writer(input_.below(2) == 0 ? "" : "w"), latest_));
    }

    void drop_writer() {
        if (writers_.empty()) return;
        const std::size_t at = input_.below(writers_.size());
        if (!writers_[at]->changed.empty()) ++discards_;
        writers_.erase(writers_.begin() + static_cast<std::ptrdiff_t>(at));
    }

    [[nodiscard]] ModelWriter* some_writer() {
        if (writers_.empty()) open_writer();
        return writers_.empty() ? nullptr : some(writers_).get();
    }

    void writer_edit() {
        ModelWriter* model = some_writer();
        if (model == nullptr) return;
        const ShardId id = some_id();
        if (model->shown.stamp(id) == 0)
            return must_throw<std::out_of_range>([&] { model->writer.edit(id); });
        const std::uint64_t clones = Cell::clones;
        Cell& cell = model->writer.edit(id);
        FUZZ_CHECK(cell.stamp == model->shown.stamp(id));
        const bool own = model->changes(id);
        FUZZ_CHECK(Cell::clones == clones + (own ? 0 : 1));
        cell.stamp = fresh();
        cell.weigh(weight());
        model->change(id, cell.stamp);
        model->cell = &cell;
        model->cell_id = id;
    }

    void writer_write_through() {
        ModelWriter* model = some_writer();
        if (model == nullptr) return;
        if (model->cell == nullptr) return writer_edit_all(*model, last_stamp_);
        FUZZ_CHECK(model->cell->stamp == model->shown.stamp(model->cell_id));
        model->cell->stamp = fresh();
        model->shown.set(model->cell_id, model->cell->stamp);
    }

    // A large batch: it is replayed before the lock is taken.
    static void writer_edit_all(ModelWriter& model, std::uint64_t& last_stamp) {
        const std::vector<Entry> entries = model.shown.entries;
        for (const Entry& entry : entries) {
            Cell& cell = model.writer.edit(entry.id);
            cell.stamp = ++last_stamp;
            model.change(entry.id, cell.stamp);
        }
    }

    void writer_replace() {
        ModelWriter* model = some_writer();
        if (model == nullptr) return;
        const ShardId id = some_id();
        Cell cell(fresh(), weight());
        if (model->shown.stamp(id) == 0) {
            must_throw<std::out_of_range>([&] { model->writer.replace(id, std::move(cell)); });
            return;
        }
        model->writer.replace(id, Cell(cell));
        model->change(id, cell.stamp);
    }

    void writer_insert() {
        ModelWriter* model = some_writer();
        if (model == nullptr || model->shown.entries.size() >= most_shards) return;
        const ShardId id = some_id();
        Cell cell(fresh(), weight());
        if (id == ~ShardId{0})
            return must_throw<std::length_error>([&] { model->writer.insert(id, Cell(cell)); });
        if (model->shown.stamp(id) != 0)
            return must_throw<std::invalid_argument>([&] { model->writer.insert(id, Cell(cell)); });
        model->writer.insert(id, Cell(cell));
        model->change(id, cell.stamp);
        sequence_ = std::max(sequence_, id + 1);
    }

    // The next id of the sequence: used up even by an append that fails.
    [[nodiscard]] ShardId take_id() {
        // An assign() that has failed may have reserved some ids, behind which this one is then.
        if (sequence_most_ > sequence_) ++sequence_most_;
        return std::exchange(sequence_, sequence_ == ~ShardId{0} ? sequence_ : sequence_ + 1);
    }
    void check_appended(ShardId id, ShardId expected) {
        FUZZ_CHECK(id >= expected && id <= std::max(expected, sequence_most_));
        sequence_ = id + 1;
    }

    void writer_append() {
        ModelWriter* model = some_writer();
        if (model == nullptr || model->shown.entries.size() >= most_shards) return;
        const std::uint64_t stamp = fresh();
        const std::size_t heavy = weight();
        const ShardId expected = take_id();
        if (expected == ~ShardId{0})
            return must_throw<std::length_error>(
                [&] { static_cast<void>(model->writer.append(Cell(stamp, heavy))); });
        const ShardId id = model->writer.append(Cell(stamp, heavy));
        check_appended(id, expected);
        model->change(id, stamp);
    }

    void writer_erase() {
        ModelWriter* model = some_writer();
        if (model == nullptr) return;
        const ShardId id = some_id();
        if (model->shown.stamp(id) == 0)
            return must_throw<std::out_of_range>([&] { model->writer.erase(id); });
        model->writer.erase(id);
        if (model->base->stamp(id) != 0)
            model->change(id, 0);
        else
            model->unchange(id);
    }

    void writer_revert() {
        ModelWriter* model = some_writer();
        if (model == nullptr) return;
        const ShardId id =
            model->changed.empty() || input_.below(4) == 0 ? some_id() : some(model->changed);
        model->writer.revert(id);
        if (model->changes(id)) model->unchange(id);
        std::erase(model->required, id);
    }

    void writer_require() {
        ModelWriter* model = some_writer();
        if (model == nullptr) return;
        if (input_.below(12) == 0) {
            model->writer.require_all();
            model->require_all = true;
            return;
        }
        const ShardId id = some_id();
        if (model->shown.stamp(id) == 0)
            return must_throw<std::out_of_range>([&] { model->writer.require(id); });
        model->writer.require(id);
        if (model->base->stamp(id) != 0) model->required.push_back(id);
    }

    // ---- committing --------------------------------------------------------------------------

    [[nodiscard]] std::vector<ShardId> conflicts_of(const ModelWriter& model) const {
        std::vector<ShardId> ids;
        if (model.base == latest_) return ids;
        const auto look = [&](ShardId id) {
            if (latest_->stamp(id) != model.base->stamp(id)) ids.push_back(id);
        };
        if (model.require_all) {
            for (const Entry& entry : latest_->entries) look(entry.id);
            for (const Entry& entry : model.base->entries) look(entry.id);
        } else {
            for (const ShardId id : model.changed) look(id);
            for (const ShardId id : model.required) look(id);
        }
        std::sort(ids.begin(), ids.end());
        ids.erase(std::unique(ids.begin(), ids.end()), ids.end());
        return ids;
    }

    [[nodiscard]] std::shared_ptr<State> next_state() const {
        auto next = std::make_shared<State>(*latest_);
        ++next->version;
        return next;
    }
    void publish(std::shared_ptr<State> next) {
        latest_ = std::move(next);
        ++commits_;
        if (hard_ != 0) check_budget();
    }
    void publish(ModelWriter& model) {
        auto next = next_state();
        for (const ShardId id : model.changed) next->set(id, model.shown.stamp(id));
        publish(std::move(next));
        model.rest(latest_);
    }

    // Committed: what is left when everything that nobody holds is gone fits.
    void check_budget() {
        core_->reclaim();
        const auto stats = core_->memory_usage();
        FUZZ_CHECK(stats.live_bytes + stats.retained_bytes <= hard_);
    }
    // Refused: it would not have fitted beside what is held now.
    void check_refusal(ModelWriter& model) {
        FUZZ_CHECK(hard_ != 0);
        const auto stats = core_->memory_usage();
        const std::size_t beside = stats.live_bytes + stats.retained_bytes +
                                   stats.reclaimable_bytes + sizeof(Core::Record);
        if (beside + model.writer.memory_overhead() > hard_) return;
        // Replayed on the latest version it may have taken more nodes than it has on its own.
        FUZZ_CHECK(model.base != latest_);
        rebase(model);
        FUZZ_CHECK(beside + model.writer.memory_overhead() > hard_);
    }
    [[nodiscard]] bool exhausted() const { return latest_->version == last_version; }

    // What a commit has measured is of the size that it says; vain growth is forgotten.
    static void settle(ModelWriter& model) { model.shown.id_bound = model.settled_bound(); }

    void writer_commit() {
        ModelWriter* model = some_writer();
        if (model == nullptr) return;
        const std::uint8_t how = input_.byte();
        if (model->changed.empty()) {
            const auto result = model->writer.try_commit();
            FUZZ_CHECK(result.status() == cowindex::CommitStatus::unchanged);
            FUZZ_CHECK(result.version() == latest_->version);
            return;
        }
        const bool outdated = model->base != latest_;
        const std::vector<ShardId> expected = conflicts_of(*model);
        const bool conflict = outdated && (model->require_all || !expected.empty());
        const Version base = model->base->version;
        const bool settled = model->settled_bound() == model->writer.id_bound();
        try {
            if (exhausted()) {
                must_throw<std::overflow_error>([&] { model->writer.commit(); });
                settle(*model);
                return;
            }
            if (how % 2 == 0) {
                const auto result = model->writer.try_commit();
                settle(*model);
                switch (result.status()) {
                case cowindex::CommitStatus::committed:
                    FUZZ_CHECK(!conflict);
                    FUZZ_CHECK(result.version() == latest_->version + 1);
                    return publish(*model);
                case cowindex::CommitStatus::conflict:
                    FUZZ_CHECK(conflict && result.conflicts() == expected);
                    ++conflicts_;
                    break;
                case cowindex::CommitStatus::over_budget: check_refusal(*model); break;
                default: fail("something was to be published", __FILE__, __LINE__);
                }
                FUZZ_CHECK(result.version() == base);
                return;
            }
            try {
                const Version version = how % 4 == 1
                                            ? model->writer.commit()
                                            : model->writer.commit_for(std::chrono::seconds(0));
                settle(*model);
                FUZZ_CHECK(!conflict && version == latest_->version + 1);
                publish(*model);
            } catch (const cowindex::ConflictError& error) {
                settle(*model);
                FUZZ_CHECK(conflict && error.shards() == expected);
                ++conflicts_;
            } catch (const cowindex::MemoryBudgetError& error) {
                settle(*model);
                FUZZ_CHECK(error.budget_bytes() == hard_ && error.needed_bytes() > hard_);
                check_refusal(*model);
            }
        } catch (const std::bad_alloc&) {
            if (!settled && model->writer.id_bound() == model->settled_bound()) settle(*model);
            throw;
        }
    }

    void writer_rebase() {
        ModelWriter* model = some_writer();
        if (model == nullptr) return;
        if (model->base == latest_) return model->writer.rebase();
        const std::vector<ShardId> expected = conflicts_of(*model);
        if (model->require_all || !expected.empty()) {
            try {
                model->writer.rebase();
            } catch (const cowindex::ConflictError& error) {
                FUZZ_CHECK(error.shards() == expected);
                return;
            }
            fail("a conflict was not seen", __FILE__, __LINE__);
        }
        rebase(*model);
    }
    // Precondition: without conflict.
    void rebase(ModelWriter& model) {
        model.writer.rebase();
        State shown = *latest_;
        for (const ShardId id : model.changed) shown.set(id, model.shown.stamp(id));
        model.base = latest_;
        model.shown = std::move(shown);
        settle(model);
    }

    void writer_discard() {
        ModelWriter* model = some_writer();
        if (model == nullptr) return;
        if (!model->changed.empty()) ++discards_;
        model->writer.discard();
        model->rest(latest_);
    }

    // Runs `fn`, which writes and commits by itself. Returns false where that was refused.
    // `edited` says whether the writer inside has had changes to discard then.
    template <class Fn>
    bool write(const bool& edited, Fn&& fn) {
        try {
            fn();
            FUZZ_CHECK(!exhausted());
            return true;
        } catch (const cowindex::MemoryBudgetError&) {
            FUZZ_CHECK(hard_ != 0 && !exhausted());
        } catch (const std::overflow_error&) {
            FUZZ_CHECK(exhausted());
        } catch (const std::bad_alloc&) {
            // It may have been before or after the edit.
            if (edited) ++discards_unsure_;
            ++losses_unsure_;
            throw;
        }
        ++discards_;
        return false;
    }

    void one_line_write() {
        if (!index_) return;
        const std::uint8_t how = input_.byte();
        const ShardId id = some_id();
        const std::uint64_t stamp = fresh();
        const std::size_t heavy = weight();
        const bool present = latest_->stamp(id) != 0;
        const Version next_version = latest_->version + 1;
        if (how % 4 != 3 && !present)
            return must_throw<std::out_of_range>([&] {
                if (how % 4 == 0) static_cast<void>(index_->edit(id, [](Cell&) {}));
                if (how % 4 == 1) static_cast<void>(index_->replace(id, Cell(stamp, heavy)));
                if (how % 4 == 2) static_cast<void>(index_->erase(id));
            });
        auto next = next_state();
        bool done = false;
        switch (how % 4) {
        case 0:
            done = write(true, [&] {
                FUZZ_CHECK(index_->edit(id, [&](Cell& cell) {
                    cell.stamp = stamp;
                    cell.weigh(heavy);
                }) == next_version);
            });
            next->set(id, stamp);
            break;
        case 1:
            done = write(
                true, [&] { FUZZ_CHECK(index_->replace(id, Cell(stamp, heavy)) == next_version); });
            next->set(id, stamp);
            break;
        case 2:
            done = write(true, [&] { FUZZ_CHECK(index_->erase(id) == next_version); });
            next->set(id, 0);
            break;
        default: {
            if (latest_->entries.size() >= most_shards) return;
            const ShardId expected = take_id();
            if (expected == ~ShardId{0})
                return must_throw<std::length_error>(
                    [&] { static_cast<void>(index_->append(Cell(stamp, heavy))); });
            done = write(true, [&] {
                const ShardId appended = index_->append(Cell(stamp, heavy));
                check_appended(appended, expected);
                next->set(appended, stamp);
            });
        }
        }
        if (done) publish(std::move(next));
    }

    // Edits two shards; it throws, or loses a few tries against itself, or neither.
    void update() {
        if (!index_ || latest_->entries.empty() || exhausted()) return;
        const ShardId first = latest_->entries.front().id;
        const ShardId last = latest_->entries.back().id;
        const std::uint64_t stamp = fresh();
        const unsigned how = static_cast<unsigned>(input_.below(8));
        if (how == 7) {
            must_throw<std::runtime_error>([&] {
                index_->update([&](Index::Writer& writer) {
                    writer.edit(first).stamp = stamp;
                    throw std::runtime_error("no");
                });
            });
            ++discards_;
            return;
        }
        unsigned losses = hard_ == 0 && latest_->version < last_version - 5 ? how : 0;
        bool edited = false;
        const bool done = write(edited, [&] {
            const int value = index_->update([&](Index::Writer& writer) {
                edited = false;
                writer.edit(first).stamp = stamp;
                edited = true;
                writer.edit(last).stamp = stamp;
                if (losses > 0) {
                    --losses;
                    lose(first);
                }
                return 7;
            });
            FUZZ_CHECK(value == 7);
        });
        if (!done) return;
        auto next = next_state();
        next->set(first, stamp);
        next->set(last, stamp);
        publish(std::move(next));
    }
    void lose(ShardId id) {
        const std::uint64_t other = fresh();
        auto winner = index_->writer();
        ++discards_unsure_; // until it has committed: memory may run out
        winner.replace(id, Cell(other, 0));
        winner.commit();
        --discards_unsure_;
        auto next = next_state();
        next->set(id, other);
        publish(std::move(next));
        ++conflicts_;
        ++retries_;
    }

    void assign() {
        if (!index_ || input_.below(4) != 0) return;
        auto next = std::make_shared<State>();
        next->version = latest_->version + 1;
        next->id_bound = latest_->id_bound;
        std::vector<Cell> cells;
        const std::size_t count = input_.below(most_shards);
        for (std::size_t i = 0; i < count; ++i) {
            cells.emplace_back(fresh(), weight());
            next->set(i, cells.back().stamp);
        }
        if (count == 0 && latest_->entries.empty()) return;
        // One that fails may have reserved some of the ids.
        sequence_most_ = std::max<ShardId>(sequence_most_, count);
        if (!write(true, [&] { FUZZ_CHECK(index_->assign(std::move(cells)) == next->version); })) {
            sequence_ = std::max<ShardId>(sequence_, count);
            return;
        }
        sequence_ = std::max<ShardId>(sequence_, count);
        publish(std::move(next));
    }

    // ---- holding -----------------------------------------------------------------------------

    void snapshots() {
        const std::uint8_t how = input_.byte();
        if (how % 4 == 0 && index_ && held_.size() < 5) {
            held_.emplace_back(index_->snapshot(), latest_);
        } else if (how % 4 == 1 && !held_.empty() && held_.size() < 5) {
            held_.push_back(Held(some(held_)));
        } else if (!held_.empty()) {
            held_.erase(held_.begin() + static_cast<std::ptrdiff_t>(input_.below(held_.size())));
        }
    }

    void shares() {
        const std::uint8_t how = input_.byte();
        if (how % 4 == 3) { // a weak_ptr keeps the record's memory, not the version
            if (const auto locked = weak_.lock()) FUZZ_CHECK(locked->stamp == weak_stamp_);
            weak_.reset();
        } else if (how % 4 == 0 && !shares_.empty()) {
            shares_.erase(shares_.begin() + static_cast<std::ptrdiff_t>(how / 4U % shares_.size()));
        } else if (!held_.empty() && shares_.size() < 3) {
            const Held& held = some(held_);
            if (held.second->entries.empty()) return;
            const Entry& entry = some(held.second->entries);
            Share share(held.first.share(entry.id), entry.stamp);
            if (how % 4 == 1) {
                weak_ = share.first;
                weak_stamp_ = share.second;
            } else {
                shares_.push_back(std::move(share));
            }
        }
    }

    void drop_reader() {
        const std::size_t at = input_.below(readers_.size());
        if (input_.below(2) == 0) readers_[at].reader.reset(); // before its views
        while (!readers_[at].views.empty()) readers_[at].views.pop_back();
        readers_.erase(readers_.begin() + static_cast<std::ptrdiff_t>(at));
    }

    void readers() {
        const std::uint8_t how = input_.byte();
        if (readers_.empty() || how % 8 == 0) {
            if (!index_ || readers_.size() >= 3) return;
            readers_.emplace_back().reader = index_->reader(how % 16 == 0 ? "" : "r");
            return;
        }
        const std::size_t at = how / 8U % readers_.size();
        ModelReader& model = readers_[at];
        switch (how % 8) {
        case 1: drop_reader(); break;
        case 2:
        case 3:
            if (model.views.empty()) break;
            model.views.erase(model.views.begin() +
                              static_cast<std::ptrdiff_t>(input_.below(model.views.size())));
            if (!model.views.empty()) break;
            model.pinned = nullptr;
            if (!model.reader) readers_.erase(readers_.begin() + static_cast<std::ptrdiff_t>(at));
            break;
        case 4:
            if (!model.views.empty() && held_.size() < 5)
                held_.emplace_back(model.views.back().snapshot(), model.pinned);
            break;
        case 5:
            if (!model.views.empty()) model.reader.reset(); // the views go on
            break;
        default:
            if (!model.reader || model.views.size() >= 3) break;
            if (model.views.empty()) model.pinned = latest_;
            model.views.push_back(model.reader->pin());
            FUZZ_CHECK(model.views.back().version() == model.pinned->version);
        }
    }

    void moves() {
        if (writers_.size() >= 2) std::swap(*writers_[0], *writers_[1]);
        if (!readers_.empty()) {
            readers_.push_back(std::move(readers_.front()));
            readers_.erase(readers_.begin());
        }
        if (held_.size() >= 2) std::swap(held_[0], held_[1]);
        if (readers_.empty() || readers_[0].views.size() < 2) return;
        std::swap(readers_[0].views[0], readers_[0].views[1]);
    }

    // The handle goes while others use the index, which works on; or a copy takes its place.
    void handles() {
        if (!index_) return;
        if (input_.below(2) == 0)
            index_ = Index(*index_);
        else if (users() > 1)
            index_.reset();
    }

    // ---- looking -----------------------------------------------------------------------------

    // What a version that is not the latest is held by. Shares are not counted as holders.
    [[nodiscard]] std::vector<std::pair<Version, std::size_t>> holdings() const {
        std::vector<std::pair<Version, std::size_t>> all;
        const auto hold = [&](const StatePtr& state, std::size_t holders) {
            for (auto& [version, count] : all)
                if (version == state->version) {
                    count += holders;
                    return;
                }
            all.emplace_back(state->version, holders);
        };
        for (const Held& held : held_) hold(held.second, 1);
        for (const ModelReader& reader : readers_)
            if (reader.pinned != nullptr) hold(reader.pinned, 1);
        for (const auto& writer : writers_) hold(writer->base, 1);
        std::erase_if(all, [&](const auto& held) { return held.first == latest_->version; });
        std::sort(all.begin(), all.end());
        return all;
    }

    void reclaim() {
        if (users() == 0) return;
        const auto before = core_->memory_usage();
        const std::size_t freed = core_->reclaim();
        FUZZ_CHECK(freed <= before.reclaimable_bytes);
        const auto after = core_->memory_usage();
        FUZZ_CHECK(after.total_bytes() + freed == before.total_bytes());
        if (!shares_.empty()) return; // these hold versions and are not counted
#if !defined(FUZZ_WITHOUT_VALIDATION)
        test::Validation<Cell, Policy>& inside = *inside_;
        FUZZ_CHECK(inside.run().empty());
        const auto expected = holdings();
        FUZZ_CHECK(inside.versions().size() == expected.size() + 1);
        for (std::size_t i = 0; i < expected.size(); ++i)
            FUZZ_CHECK(inside.versions()[i] == expected[i].first);
        FUZZ_CHECK(after.retained_bytes ==
                   inside.bytes_beyond_latest() + expected.size() * sizeof(Core::Record));
#endif
    }

    void look_in() {
        if (users() == 0) return;
        const auto values = core_->metrics();
        const bool measured = std::all_of(writers_.begin(), writers_.end(),
                                          [](const auto& model) { return model->changed.empty(); });
        if (measured) FUZZ_CHECK(values.memory_usage_bytes == account_.live_bytes + Cell::claimed);
        FUZZ_CHECK(values.commits == commits_);
        FUZZ_CHECK(values.clone_operations == Cell::clones);
        FUZZ_CHECK(values.conflicts <= conflicts_ &&
                   values.conflicts + losses_unsure_ >= conflicts_);
        FUZZ_CHECK(values.retries <= retries_ && values.retries + losses_unsure_ >= retries_);
        losses_unsure_ = 0;
        conflicts_ = values.conflicts;
        retries_ = values.retries;
        FUZZ_CHECK(values.discards >= discards_ && values.discards <= discards_ + discards_unsure_);
        discards_unsure_ = 0;
        discards_ = values.discards;
        FUZZ_CHECK(values.pending_writers == writers_.size());
        std::size_t active = held_.size();
        for (const ModelReader& reader : readers_) active += reader.pinned != nullptr ? 1U : 0U;
        FUZZ_CHECK(values.active_readers == active);
        std::size_t uncommitted = 0;
        for (const auto& model : writers_) uncommitted += model->writer.memory_overhead();
        FUZZ_CHECK(values.uncommitted_bytes == uncommitted);
        if (!shares_.empty()) return;
        const auto expected = holdings();
        FUZZ_CHECK(values.retained_versions == expected.size());
        FUZZ_CHECK(values.oldest_pinned_version ==
                   (expected.empty() ? latest_->version : expected.front().first));
        const auto pins = core_->pins();
        FUZZ_CHECK(pins.size() == expected.size());
        for (std::size_t i = 0; i < pins.size(); ++i)
            FUZZ_CHECK(pins[i].version == expected[i].first &&
                       pins[i].holders == expected[i].second);
    }

    void compare() {
        if (held_.size() < 2) return;
        const Held& a = some(held_);
        const Held& b = some(held_);
        const Held& older = a.second->version <= b.second->version ? a : b;
        const Held& newer = a.second->version <= b.second->version ? b : a;
        cowindex::Diff expected;
        for (const Entry& entry : newer.second->entries) {
            const std::uint64_t before = older.second->stamp(entry.id);
            if (before == 0)
                expected.added.push_back(entry.id);
            else if (before != entry.stamp)
                expected.changed.push_back(entry.id);
        }
        for (const Entry& entry : older.second->entries)
            if (newer.second->stamp(entry.id) == 0) expected.removed.push_back(entry.id);
        const cowindex::Diff found = cowindex::diff(older.first, newer.first);
        FUZZ_CHECK(found.added == expected.added);
        FUZZ_CHECK(found.removed == expected.removed);
        FUZZ_CHECK(found.changed == expected.changed);
    }

    template <class Reading>
    void same(const Reading& reading, const State& state) {
        FUZZ_CHECK(reading.size() == state.entries.size());
        FUZZ_CHECK(reading.id_bound() == state.id_bound);
        auto expected = state.entries.begin();
        for (const auto item : reading.items()) {
            FUZZ_CHECK(expected != state.entries.end());
            FUZZ_CHECK(item.id == expected->id && item.shard.stamp == expected->stamp);
            ++expected;
        }
        FUZZ_CHECK(expected == state.entries.end());
        const ShardId first = some_id();
        const ShardId last = some_id();
        expected = state.seek(first);
        const auto range = reading.range(first, last);
        for (auto it = range.begin(); it != range.end(); ++it, ++expected)
            FUZZ_CHECK(expected != state.entries.end() && expected->id < last &&
                       it.id() == expected->id && it->stamp == expected->stamp);
        FUZZ_CHECK(first >= last || expected == state.entries.end() || expected->id >= last);
        const Cell* cell = reading.find(first);
        FUZZ_CHECK(cell == nullptr ? state.stamp(first) == 0 : cell->stamp == state.stamp(first));
        FUZZ_CHECK(reading.contains(first) == (cell != nullptr));
    }

    void read_all() {
        if (index_) {
            same(index_->snapshot(), *latest_);
            index_->read([&](const Index::View& view) {
                FUZZ_CHECK(view.version() == latest_->version);
                same(view, *latest_);
            });
            FUZZ_CHECK(index_->wait_for_version(latest_->version, std::chrono::seconds(0)));
            FUZZ_CHECK(
                !index_->wait_for_version(latest_->version + 1, std::chrono::nanoseconds(0)));
        }
        for (const Held& held : held_) same(held.first, *held.second);
        for (const ModelReader& reader : readers_)
            for (const Index::View& view : reader.views) same(view, *reader.pinned);
        for (const auto& model : writers_) same(model->writer, model->shown);
        for (const Share& share : shares_) FUZZ_CHECK(share.first->stamp == share.second);
    }

    // After each step; changes nothing.
    void check() {
        if (users() == 0) return;
#if !defined(FUZZ_WITHOUT_VALIDATION)
        const std::string wrong = inside_->run();
        if (!wrong.empty()) fail(wrong.c_str(), __FILE__, __LINE__);
#endif
        if (index_) { // not through version(): it would keep commits from being made in place
            const auto& latest = *test::TestAccess::chain(*core_).latest();
            FUZZ_CHECK(latest.version == latest_->version);
            FUZZ_CHECK(latest.tree.size == latest_->entries.size());
        }
        for (const Held& held : held_) FUZZ_CHECK(held.first.version() == held.second->version);
        for (const auto& model : writers_) {
            FUZZ_CHECK(model->writer.modified_count() == model->changed.size());
            FUZZ_CHECK(model->writer.base_version() == model->base->version);
            const auto& tree =
                test::TestAccess::early_tree(test::TestAccess::batch(model->writer).builder);
            FUZZ_CHECK(tree.id_bound == model->shown.id_bound);
            FUZZ_CHECK(tree.size == model->shown.entries.size());
        }
        if (hard_ == 0) FUZZ_CHECK(pressed_ == 0);
    }

    struct Ids {
        const ShardId* first;
        std::size_t count;
    };

    Input input_;
    Ids ids_{dense, std::size(dense)};
    test::AllocationAccount account_;
    std::size_t soft_ = 0;
    std::size_t hard_ = 0; // 0: no budget
    std::size_t pressed_ = 0;
    std::optional<Index> index_;
    Core* core_ = nullptr;
    std::optional<test::Validation<Cell, Policy>> inside_; // what it has allocated is used again
    StatePtr latest_;
    ShardId sequence_ = 0;
    ShardId sequence_most_ = 0;
    std::uint64_t last_stamp_ = 0;
    std::uint64_t commits_ = 0;
    std::uint64_t conflicts_ = 0;
    std::uint64_t retries_ = 0;
    std::uint64_t discards_ = 0;
    std::uint64_t discards_unsure_ = 0; // memory ran out: one more or not
    std::uint64_t losses_unsure_ = 0;   // memory ran out: one fewer or not
    std::vector<std::unique_ptr<ModelWriter>> writers_;
    std::vector<ModelReader> readers_;
    std::vector<Held> held_;
    std::vector<Share> shares_;
    std::weak_ptr<const Cell> weak_;
    std::uint64_t weak_stamp_ = 0;
};

} // namespace fuzz
