// Threads that meet, for targets on which the test framework takes too long to compile or to run:
// transfers between accounts, read in every way, whose sum must never move.
//
//   threads [OPERATIONS]

#include <atomic>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <thread>
#include <vector>

#include <cowindex/cowindex.hpp>

namespace {

struct Account {
    std::int64_t money = 100;
    std::vector<std::int64_t> moves{0}; // so that a freed shard is memory that was freed
};
using Bank = cowindex::CowIndex<Account>;

constexpr std::uint64_t accounts = 200; // several leaves
std::atomic<std::uint64_t> wrong{0};

template <class Reading>
void check(const Reading& reading, cowindex::Version& seen) {
    std::int64_t sum = 0;
    for (const Account& account : reading) sum += account.money + (account.moves.empty() ? 1 : 0);
    if (sum != 100 * static_cast<std::int64_t>(accounts)) ++wrong;
    if (reading.version() < seen) ++wrong;
    seen = reading.version();
}

void write(Bank& bank, std::uint64_t operations, std::uint64_t seed) {
    for (std::uint64_t i = 0; i < operations; ++i) {
        seed = seed * 6364136223846793005U + 1442695040888963407U;
        const std::uint64_t from = (seed >> 33) % accounts;
        const std::uint64_t to = (seed >> 17) % accounts;
        bank.update([&](Bank::Writer& writer) {
            writer.edit(from).money -= 5;
            writer.edit(to).money += 5;
            writer.edit(to).moves.push_back(5);
            if (writer.edit(to).moves.size() > 9) writer.edit(to).moves.resize(1);
        });
        if (i % 64 == 0) static_cast<void>(bank.reclaim());
    }
}

void read(Bank& bank, std::uint64_t operations) {
    Bank::Reader reader = bank.reader("reader");
    cowindex::Version seen = 0;
    for (std::uint64_t i = 0; i < operations; ++i) {
        const auto view = reader.pin();
        check(view, seen);
        if (i % 8 == 0) check(view.snapshot(), seen);
        if (i % 8 == 1) {
            cowindex::Version later = seen;
            check(bank.snapshot(), later);
        }
        if (i % 8 == 2)
            bank.read([](const Bank::View& other) {
                cowindex::Version any = 0;
                check(other, any);
            });
    }
}

} // namespace

int main(int argc, char** argv) {
    const std::uint64_t operations = argc > 1 ? std::strtoull(argv[1], nullptr, 10) : 20000;
    Bank bank(accounts);
    std::vector<std::thread> threads;
    for (std::uint64_t seed = 1; seed <= 2; ++seed)
        threads.emplace_back([&bank, operations, seed] { write(bank, operations, seed); });
    for (int i = 0; i < 2; ++i)
        threads.emplace_back([&bank, operations] { read(bank, operations); });
    for (std::thread& thread : threads) thread.join();
    static_cast<void>(bank.reclaim());
    const auto metrics = bank.metrics();
    if (metrics.commits != 2 * operations || bank.version() != 2 * operations) ++wrong;
    if (metrics.retained_bytes != 0 || metrics.active_readers != 0 || metrics.pending_writers != 0)
        ++wrong;
    std::printf("%llu commits, %llu wrong\n", static_cast<unsigned long long>(metrics.commits),
                static_cast<unsigned long long>(wrong.load()));
    return wrong.load() == 0 ? 0 : 1;
}
