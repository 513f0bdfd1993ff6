/// Small meetings of two to four threads. Each scenario is run under many schedules.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <utility>

#include <support/validate.hpp>

#include "world.hpp"

namespace test::scenarios {

/// Two writers change the same shard: first committer wins, the other's change is made again.
inline void same_shard(World& world) {
    Index index = world.make(2);
    const auto by_hand = [&](std::int64_t money) {
        Writer writer = index.writer();
        for (;;) {
            Account& account = writer.edit(0);
            Scheduler::point();
            account.add(money);
            if (const auto result = writer.try_commit()) {
                world.committed(result.version(), {{Change::add, 0, money}});
                return;
            } else if (result.conflicts() != std::vector<ShardId>{0}) {
                Verdict::fail("the conflict names the wrong shards");
            }
            writer.discard();
        }
    };
    world.run({[&] {
                   world.deposit(index, 0, 1);
                   by_hand(10);
               },
               [&] {
                   by_hand(100);
                   world.deposit(index, 0, 1000);
               }});
    world.settle(std::move(index));
}

/// Writers of different shards, near and far from each other in the tree: both commit, the second
/// by replaying its changes on the first one's tree. A held snapshot stays as it is.
inline void disjoint_shards(World& world) {
    Index index = world.make(3, true);
    const auto writer_of = [&](ShardId first, ShardId second) {
        Writer writer = index.writer();
        for (const ShardId id : {first, second}) {
            Account& account = writer.edit(id);
            Scheduler::point();
            account.add(7);
            if (const auto result = writer.try_commit())
                world.committed(result.version(), {{Change::add, id, 7}});
            else
                Verdict::fail("writers of different shards conflict");
        }
    };
    world.run({[&] { writer_of(0, World::far_id); }, [&] { writer_of(1, 2); },
               [&] {
                   Eyes eyes(world);
                   Snapshot first = eyes.snapshot(index);
                   static_cast<void>(index.reclaim());
                   world.read(first);
                   Eyes::drop(std::move(first));
                   static_cast<void>(index.reclaim());
                   world.read(eyes.snapshot(index));
               }});
    world.settle(std::move(index));
}

/// Readers pin while versions are committed and freed.
inline void pin_and_reclaim(World& world) {
    Index index = world.make(2);
    world.run({[&] {
                   Eyes eyes(world);
                   Reader reader = index.reader();
                   for (int i = 0; i < 3; ++i) eyes.pin_and_read(reader);
               },
               [&] {
                   world.transfer(index, 0, 1, 5);
                   static_cast<void>(index.reclaim());
                   world.transfer(index, 1, 0, 3);
                   static_cast<void>(index.reclaim());
               },
               [&] {
                   world.deposit(index, 0, 1);
                   static_cast<void>(index.reclaim());
               }});
    world.settle(std::move(index));
}

/// A pin within a pin shows the outer one's version; only the last to go lets go.
inline void nested_pins(World& world) {
    Index index = world.make(2);
    world.run({[&] {
                   Eyes eyes(world);
                   Reader reader = index.reader();
                   std::optional<View> outer(eyes.pin(reader));
                   std::optional<View> inner(reader.pin());
                   Verdict::expect_equal(inner->version(), outer->version(),
                                         "a nested pin's version");
                   world.read(*inner);
                   (world.random.coin() ? outer : inner).reset();
                   std::optional<View> third(reader.pin());
                   world.read(outer ? *outer : *inner);
                   outer.reset();
                   inner.reset();
                   world.read(*third);
                   third.reset();
                   eyes.pin_and_read(reader);
               },
               [&] {
                   for (int i = 0; i < 3; ++i) {
                       world.transfer(index, 0, 1, 5);
                       static_cast<void>(index.reclaim());
                   }
               }});
    world.settle(std::move(index));
}

/// A view becomes a snapshot while the version's other owners let go of it and it is reclaimed.
inline void promotion(World& world) {
    Index index = world.make(2);
    Snapshot other = index.snapshot();
    world.run({[&] {
                   Eyes eyes(world);
                   Reader reader = index.reader();
                   for (int i = 0; i < 2; ++i) {
                       std::optional<View> view(eyes.pin(reader));
                       Scheduler::point();
                       Snapshot kept = view->snapshot();
                       Verdict::expect_equal(kept.version(), view->version(),
                                             "the snapshot's version");
                       view.reset();
                       world.read(kept);
                       Eyes::drop(std::move(kept));
                   }
               },
               [&] {
                   for (int i = 0; i < 2; ++i) {
                       world.transfer(index, 0, 1, 5);
                       static_cast<void>(index.reclaim());
                   }
               },
               [&] {
                   Eyes::drop(std::move(other));
                   static_cast<void>(index.reclaim());
               }});
    world.settle(std::move(index));
}

/// A thread mixes all ways to ask for the latest version, and is never shown an older one.
inline void mixed_versions(World& world) {
    Index index = world.make(1);
    const auto reading = [&](std::uint64_t seed) {
        Random random(seed);
        Eyes eyes(world);
        Reader reader = index.reader();
        for (int i = 0; i < 5; ++i) {
            switch (random.below(4)) {
            case 0: eyes.pin(reader); break;
            case 1: eyes.snapshot(index); break;
            case 2: eyes.version(index); break;
            default:
                eyes.look();
                eyes.see(index.read([](const View& view) { return view.version(); }));
            }
        }
    };
    const std::uint64_t first = world.random.next();
    const std::uint64_t second = world.random.next();
    world.run({[&] { reading(first); }, [&] { reading(second); },
               [&] {
                   for (int i = 0; i < 3; ++i) world.deposit(index, 0, 1);
               }});
    world.settle(std::move(index));
}

/// The last handle goes while snapshots, shared and weak pointers, views and writers live on.
inline void teardown(World& world) {
    std::optional<Index> index(world.make(2));
    const bool with_view = world.random.coin();
    const bool with_writer = world.random.coin();
    const bool with_weak = world.random.coin();

    std::optional<Snapshot> snapshot(index->snapshot());
    std::shared_ptr<const Account> shared = index->snapshot().share(1);
    std::weak_ptr<const Account> weak = shared;
    world.deposit(*index, 0, 1);
    std::optional<Snapshot> newer(index->snapshot());
    std::optional<Reader> reader;
    std::optional<View> view;
    std::optional<Writer> writer;
    if (with_view) {
        reader.emplace(index->reader());
        view.emplace(reader->pin());
    }
    if (with_writer) writer.emplace(index->writer());
    if (world.random.coin()) world.deposit(*index, 1, 1);
    if (world.random.coin()) newer.reset();

    world.run({[&] {
                   if (world.random.coin()) world.deposit(*index, 1, 3);
                   index.reset();
               },
               [&] {
                   if (writer) {
                       writer->edit(0).add(11);
                       if (const auto result = writer->try_commit())
                           world.committed(result.version(), {{Change::add, 0, 11}});
                       writer->edit(1).add(5);
                       writer.reset();
                   }
                   if (newer) world.read(*newer);
                   newer.reset();
                   Scheduler::point();
                   shared.reset();
               },
               [&] {
                   world.read(*snapshot);
                   if (with_weak)
                       if (const auto locked = weak.lock())
                           Verdict::expect(locked->money() > 0, "a weak pointer leads to nothing");
                   Scheduler::point();
                   snapshot.reset();
                   Scheduler::point();
                   if (const auto locked = weak.lock())
                       Verdict::expect(locked->money() > 0, "a weak pointer leads to nothing");
                   weak.reset();
               },
               [&] {
                   reader.reset();
                   if (!view) return;
                   world.read(*view);
                   const Snapshot kept = view->snapshot();
                   view.reset();
                   world.read(kept);
               }});
    world.settle_gone();
}

/// An update whose function is slow, against quick ones of the same shard that do not stop before
/// it is done (or have had many turns). Returns how often the slow one ran.
inline int starve(World& world) {
    Index index = world.make(1);
    bool done = false;
    int tries = 0;
    const auto quick = [&] {
        for (int i = 0; i < 15 && !done; ++i) world.deposit(index, 0, 1);
    };
    world.run({[&] {
                   const Version version = index.update([&](Writer& writer) {
                       ++tries;
                       Account& account = writer.edit(0);
                       for (int i = 0; i < 8; ++i) Scheduler::point();
                       account.add(1000);
                   });
                   world.committed(version, {{Change::add, 0, 1000}});
                   done = true;
               },
               quick, quick});
    world.settle(std::move(index));
    return tries;
}
inline void starvation(World& world) { starve(world); }

/// Readers come and go, and with them their slots, while versions are freed.
inline void reader_churn(World& world) {
    Index index = world.make(1);
    const auto churn = [&] {
        Eyes eyes(world);
        for (int i = 0; i < 3; ++i) {
            std::optional<Reader> reader(index.reader("churn"));
            View view = eyes.pin(*reader);
            if (i == 1) reader.reset(); // the view gives the slot back
            world.read(view);
        }
    };
    world.run({churn, churn, [&] {
                   for (int i = 0; i < 3; ++i) {
                       world.deposit(index, 0, 1);
                       if (i != 1) static_cast<void>(index.reclaim());
                   }
               }});
    world.settle(std::move(index));
}

/// A writer keeps its base while newer versions are committed and dropped around it.
inline void old_base(World& world) {
    Index index = world.make(3);
    Writer writer = index.writer("old");
    world.run({[&] {
                   world.read(writer);
                   writer.edit(0).add(9);
                   Scheduler::point();
                   Verdict::expect_equal(static_cast<std::uint64_t>(writer[1].money()),
                                         World::start_money, "what an open writer reads");
                   for (;;) {
                       const auto result = writer.try_commit();
                       if (result) {
                           world.committed(result.version(), {{Change::add, 0, 9}});
                           break;
                       }
                       writer.discard();
                       writer.edit(0).add(9);
                   }
                   static_cast<void>(index.reclaim());
                   world.read(writer);
                   writer.discard();
               },
               [&] {
                   for (int i = 0; i < 2; ++i) {
                       world.deposit(index, 1, 1);
                       static_cast<void>(index.reclaim());
                   }
               },
               [&] {
                   world.transfer(index, 0, 2, 1);
                   static_cast<void>(index.reclaim());
                   static_cast<void>(index.pins());
               }});
    {
        const Writer dropped = std::move(writer);
    }
    world.settle(std::move(index));
}

/// Commits are made in place above versions that are held, of which they must leave everything as
/// it was. What a batch knows of those may be from before they were held.
inline void above_older(World& world) {
    Index index = world.make(2, true);
    world.deposit(index, 0, 1);
    world.run({[&] {
                   std::optional<Writer> held = index.writer("held");
                   world.read(*held);
                   const Writer later = index.writer("held later");
                   Scheduler::point();
                   world.read(*held);
                   held.reset();
                   static_cast<void>(index.reclaim());
                   world.read(later);
               },
               [&] {
                   for (int i = 0; i < 3; ++i) world.deposit(index, 0, 1);
               },
               [&] {
                   for (int i = 0; i < 2; ++i) world.deposit(index, World::far_id, 1);
                   static_cast<void>(index.memory_usage());
               }});
    world.settle(std::move(index));
}

/// So many changes that they are replayed before the lock is taken, on a version that may be out of
/// date again by then; some add a shard. A refused writer stays where it was.
inline void many_changes(World& world) {
    Index index = world.make(20);
    const std::size_t one_adds = world.random.below(2);
    const std::size_t other_adds = world.random.below(2);
    const auto deposits = [&](ShardId first, std::size_t added) {
        Writer writer = index.writer();
        for (;;) {
            const Version base = writer.base_version();
            const std::int64_t before = writer[19].money();
            std::vector<Change> changes;
            for (ShardId id = first; id < first + 9; ++id) {
                writer.edit(id).add(1);
                changes.push_back({Change::add, id, 1});
            }
            if (added != 0) changes.push_back({Change::put, writer.append(Account(1)), 1});
            if (const auto result = writer.try_commit()) {
                world.committed(result.version(), std::move(changes));
                return;
            }
            Verdict::expect_equal(writer.base_version(), base, "the base after a refused commit");
            Verdict::expect_equal(writer.modified_count(), 9 + added,
                                  "the edits after a refused commit");
            Verdict::expect(writer[19].money() == before,
                            "a refused writer sees other shards change");
            writer.discard();
        }
    };
    // A reader that idles: commits have a barrier to pay for.
    std::optional<Index::Reader> idle = index.reader();
    world.run({[&] { deposits(0, one_adds); }, [&] { deposits(9, other_adds); },
               [&] {
                   world.deposit(index, 19, 1);
                   static_cast<void>(index.reclaim());
                   world.deposit(index, world.random.below(20), 1);
                   static_cast<void>(index.reclaim());
               }});
    idle.reset();
    world.settle(std::move(index));
}

/// A writer moves to the latest version with its edits, again and again.
inline void rebase(World& world) {
    Index index = world.make(3, true);
    world.run({[&] {
                   Writer writer = index.writer();
                   writer.edit(0).add(9);
                   for (;;) {
                       try {
                           writer.rebase();
                           Scheduler::point();
                           writer.edit(1).add(1);
                           const Version version = writer.commit();
                           world.committed(version, {{Change::add, 0, 9}, {Change::add, 1, 1}});
                           return;
                       } catch (const cowindex::ConflictError& error) {
                           for (const ShardId id : error.shards()) writer.revert(id);
                           writer.rebase();
                           writer.revert(1);
                           writer.revert(0);
                           writer.rebase();
                           writer.edit(0).add(9);
                       }
                   }
               },
               [&] {
                   world.deposit(index, World::far_id, 1);
                   world.deposit(index, 2, 1);
                   static_cast<void>(index.reclaim());
               },
               [&] {
                   world.deposit(index, 0, 1);
                   static_cast<void>(index.reclaim());
               }});
    world.settle(std::move(index));
}

/// Two threads free what a third retires, while two versions are held.
inline void two_reclaimers(World& world) {
    Index index = world.make(2);
    world.run({[&] { static_cast<void>(index.reclaim() + index.reclaim()); },
               [&] { static_cast<void>(index.reclaim() + index.memory_usage().total_bytes()); },
               [&] {
                   Eyes eyes(world);
                   Reader reader = index.reader();
                   std::optional<View> pinned(eyes.pin(reader));
                   world.transfer(index, 0, 1, 1);
                   Snapshot kept = eyes.snapshot(index);
                   world.deposit(index, 1, 1);
                   world.deposit(index, 0, 1);
                   world.read(*pinned);
                   pinned.reset();
                   world.read(kept);
                   Eyes::drop(std::move(kept));
               }});
    world.settle(std::move(index));
}

/// A weak pointer is locked just when its version is let go of.
inline void weak_pointers(World& world) {
    Index index = world.make(1);
    std::weak_ptr<const Account> weak = index.snapshot().share(0);
    world.run({[&] {
                   for (int i = 0; i < 2; ++i) {
                       if (std::shared_ptr<const Account> shared = weak.lock()) {
                           Scheduler::point();
                           Verdict::expect(shared->money() >= World::start_money,
                                           "a weak pointer's shard");
                           Eyes::drop(std::move(shared));
                       }
                       Scheduler::point();
                   }
                   weak.reset();
               },
               [&] {
                   for (int i = 0; i < 2; ++i) {
                       world.deposit(index, 0, 1);
                       static_cast<void>(index.reclaim());
                   }
               }});
    world.settle(std::move(index));
}

/// Write skew: two writers read both shards and change one each. With require() one of them loses.
inline void required_shards(World& world) {
    Index index = world.make(2);
    const auto withdraw = [&](ShardId mine, ShardId other) {
        Writer writer = index.writer();
        for (;;) {
            if (writer[mine].money() + writer[other].money() < 200) return;
            writer.edit(mine).add(-150);
            writer.require(other);
            if (const auto result = writer.try_commit()) {
                world.committed(result.version(), {{Change::add, mine, -150}});
                return;
            }
            writer.discard();
        }
    };
    world.run({[&] { withdraw(0, 1); }, [&] { withdraw(1, 0); }});
    {
        const Snapshot end = index.snapshot();
        Verdict::expect_equal(static_cast<std::uint64_t>(end[0].money() + end[1].money()), 50,
                              "the sum that both checked");
    }
    world.settle(std::move(index));
}

/// Shards are added, replaced and erased: the tree grows and shrinks under the committers.
inline void shape_changes(World& world) {
    Index index = world.make(2);
    const auto append = [&] {
        ShardId id = 0;
        Writer writer = index.writer();
        id = writer.append(Account(1));
        Scheduler::point();
        world.committed(writer.commit(), {{Change::put, id, 1}});
        writer.erase(id);
        world.committed(writer.commit(), {{Change::erase, id}});
    };
    world.run({append, append,
               [&] {
                   Eyes eyes(world);
                   Writer writer = index.writer();
                   writer.insert(World::far_id, Account(3));
                   world.committed(writer.commit(), {{Change::put, World::far_id, 3}});
                   Snapshot kept = eyes.snapshot(index);
                   world.committed(index.replace(0, Account(5)), {{Change::put, 0, 5}});
                   world.committed(index.erase(World::far_id), {{Change::erase, World::far_id}});
                   static_cast<void>(index.reclaim());
                   world.read(kept);
                   Eyes::drop(std::move(kept));
               },
               [&] {
                   Eyes eyes(world);
                   Reader reader = index.reader();
                   for (int i = 0; i < 3; ++i) eyes.pin_and_read(reader);
                   static_cast<void>(index.reclaim());
               }});
    world.settle(std::move(index));
}

/// Everything that looks in, while versions come and go.
inline void looking_in(World& world) {
    Index index = world.make(2);
    world.run({[&] {
                   for (int i = 0; i < 2; ++i) {
                       static_cast<void>(index.metrics());
                       static_cast<void>(index.active_readers());
                       for (const auto& pin : index.pins())
                           Verdict::expect(pin.holders > 0,
                                           "a version is listed that nobody holds");
                   }
               },
               [&] {
                   Eyes eyes(world);
                   for (int i = 0; i < 2; ++i) {
                       eyes.look();
                       index.read([&](const View& view) {
                           eyes.see(view.version());
                           world.read(view);
                       });
                   }
               },
               [&] {
                   for (int i = 0; i < 3; ++i) world.transfer(index, 0, 1, 1);
               }});
    world.settle(std::move(index));
}

/// Calls `read()` a few times.
inline void look_in(World& world, const Index& index, int times) {
    Eyes eyes(world);
    for (int i = 0; i < times; ++i)
        index.read([&](const View& view) {
            eyes.see(view.version());
            Scheduler::point();
            world.read(view);
        });
}
/// None is lost: all that `read()` used idle now, and two looks take them back.
inline void take_slots_back(Index& index) {
    for (int i = 0; i < 2; ++i) static_cast<void>(index.reclaim());
    const auto& registry = TestAccess::registry(TestAccess::core(index));
    Verdict::expect_equal(registry.claimed(), 0, "the slots claimed at rest");
}

/// Slots lent for `read()` are taken back where they idle, and lent again.
inline void lent_slots(World& world) {
    Index index = world.make(2);
    const auto reading = [&] { look_in(world, index, 3); };
    world.run({reading, reading, [&] {
                   for (int i = 0; i < 6; ++i) world.transfer(index, 0, 1, 1);
               }});
    take_slots_back(index);
    world.settle(std::move(index));
}

/// Two threads want the last place for a slot: all others are taken, by calls within calls.
inline void last_place(World& world) {
    Index index = world.make(2);
    const auto reading = [&] { look_in(world, index, 2); };
    const auto meet = [&](const auto& within, std::size_t places) -> void {
        if (places > 1) return index.read([&](const View&) { within(within, places - 1); });
        world.run({reading, reading, [&] { world.transfer(index, 0, 1, 1); }});
    };
    using Core = cowindex::detail::Core<Account, ScheduledPolicy>;
    meet(meet, cowindex::detail::SlotLender<Core::Slot, ScheduledPolicy>::places);
    take_slots_back(index);
    world.settle(std::move(index));
}

/// What one commit of one shard in a small index adds to it at most: the copy, its leaf, a record.
inline std::size_t bytes_of_commit() {
    static const std::size_t bytes = [] {
        Index index(2, [](ShardId) { return Account(0); });
        Writer writer = index.writer();
        writer.edit(0).add(1);
        return writer.memory_overhead() +
               sizeof(cowindex::detail::Core<Account, ScheduledPolicy>::Record);
    }();
    return bytes;
}

/// Two committers have room for little more than what they hold, while a reader pins and unpins.
/// Nothing is lost, the limit holds, and a commit that waits for the reader succeeds in the end.
inline void budget(World& world) {
    const std::size_t first_bytes =
        Index(2, [](ShardId) { return Account(0); }).memory_usage().live_bytes;
    const std::size_t limit = first_bytes + (1 + world.random.below(2)) * bytes_of_commit();
    int calls = 0;
    cowindex::Options<ScheduledPolicy> options;
    options.budget.hard_bytes = limit;
    options.budget.soft_bytes = limit - world.random.below(2) * bytes_of_commit() / 2;
    options.budget.on_pressure = [&](const cowindex::MemoryStats& stats) {
        Verdict::expect(Scheduler::held() == 0, "on_pressure is called under a lock");
        Verdict::expect(stats.live_bytes > 0, "on_pressure is told nothing");
        Scheduler::point();
        ++calls;
    };
    Index index = world.make(2, false, options);
    // Only the reader looks: in the middle of a pin its slot names what it may not hold in the end.
    const auto within = [&] {
        const auto stats = index.memory_usage();
        if (stats.live_bytes + stats.retained_bytes > limit)
            Verdict::fail("the index holds " +
                          std::to_string(stats.live_bytes + stats.retained_bytes) +
                          " bytes, more than the limit of " + std::to_string(limit));
    };
    const auto committer = [&](ShardId id) {
        for (int i = 0; i < 2; ++i) {
            Writer writer = index.writer();
            writer.edit(id).add(7);
            for (;;) {
                const auto result = writer.try_commit();
                if (result) {
                    world.committed(result.version(), {{Change::add, id, 7}});
                    break;
                }
                Verdict::expect(result.status() == cowindex::CommitStatus::over_budget,
                                "writers of different shards conflict");
                Verdict::expect_equal(writer.modified_count(), 1, "the edits of a refused writer");
                Scheduler::spin(); // as commit_for() sleeps
            }
        }
    };
    world.run({[&] { committer(0); }, [&] { committer(1); },
               [&] {
                   Eyes eyes(world);
                   Reader reader = index.reader("slow");
                   for (int i = 0; i < 3; ++i) {
                       const View view = eyes.pin(reader);
                       within();
                       world.read(view);
                       within();
                   }
                   within();
               }});
    // Four commits cross the soft limit four times at most.
    Verdict::expect(calls <= 4, "on_pressure is called more than once for a crossing");
    static_cast<void>(index.reclaim());
    within();
    world.settle(std::move(index));
}

/// The same with one committer and threads that take snapshots and ask for the version: nobody
/// holds anything for long, so no commit is refused.
inline void budget_at_a_glance(World& world) {
    const std::size_t first_bytes =
        Index(2, [](ShardId) { return Account(0); }).memory_usage().live_bytes;
    cowindex::Options<ScheduledPolicy> options;
    options.budget.hard_bytes = first_bytes; // full
    Index index = world.make(2, false, options);
    std::optional<Reader> idle; // holds nothing, but has what was replaced wait for a look at it
    if (world.random.coin()) idle.emplace(index.reader());
    world.run({[&] {
                   for (int i = 0; i < 3; ++i) world.deposit(index, 0, 1);
               },
               [&] {
                   Eyes eyes(world);
                   for (int i = 0; i < 2; ++i) {
                       Eyes::drop(eyes.snapshot(index));
                       eyes.version(index);
                   }
               }});
    static_cast<void>(index.reclaim()); // a glance may have lasted longer than the last commit
    const auto stats = index.memory_usage();
    Verdict::expect(stats.live_bytes + stats.retained_bytes + stats.reclaimable_bytes <=
                        options.budget.hard_bytes,
                    "the index is left above its limit");
    idle.reset();
    world.settle(std::move(index));
}

/// Updates of a full index hold the versions that the others must set free: each lets go of its
/// own, and none is refused.
inline void full_updates(World& world) {
    cowindex::Options<ScheduledPolicy> options;
    options.budget.hard_bytes =
        Index(3, [](ShardId) { return Account(0); }).memory_usage().live_bytes;
    Index index = world.make(3, false, options);
    world.run({[&] {
                   for (int i = 0; i < 2; ++i) world.deposit(index, 0, 1);
               },
               [&] {
                   for (int i = 0; i < 2; ++i) world.deposit(index, 1, 1);
               },
               [&] { world.deposit(index, 2, 1); }});
    const auto stats = index.memory_usage();
    Verdict::expect(stats.live_bytes + stats.retained_bytes + stats.reclaimable_bytes <=
                        options.budget.hard_bytes,
                    "the index is left above its limit");
    world.settle(std::move(index));
}

/// Labelled snapshots come and go, the last of them after the index.
inline void labels(World& world) {
    std::optional<Index> index(world.make(1));
    std::optional<Snapshot> first(index->snapshot("first"));
    std::optional<Snapshot> copy(*first);
    world.deposit(*index, 0, 1);
    std::optional<Reader> reader(index->reader());
    std::optional<Index> handle(*index);
    world.run({[&] {
                   world.read(*first);
                   Eyes::drop(*std::move(first));
                   first.reset();
                   Snapshot second = index->snapshot("second");
                   world.read(second);
                   Snapshot third = reader->pin().snapshot("third");
                   reader.reset();
                   Eyes::drop(std::move(second));
                   index.reset();
                   world.read(third);
               },
               [&] {
                   world.deposit(*handle, 0, 1);
                   for (const auto& pin : handle->pins())
                       Verdict::expect(pin.labels.size() <= 3, "a label is listed twice");
                   static_cast<void>(handle->reclaim());
                   handle.reset();
               },
               [&] {
                   Scheduler::point();
                   const Snapshot last = std::move(*copy);
                   copy.reset();
                   world.read(last);
               }});
    world.settle_gone();
}

} // namespace test::scenarios

