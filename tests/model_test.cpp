// Random histories of one index against a simple model that predicts every result, every conflict,
// every counter and every version held. After each step the index is checked from the inside.

#include <algorithm>
#include <cstdint>
#include <limits>
#include <list>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <set>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include <cowindex/cowindex.hpp>

#include "support/catch.hpp"
#include "support/counting_allocator.hpp"
#include "support/validate.hpp"

using cowindex::ShardId;
using cowindex::Version;

namespace {

// Every write makes a stamp of its own, so that equal stamps mean the same write.
struct Cell {
    std::uint64_t stamp = 0;
};

struct ModelPolicy : cowindex::DefaultPolicy<Cell> {
    using Allocator = test::CountingAllocator<std::byte>;
};

using Index = cowindex::CowIndex<Cell, ModelPolicy>;

struct State {
    Version version = 0;
    std::map<ShardId, std::uint64_t> stamps;
    ShardId id_bound = 0;

    [[nodiscard]] std::optional<std::uint64_t> stamp(ShardId id) const {
        const auto it = stamps.find(id);
        return it == stamps.end() ? std::nullopt : std::optional(it->second);
    }
};
using StatePtr = std::shared_ptr<const State>;

struct ModelWriter {
    explicit ModelWriter(Index::Writer its_writer) : writer(std::move(its_writer)) {}

    [[nodiscard]] std::optional<std::uint64_t> stamp(ShardId id) const {
        const auto it = changes.find(id);
        return it == changes.end() ? base->stamp(id) : it->second;
    }
    [[nodiscard]] State shown() const {
        State state = *base;
        for (const auto& [id, after] : changes) {
            if (after)
                state.stamps[id] = *after;
            else
                state.stamps.erase(id);
        }
        state.id_bound = id_bound;
        return state;
    }

    Index::Writer writer;
    std::string label;
    StatePtr base;
    std::map<ShardId, std::optional<std::uint64_t>> changes;
    std::set<ShardId> requirements;
    bool require_all = false;
    ShardId id_bound = 0;
};

struct ModelReader {
    explicit ModelReader(Index::Reader its_reader) : reader(std::move(its_reader)) {}

    std::optional<Index::Reader> reader;
    std::string label;
    std::vector<Index::View> views;
    StatePtr pinned;
};

struct Profile {
    std::size_t most_shards;
    bool sparse;
    Version first_version;
};

class Run {
  public:
    Run(std::uint64_t seed, Profile profile) : random_(seed), profile_(profile) {
        options_.allocator = test::CountingAllocator<std::byte>(account_);
        options_.first_version = profile.first_version;
        index_.emplace(3, Cell{}, options_);
        auto first = std::make_shared<State>();
        first->version = profile.first_version;
        first->stamps = {{0, 0}, {1, 0}, {2, 0}};
        first->id_bound = 3;
        latest_ = first;
        sequence_ = 3;
    }

    void step() {
        switch (pick(26)) {
        case 0: open_writer(); break;
        case 1: drop_writer(); break;
        case 2:
        case 3:
        case 4: writer_edit(); break;
        case 5:
        case 6: writer_replace(); break;
        case 7: writer_insert(); break;
        case 8: writer_append(); break;
        case 9: writer_erase(); break;
        case 10: writer_revert(); break;
        case 11: writer_require(); break;
        case 12:
        case 13:
        case 14: writer_commit(); break;
        case 15: writer_rebase(); break;
        case 16: writer_discard(); break;
        case 17: one_line_write(); break;
        case 18: update(); break;
        case 19: assign(); break;
        case 20: snapshots(); break;
        case 21:
        case 22: readers(); break;
        case 23: shares(); break;
        case 24: reclaim(); break;
        default: read_all(); break;
        }
        check();
    }

