// The code of docs/patterns.md. Prints what each part comes to.

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <iostream>
#include <map>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include <cowindex/cowindex.hpp>

namespace {

using namespace std::chrono_literals;
using cowindex::CowIndex;
using cowindex::ShardId;

// ---- one load for each unit of work ------------------------------------------------------------

// [work]
struct Rates {
    std::map<std::string, double> of_currency;
};
using Exchange = CowIndex<Rates>;

// The functions that do the work take the version, not the index: they cannot load another one.
double convert(const Exchange::View& view, double amount, ShardId market, const std::string& from,
               const std::string& to) {
    const Rates& rates = view[market];
    return amount * rates.of_currency.at(from) / rates.of_currency.at(to);
}

double handle(Exchange::Reader& reader, double amount) {
    const auto view = reader.pin(); // once; all that this request sees is of this version
    return convert(view, convert(view, amount, 0, "EUR", "USD"), 1, "USD", "EUR");
}
// [/work]

void one_load() {
    Exchange exchange(2, Rates{{{"EUR", 1.25}, {"USD", 1.0}}});
    auto reader = exchange.reader();
    std::cout << "there and back: " << handle(reader, 100) << '\n';
}

// ---- sharding by key ---------------------------------------------------------------------------

// [by_key]
class Users {
  public:
    explicit Users(std::size_t shards) : shards_(shards), index_(shards) {}

    void set(const std::string& name, std::string address) {
        index_.edit(shard_of(name), [&](Shard& shard) { shard[name] = address; });
    }

    /// Copies what it returns: a reference would end with the pin.
    std::string get(const std::string& name) const {
        return index_.read([&](const auto& view) {
            const Shard& shard = view[shard_of(name)];
            const auto found = shard.find(name);
            return found == shard.end() ? std::string() : found->second;
        });
    }

    CowIndex<std::map<std::string, std::string>>& index() { return index_; }

  private:
    using Shard = std::map<std::string, std::string>;

    ShardId shard_of(std::string_view name) const {
        return std::hash<std::string_view>{}(name) % shards_;
    }