namespace test {

struct Scenario {
    const char* name;
    void (*body)(World&);
};

inline constexpr Scenario all_scenarios[] = {
    {"same_shard", scenarios::same_shard},
    {"disjoint_shards", scenarios::disjoint_shards},
    {"pin_and_reclaim", scenarios::pin_and_reclaim},
    {"nested_pins", scenarios::nested_pins},
    {"promotion", scenarios::promotion},
    {"mixed_versions", scenarios::mixed_versions},
    {"teardown", scenarios::teardown},
    {"starvation", scenarios::starvation},
    {"reader_churn", scenarios::reader_churn},
    {"old_base", scenarios::old_base},
    {"above_older", scenarios::above_older},
    {"many_changes", scenarios::many_changes},
    {"rebase", scenarios::rebase},
    {"two_reclaimers", scenarios::two_reclaimers},
    {"weak_pointers", scenarios::weak_pointers},
    {"required_shards", scenarios::required_shards},
    {"shape_changes", scenarios::shape_changes},
    {"looking_in", scenarios::looking_in},
    {"lent_slots", scenarios::lent_slots},
    {"last_place", scenarios::last_place},
    {"budget", scenarios::budget},
    {"budget_at_a_glance", scenarios::budget_at_a_glance},
    {"full_updates", scenarios::full_updates},
    {"labels", scenarios::labels},
};

} // namespace test