    // A step of a history in which mostly nobody can look but one writer: then commits are made in
    // place. Now and then others come for a while. No read(): the index keeps its slot.
    void step_alone() {
        if (pick(700) == 0) {
            for (int i = 0; i < 30; ++i) {
                switch (pick(6)) {
                case 0: open_writer(); break;
                case 1: snapshots(); break;
                case 2: readers(); break;
                case 3: writer_commit(); break;
                default: writer_edit(); break;
                }
                check();
            }
            let_go(1);
        }
        switch (pick(16)) {
        case 0: writer_replace(); break;
        case 1: writer_revert(); break;
        case 2: pick(4) == 0 ? writer_append() : writer_erase(); break;
        case 3: pick(2) == 0 ? writer_discard() : writer_require(); break;
        case 4: pick(2) == 0 ? one_line_write() : update(); break;
        case 5: pick(2) == 0 ? let_go(0) : reclaim(); break;
        case 6:
        case 7:
        case 8:
        case 9: writer_commit(); break;
        default: writer_edit(); break;
        }
        check();
    }

    // Lets everything go, in any order, and looks whether anything is left.
    void finish() {
        let_go(0);
        reclaim();
        check();
        const auto metrics = index_->metrics();
        REQUIRE(metrics.active_readers == 0);
        REQUIRE(metrics.pending_writers == 0);
        REQUIRE(metrics.retained_bytes == 0);
        REQUIRE(metrics.retained_versions == 0);
        REQUIRE(metrics.uncommitted_bytes == 0);
        index_.reset();
        REQUIRE(account_.live_bytes == 0);
        REQUIRE(account_.live_objects == 0);
        REQUIRE_FALSE(account_.mismatched);
        REQUIRE_FALSE(account_.misaligned);
    }

    std::uint64_t conflicts_seen() const { return conflicts_; }

  private:
    void let_go(std::size_t writers_left) {
        while (writers_.size() > writers_left) drop_writer();
        while (!readers_.empty()) drop_reader(readers_.begin());
        held_.clear();
        shares_.clear();
    }

    using Held = std::pair<Index::Snapshot, StatePtr>;

    static constexpr std::size_t record_size =
        sizeof(cowindex::detail::Core<Cell, ModelPolicy>::Record);

    std::uint64_t pick(std::uint64_t below) { return random_() % below; }

    std::uint64_t fresh() { return ++last_stamp_; }

    // Mostly an id that exists or has existed, now and then any.
    ShardId some_id(const State& state) {
        if (pick(16) == 0) return random_() >> pick(64);
        if (state.stamps.empty() || pick(8) == 0) return pick(profile_.most_shards + 4);
        return std::next(state.stamps.begin(),
                         static_cast<std::ptrdiff_t>(pick(state.stamps.size())))
            ->first;
    }

    ModelWriter* some_writer() {
        if (writers_.empty()) open_writer();
        return &*std::next(writers_.begin(), static_cast<std::ptrdiff_t>(pick(writers_.size())));
    }

    void open_writer() {
        if (writers_.size() >= 5) return;
        const std::string label = pick(2) == 0 ? "" : "writer " + std::to_string(fresh());
        ModelWriter& added = writers_.emplace_back(index_->writer(label));
        added.label = label;
        added.base = latest_;
        added.id_bound = latest_->id_bound;
    }

    void drop_writer() {
        if (writers_.empty()) return;
        const auto it =
            std::next(writers_.begin(), static_cast<std::ptrdiff_t>(pick(writers_.size())));
        if (!it->changes.empty()) ++discards_;
        writers_.erase(it);
    }

    template <class Exception, class Fn>
    void must_throw(Fn&& fn) {
        REQUIRE_THROWS_AS(fn(), Exception);
    }

    void writer_edit() {
        ModelWriter& writer = *some_writer();
        const ShardId id = some_id(writer.shown());
        if (!writer.stamp(id)) {
            must_throw<std::out_of_range>([&] { writer.writer.edit(id); });
            return;
        }
        const bool own = writer.changes.count(id) != 0;
        if (!own) ++clones_;
        Cell& cell = writer.writer.edit(id);
        REQUIRE(cell.stamp == writer.stamp(id));
        cell.stamp = fresh();
        writer.changes[id] = cell.stamp;
    }

    void writer_replace() {
        ModelWriter& writer = *some_writer();
        const ShardId id = some_id(writer.shown());
        Cell cell{fresh()};
        if (!writer.stamp(id)) {
            must_throw<std::out_of_range>([&] { writer.writer.replace(id, std::move(cell)); });
            return;
        }
        if (pick(2) == 0)
            writer.writer.replace(id, Cell{cell});
        else
            writer.writer.emplace(id, cell);
        writer.changes[id] = cell.stamp;
    }