    std::size_t shards_; // never changes; index_.size() would look up the latest version
    CowIndex<Shard> index_;
};
// [/by_key]

// ---- choosing the shard size -------------------------------------------------------------------

// [size]
// Prints what a change costs with so many shards. Measure with shards and changes like yours.
void measure(std::size_t shards) {
    Users users(shards);
    for (int i = 0; i < 10'000; ++i) users.set("user " + std::to_string(i), "somewhere");
    const auto before = users.index().metrics();
    for (int i = 0; i < 100; ++i) users.set("user " + std::to_string(i), "elsewhere");
    const auto time = cowindex::delta(users.index().metrics(), before);
    std::cerr << shards << " shards: clone " << time.average_clone_time.count() << " ns, commit "
              << time.average_commit_time.count() << " ns\n";
}
// [/size]

// [assign]
// Like the default, but copies into shards that no version needs any more.
struct Recycling : cowindex::DefaultPolicy<std::vector<std::string>> {
    using Shard = std::vector<std::string>;
    static void assign(Shard& retired, const Shard& shard) { retired = shard; }
};
CowIndex<std::vector<std::string>, Recycling> names(64);
// [/assign]

void by_key() {
    for (ShardId id = 0; id < names.size(); ++id)
        names.edit(id, [](auto& shard) { shard.push_back("a name that needs memory of its own"); });
    measure(16);
    measure(1024);
    Users users(64);
    users.set("ada", "somewhere");
    users.set("ada", "elsewhere");
    std::cout << "ada is " << users.get("ada") << ", bob is '" << users.get("bob") << "'\n";
}

// ---- growing by appending ----------------------------------------------------------------------

// [append]
struct Log {
    std::vector<std::string> lines;
};

// For one writing thread. The last shard is filled, the others are never touched again.
class Journal {
  public:
    static constexpr std::size_t lines_in_shard = 100;

    void add(std::string line) {
        if (lines_ % lines_in_shard == 0) last_ = index_.append(Log{});
        index_.edit(last_, [&](Log& log) { log.lines.push_back(line); });
        ++lines_;
    }
    const CowIndex<Log>& index() const { return index_; }

  private:
    CowIndex<Log> index_;
    ShardId last_ = 0;
    std::size_t lines_ = 0;
};
// [/append]

void append() {
    Journal journal;
    for (int i = 0; i < 1050; ++i) journal.add("line " + std::to_string(i));
    const auto now = journal.index().snapshot();
    std::cout << "journal: " << now.size() << " shards, the last with "
              << now[now.id_bound() - 1].lines.size() << " lines\n";
}

// ---- several indexes at once -------------------------------------------------------------------

// [several]
struct Row {
    std::string text;
};
using Rows = CowIndex<Row>;
using Words = CowIndex<std::map<std::string, std::vector<ShardId>>>; // rows by their first word

// Rows first, then what refers to them; taken away in the opposite order.
void add_row(Rows& rows, Words& words, const std::string& text) {
    const ShardId row = rows.append({text});
    words.edit(0, [&](auto& map) { map[text.substr(0, text.find(' '))].push_back(row); });
}

// Pins in the opposite order: all that the words refer to is already in the rows.
std::size_t length_of_rows(Words::Reader& words_reader, Rows::Reader& rows_reader,
                           const std::string& word) {
    const auto words = words_reader.pin();
    const auto rows = rows_reader.pin();
    std::size_t length = 0;
    if (const auto found = words[0].find(word); found != words[0].end())
        for (const ShardId row : found->second) length += rows[row].text.size();
    return length;
}
// [/several]

void several() {
    Rows rows;
    Words words(1);
    std::atomic<bool> done{false};
    std::thread reading([&] {
        auto words_reader = words.reader();
        auto rows_reader = rows.reader();
        while (!done) length_of_rows(words_reader, rows_reader, "fig");
    });
    for (int i = 0; i < 200; ++i) add_row(rows, words, i % 2 == 0 ? "fig tree" : "pear tree");
    done = true;
    reading.join();
    auto words_reader = words.reader();
    auto rows_reader = rows.reader();
    std::cout << "rows of fig: " << length_of_rows(words_reader, rows_reader, "fig")
              << " characters\n";
}

// ---- many shards at once -----------------------------------------------------------------------

// [many]
struct Account {
    std::int64_t cents = 0;
};
using Accounts = CowIndex<Account>;

// One version for all of them; while one is copied, the next ones are fetched.
void double_all(Accounts& accounts, const std::vector<ShardId>& ids) {
    accounts.update([&](Accounts::Writer& writer) {
        writer.edit_each(ids, [](ShardId, Account& account) { account.cents *= 2; });
    });
}

// Reading fetches nothing ahead unless it is told what comes.
std::int64_t sum(const Accounts::View& view, const std::vector<ShardId>& ids) {
    std::int64_t sum = 0;
    for (std::size_t i = 0; i < ids.size(); ++i) {
        if (i + 8 < ids.size()) view.prefetch(ids[i + 8]);
        sum += view[ids[i]].cents;
    }
    return sum;
}
// [/many]

void many() {
    Accounts accounts(1000, Account{100});
    std::vector<ShardId> ids;
    for (ShardId id = 0; id < 1000; id += 10) ids.push_back(id);
    double_all(accounts, ids);
    auto reader = accounts.reader();
    std::cout << "in 100 of 1000 accounts: " << sum(reader.pin(), ids) << " cents\n";
}

// ---- a budget ----------------------------------------------------------------------------------

// [budget]
using Tables = CowIndex<std::vector<char>>;

Tables make_tables() {
    cowindex::MemoryBudget budget;
    budget.soft_bytes = 9'000'000;
    budget.hard_bytes = 10'000'000;
    budget.on_pressure = [](const cowindex::MemoryStats& stats) {
        std::cerr << "the index holds " << stats.total_bytes() << " bytes\n"; // and lets go of some
    };
    Tables::Options options;
    options.budget = budget;
    return Tables(8, std::vector<char>(1'000'000), options);
}

bool renew(Tables& tables, ShardId id) {
    try {
        tables.replace(id, std::vector<char>(1'000'000));
        return true;
    } catch (const cowindex::MemoryBudgetError& error) { // nothing was published
        std::cerr << error.what() << '\n';               // who is in the way, by name
        for (const cowindex::PinInfo& pin : tables.pins())
            std::cerr << "version " << pin.version << ", " << pin.holders << " holder(s), keeps "
                      << pin.retained_bytes << " bytes\n";
        return false;
    }
}
// [/budget]

void budget() {
    Tables tables = make_tables();
    std::size_t renewed = 0;
    {
        const auto report = tables.snapshot("a long report");
        while (renewed < 8 && renew(tables, renewed)) ++renewed;
    }
    std::cout << "renewed " << renewed << " of 8 tables beside a report, then "
              << (renew(tables, 7) ? "the last" : "nothing") << '\n';
}

// ---- shutdown ----------------------------------------------------------------------------------

// [shutdown]
// Follows an index until it is told to stop. Waits for bounded times, so that it notices.
class Follower {
  public:
    explicit Follower(const CowIndex<int>& index)
        : thread_([this, reader = index.reader("follower")]() mutable { run(reader); }) {}
    ~Follower() {
        stop_ = true;
        thread_.join();
    }
    Follower(const Follower&) = delete;
    Follower& operator=(const Follower&) = delete;

    int last() const { return last_; }

  private:
    void run(CowIndex<int>::Reader& reader) {
        while (!stop_) {
            const cowindex::Version seen = look(reader.pin()); // the view ends before the wait
            while (!stop_ && !reader.wait_for_newer(seen, 100ms)) {
            }
        }
    }
    cowindex::Version look(const CowIndex<int>::View& view) {
        last_ = view[0];
        return view.version();
    }

    std::atomic<bool> stop_{false};
    std::atomic<int> last_{0};
    std::thread thread_; // last: it uses the others
};
// [/shutdown]

void shutdown() {
    CowIndex<int> index(1);
    const Follower follower(index);
    index.replace(0, 42);
    while (follower.last() != 42) std::this_thread::yield();
    std::cout << "the follower saw " << follower.last() << '\n';
}

} // namespace

int main() {
    one_load();
    by_key();
    append();
    several();
    many();
    budget();
    shutdown();
}