    void writer_insert() {
        ModelWriter& writer = *some_writer();
        if (writer.shown().stamps.size() >= profile_.most_shards) return;
        ShardId id = pick(profile_.most_shards);
        if (profile_.sparse && pick(4) == 0) id = (random_() >> 1) >> pick(63);
        if (pick(64) == 0) id = std::numeric_limits<ShardId>::max();
        Cell cell{fresh()};
        if (id == std::numeric_limits<ShardId>::max()) {
            must_throw<std::length_error>([&] { writer.writer.insert(id, std::move(cell)); });
            return;
        }
        if (writer.stamp(id)) {
            must_throw<std::invalid_argument>([&] { writer.writer.insert(id, std::move(cell)); });
            return;
        }
        writer.writer.insert(id, Cell{cell});
        writer.changes[id] = cell.stamp;
        writer.id_bound = std::max(writer.id_bound, id + 1);
        sequence_ = std::max(sequence_, id + 1);
    }

    void writer_append() {
        ModelWriter& writer = *some_writer();
        if (writer.shown().stamps.size() >= profile_.most_shards) return;
        const std::uint64_t stamp = fresh();
        const ShardId id = writer.writer.append(Cell{stamp});
        REQUIRE(id == sequence_);
        ++sequence_;
        writer.changes[id] = stamp;
        writer.id_bound = std::max(writer.id_bound, id + 1);
    }

    void writer_erase() {
        ModelWriter& writer = *some_writer();
        const ShardId id = some_id(writer.shown());
        if (!writer.stamp(id)) {
            must_throw<std::out_of_range>([&] { writer.writer.erase(id); });
            return;
        }
        writer.writer.erase(id);
        if (writer.base->stamp(id))
            writer.changes[id] = std::nullopt;
        else
            writer.changes.erase(id);
    }

    void writer_revert() {
        ModelWriter& writer = *some_writer();
        ShardId id = some_id(*writer.base);
        if (!writer.changes.empty() && pick(4) != 0) id = writer.changes.begin()->first;
        writer.writer.revert(id);
        writer.changes.erase(id);
        writer.requirements.erase(id);
    }

    void writer_require() {
        ModelWriter& writer = *some_writer();
        if (pick(12) == 0) {
            writer.writer.require_all();
            writer.require_all = true;
            return;
        }
        const ShardId id = some_id(writer.shown());
        if (!writer.stamp(id)) {
            must_throw<std::out_of_range>([&] { writer.writer.require(id); });
            return;
        }
        writer.writer.require(id);
        if (writer.base->stamp(id)) writer.requirements.insert(id);
    }

    std::vector<ShardId> conflicts_of(const ModelWriter& writer) const {
        std::set<ShardId> ids;
        const auto differs = [&](ShardId id) {
            return latest_->stamp(id) != writer.base->stamp(id);
        };
        if (writer.require_all) {
            for (const auto& [id, stamp] : latest_->stamps)
                if (differs(id)) ids.insert(id);
            for (const auto& [id, stamp] : writer.base->stamps)
                if (differs(id)) ids.insert(id);
        } else {
            for (const auto& [id, after] : writer.changes)
                if (differs(id)) ids.insert(id);
            for (const ShardId id : writer.requirements)
                if (differs(id)) ids.insert(id);
        }
        return {ids.begin(), ids.end()};
    }

    void publish(ModelWriter& writer) {
        auto next = std::make_shared<State>(*latest_);
        ++next->version;
        ShardId bound = latest_->id_bound;
        for (const auto& [id, after] : writer.changes) {
            if (after) {
                next->stamps[id] = *after;
                bound = std::max(bound, id + 1);
            } else {
                next->stamps.erase(id);
            }
        }
        next->id_bound = bound;
        latest_ = next;
        ++commits_;
        rest(writer);
    }

    // A writer without edits, based on the latest version.
    void rest(ModelWriter& writer) {
        writer.base = latest_;
        writer.changes.clear();
        writer.requirements.clear();
        writer.require_all = false;
        writer.id_bound = latest_->id_bound;
    }

    void writer_commit() {
        ModelWriter& writer = *some_writer();
        const bool conflict = writer.base != latest_ && !writer.changes.empty() &&
                              (writer.require_all || !conflicts_of(writer).empty());
        if (writer.changes.empty()) {
            const auto result = writer.writer.try_commit();
            REQUIRE(result.status() == cowindex::CommitStatus::unchanged);
            REQUIRE(result.version() == latest_->version);
            return;
        }
        forget_vain_growth(writer);
        if (conflict) {
            ++conflicts_;
            const std::vector<ShardId> expected = conflicts_of(writer);
            if (pick(2) == 0) {
                const auto result = writer.writer.try_commit();
                REQUIRE(result.status() == cowindex::CommitStatus::conflict);
                REQUIRE(result.version() == writer.base->version);
                REQUIRE(result.conflicts() == expected);
            } else {
                try {
                    writer.writer.commit();
                    FAIL("a conflict was not seen");
                } catch (const cowindex::ConflictError& error) {
                    REQUIRE(error.shards() == expected);
                }
            }
            return;
        }
        const Version version = writer.writer.commit();
        publish(writer);
        REQUIRE(version == latest_->version);
    }

    void writer_rebase() {
        ModelWriter& writer = *some_writer();
        if (writer.base == latest_) {
            writer.writer.rebase();
            return;
        }
        const std::vector<ShardId> expected = conflicts_of(writer);
        if (writer.require_all || !expected.empty()) {
            try {
                writer.writer.rebase();
                FAIL("a conflict was not seen");
            } catch (const cowindex::ConflictError& error) {
                REQUIRE(error.shards() == expected);
            }
            return;
        }
        writer.writer.rebase();
        writer.base = latest_;
        forget_vain_growth(writer);
    }

    // What is published does not depend on ids that were taken back.
    static void forget_vain_growth(ModelWriter& writer) {
        writer.id_bound = writer.base->id_bound;
        for (const auto& [id, after] : writer.changes)
            if (after) writer.id_bound = std::max(writer.id_bound, id + 1);
    }

    void writer_discard() {
        ModelWriter& writer = *some_writer();
        if (!writer.changes.empty()) ++discards_;
        writer.writer.discard();
        rest(writer);
    }

    // One change of the latest version.
    void change(ShardId id, std::optional<std::uint64_t> stamp) {
        auto next = std::make_shared<State>(*latest_);
        ++next->version;
        if (stamp) {
            next->stamps[id] = *stamp;
            next->id_bound = std::max(next->id_bound, id + 1);
        } else {
            next->stamps.erase(id);
        }
        latest_ = next;
        ++commits_;
    }

    void one_line_write() {
        const ShardId id = some_id(*latest_);
        const std::uint64_t stamp = fresh();
        const bool present = latest_->stamp(id).has_value();
        switch (pick(4)) {
        case 0:
            if (!present) {
                must_throw<std::out_of_range>([&] { index_->edit(id, [](Cell&) {}); });
            } else {
                ++clones_;
                change(id, stamp);
                REQUIRE(index_->edit(id, [&](Cell& cell) { cell.stamp = stamp; }) ==
                        latest_->version);
            }
            break;
        case 1:
            if (!present) {
                must_throw<std::out_of_range>([&] { index_->replace(id, Cell{stamp}); });
            } else {
                change(id, stamp);
                REQUIRE(index_->replace(id, Cell{stamp}) == latest_->version);
            }
            break;
        case 2:
            if (!present) {
                must_throw<std::out_of_range>([&] { index_->erase(id); });
            } else {
                change(id, std::nullopt);
                REQUIRE(index_->erase(id) == latest_->version);
            }
            break;
        default:
            if (latest_->stamps.size() >= profile_.most_shards) return;
            change(sequence_, stamp);
            REQUIRE(index_->append(Cell{stamp}) == sequence_);
            ++sequence_;
        }
    }

    // Edits two shards; now and then it throws, or loses a few tries against itself.
    void update() {
        if (latest_->stamps.empty()) return;
        const ShardId first = latest_->stamps.begin()->first;
        const ShardId last = latest_->stamps.rbegin()->first;
        const std::uint64_t stamp = fresh();
        if (pick(4) == 0) {
            const auto throwing = [&] {
                index_->update([&](Index::Writer& writer) {
                    writer.edit(first).stamp = stamp;
                    throw std::runtime_error("no");
                });
            };
            must_throw<std::runtime_error>(throwing);
            ++clones_;
            ++discards_;
            return;
        }
        int losses = static_cast<int>(pick(3));
        const int value = index_->update([&](Index::Writer& writer) {
            clones_ += first == last ? 1 : 2;
            writer.edit(first).stamp = stamp;
            writer.edit(last).stamp = stamp;
            if (losses-- > 0) {
                const std::uint64_t other = fresh();
                auto winner = index_->writer();
                winner.replace(first, Cell{other});
                winner.commit();
                change(first, other);
                ++conflicts_;
                ++retries_;
            }
            return 7;
        });
        REQUIRE(value == 7);
        auto next = std::make_shared<State>(*latest_);
        ++next->version;
        next->stamps[first] = stamp;
        next->stamps[last] = stamp;
        latest_ = next;
        ++commits_;
    }

    void assign() {
        if (pick(3) != 0) return;
        auto next = std::make_shared<State>();
        next->version = latest_->version + 1;
        std::vector<Cell> cells(pick(profile_.most_shards) + 1);
        for (ShardId id = 0; id < cells.size(); ++id) {
            cells[id].stamp = fresh();
            next->stamps[id] = cells[id].stamp;
        }
        next->id_bound = std::max<ShardId>(latest_->id_bound, cells.size());
        sequence_ = std::max<ShardId>(sequence_, cells.size());
        latest_ = next;
        ++commits_;
        REQUIRE(index_->assign(std::move(cells)) == next->version);
    }

    void snapshots() {
        switch (pick(4)) {
        case 0:
            if (held_.size() < 6) held_.emplace_back(index_->snapshot(), latest_);
            break;
        case 1:
            if (!held_.empty() && held_.size() < 6) held_.push_back(held_[pick(held_.size())]);
            break;
        default:
            if (!held_.empty())
                held_.erase(held_.begin() + static_cast<std::ptrdiff_t>(pick(held_.size())));
        }
    }

    using ReaderIt = std::list<ModelReader>::iterator;

    void drop_reader(ReaderIt it) {
        if (pick(2) == 0) it->reader.reset(); // before its views
        readers_.erase(it);
    }

    void readers() {
        if (readers_.size() < 4 && pick(3) == 0) {
            const std::string label = pick(2) == 0 ? "" : "reader " + std::to_string(fresh());
            readers_.emplace_back(index_->reader(label)).label = label;
            return;
        }
        if (readers_.empty()) return;
        const auto it =
            std::next(readers_.begin(), static_cast<std::ptrdiff_t>(pick(readers_.size())));
        switch (pick(5)) {
        case 0: drop_reader(it); break;
        case 1:
            if (!it->views.empty()) {
                it->views.erase(it->views.begin() +
                                static_cast<std::ptrdiff_t>(pick(it->views.size())));
                if (it->views.empty()) it->pinned = nullptr;
            }
            break;
        case 2:
            if (!it->views.empty() && held_.size() < 6)
                held_.emplace_back(it->views.back().snapshot(), it->pinned);
            break;
        default:
            if (it->views.empty()) it->pinned = latest_;
            if (it->views.size() < 3) it->views.push_back(it->reader->pin());
        }
    }

    void shares() {
        if (!shares_.empty() && pick(2) == 0) {
            shares_.pop_back();
            return;
        }
        if (held_.empty() || shares_.size() >= 3) return;
        const Held& held = held_[pick(held_.size())];
        if (held.second->stamps.empty()) return;
        const ShardId id = held.second->stamps.begin()->first;
        shares_.emplace_back(held.first.share(id), held.second);
    }

    // The versions that something holds, with how many holders are counted and their labels.
    struct Holding {
        std::size_t holders = 0;
        std::multiset<std::string> labels;
    };
    [[nodiscard]] std::map<Version, Holding> holdings() const {
        std::map<Version, Holding> all;
        for (const Held& held : held_) ++all[held.second->version].holders;
        for (const auto& share : shares_) all[share.second->version];
        for (const ModelReader& reader : readers_) {
            if (reader.pinned == nullptr) continue;
            Holding& holding = all[reader.pinned->version];
            ++holding.holders;
            if (!reader.label.empty()) holding.labels.insert(reader.label);
        }
        for (const ModelWriter& writer : writers_) {
            Holding& holding = all[writer.base->version];
            ++holding.holders;
            if (!writer.label.empty()) holding.labels.insert(writer.label);
        }
        all[latest_->version];
        return all;
    }

    void reclaim() {
        const auto before = index_->memory_usage();
        const std::size_t freed = index_->reclaim();
        REQUIRE(freed <= before.reclaimable_bytes);
        const auto after = index_->memory_usage();
        REQUIRE(after.reclaimable_bytes == dropped_records() * record_size);
        REQUIRE(after.total_bytes() + freed == before.total_bytes());

        // Exactly the held versions are left, and what they lead to.
        test::Validation<Cell, ModelPolicy> inside(*index_);
        REQUIRE(inside.run().empty());
        std::vector<Version> expected;
        for (const auto& [version, holding] : holdings()) expected.push_back(version);
        REQUIRE(inside.versions() == expected);
        const std::size_t records = (expected.size() - 1) * record_size;
        REQUIRE(after.retained_bytes == inside.bytes_beyond_latest() + records);
        check_pins();
    }

    // Records out of the chain whose control block a weak_ptr or the pool's bound still keeps.
    [[nodiscard]] std::size_t dropped_records() const {
        auto& core = cowindex::detail::TestAccess::core(*index_);
        return cowindex::detail::TestAccess::chain(core).dropped_count();
    }

    void check_pins() {
        const auto pins = index_->pins();
        auto expected = holdings();
        expected.erase(latest_->version);
        REQUIRE(pins.size() == expected.size());
        auto it = expected.begin();
        for (const cowindex::PinInfo& pin : pins) {
            REQUIRE(pin.version == it->first);
            REQUIRE(pin.holders == it->second.holders);
            REQUIRE(std::multiset<std::string>(pin.labels.begin(), pin.labels.end()) ==
                    it->second.labels);
            REQUIRE(pin.age.count() >= 0);
            ++it;
        }
    }

    template <class Reading>
    void same(const Reading& reading, const State& state) {
        REQUIRE(reading.size() == state.stamps.size());
        REQUIRE(reading.empty() == state.stamps.empty());
        REQUIRE(reading.id_bound() == state.id_bound);
        std::vector<std::pair<ShardId, std::uint64_t>> expected(state.stamps.begin(),
                                                                state.stamps.end());
        std::vector<std::pair<ShardId, std::uint64_t>> found;
        for (const auto item : reading.items()) found.emplace_back(item.id, item.shard.stamp);
        REQUIRE(found == expected);
        found.clear();
        const ShardId first = some_id(state);
        const ShardId last = some_id(state);
        const auto range = reading.range(first, last);
        for (auto it = range.begin(); it != range.end(); ++it)
            found.emplace_back(it.id(), it->stamp);
        std::erase_if(expected,
                      [&](const auto& item) { return item.first < first || item.first >= last; });
        REQUIRE(found == expected);
        const Cell* cell = reading.find(first);
        REQUIRE((cell != nullptr) == state.stamp(first).has_value());
        REQUIRE(reading.contains(first) == (cell != nullptr));
        if (cell != nullptr) REQUIRE(reading[first].stamp == state.stamp(first));
    }

    void read_all() {
        same(index_->snapshot(), *latest_);
        index_->read([&](const Index::View& view) {
            REQUIRE(view.version() == latest_->version);
            same(view, *latest_);
        });
        for (const Held& held : held_) {
            REQUIRE(held.first.version() == held.second->version);
            same(held.first, *held.second);
        }
        for (const ModelReader& reader : readers_)
            for (const Index::View& view : reader.views) {
                REQUIRE(view.version() == reader.pinned->version);
                same(view, *reader.pinned);
            }
        for (const ModelWriter& writer : writers_) same(writer.writer, writer.shown());
        for (const auto& [shard, state] : shares_)
            REQUIRE(shard->stamp == state->stamps.begin()->second);
    }

    void check() {
        const std::string wrong = test::validate(*index_);
        REQUIRE(wrong == "");
        // Not through version(): it would keep commits from being made in place.
        auto& core = cowindex::detail::TestAccess::core(*index_);
        const auto& latest = *cowindex::detail::TestAccess::chain(core).latest();
        REQUIRE(latest.version == latest_->version);
        REQUIRE(latest.tree.size == latest_->stamps.size());

        const auto metrics = index_->metrics();
        REQUIRE(metrics.memory_usage_bytes == account_.live_bytes);
        REQUIRE(metrics.commits == commits_);
        REQUIRE(metrics.clone_operations == clones_);
        REQUIRE(metrics.bytes_cloned == clones_ * sizeof(Cell));
        REQUIRE(metrics.conflicts == conflicts_);
        REQUIRE(metrics.retries == retries_);
        REQUIRE(metrics.discards == discards_);
        REQUIRE(metrics.pending_writers == writers_.size());
        std::size_t readers = held_.size();
        for (const ModelReader& reader : readers_) readers += reader.pinned != nullptr ? 1U : 0U;
        REQUIRE(metrics.active_readers == readers);
        REQUIRE(index_->active_readers() == readers);
        const auto holding = holdings();
        REQUIRE(metrics.retained_versions == holding.size() - 1);
        REQUIRE(metrics.oldest_pinned_version == holding.begin()->first);
        std::size_t uncommitted = 0;
        for (const ModelWriter& writer : writers_) {
            uncommitted += writer.writer.memory_overhead();
            REQUIRE(writer.writer.modified_count() == writer.changes.size());
            REQUIRE(writer.writer.has_changes() == !writer.changes.empty());
            REQUIRE(writer.writer.base_version() == writer.base->version);
            const auto& batch = cowindex::detail::TestAccess::batch(writer.writer);
            REQUIRE(cowindex::detail::TestAccess::early_tree(batch.builder).id_bound ==
                    writer.id_bound);
        }
        REQUIRE(metrics.uncommitted_bytes == uncommitted);
        const std::string after_settling = test::validate(*index_);
        REQUIRE(after_settling == "");
    }

    std::mt19937_64 random_;
    Profile profile_;
    test::AllocationAccount account_;
    cowindex::Options<ModelPolicy> options_;
    std::optional<Index> index_;
    StatePtr latest_;
    ShardId sequence_ = 0;
    std::uint64_t last_stamp_ = 0;
    std::uint64_t commits_ = 0;
    std::uint64_t clones_ = 0;
    std::uint64_t conflicts_ = 0;
    std::uint64_t retries_ = 0;
    std::uint64_t discards_ = 0;
    std::list<ModelWriter> writers_;
    std::list<ModelReader> readers_;
    std::vector<Held> held_;
    std::vector<std::pair<std::shared_ptr<const Cell>, StatePtr>> shares_;
};

void run_history(std::uint64_t seed, Profile profile, int steps, void (Run::*next)() = &Run::step) {
    CAPTURE(seed);
    Run run(seed, profile);
    for (int step = 0; step < steps; ++step) {
        CAPTURE(step);
        (run.*next)();
    }
    REQUIRE(run.conflicts_seen() > 0);
    run.finish();
}

} // namespace

TEST_CASE("a random history of a small dense index is as the model predicts") {
    for (std::uint64_t seed = 1; seed <= 6; ++seed) run_history(seed, {24, false, 0}, 1500);
}

TEST_CASE("a random history of an index of several leaves is as the model predicts") {
    for (std::uint64_t seed = 11; seed <= 12; ++seed) run_history(seed, {150, false, 1000}, 1200);
}

TEST_CASE("a random history with ids up to 2^63 is as the model predicts") {
    for (std::uint64_t seed = 21; seed <= 23; ++seed) run_history(seed, {16, true, 0}, 1000);
}

TEST_CASE("so is one in which mostly nobody looks, and commits are made in place") {
    for (std::uint64_t seed = 31; seed <= 33; ++seed)
        run_history(seed, {24, false, 0}, 9000, &Run::step_alone);
    run_history(34, {150, false, 0}, 9000, &Run::step_alone);
    run_history(35, {16, true, 1000}, 9000, &Run::step_alone);
}
