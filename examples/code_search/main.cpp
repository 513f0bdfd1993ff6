// Full-text search over a source tree while it changes. Read in this order: text_shard.hpp (what a
// shard is), code_index.cpp (all writing), replay.cpp (the writer), searchers.cpp (the readers),
// auditor.cpp (owned snapshots); the rest reads git or prints.
#include "auditor.hpp"
#include "code_index.hpp"
#include "directory_files.hpp"
#include "git_history.hpp"
#include "matches.hpp"
#include "options.hpp"
#include "printable.hpp"
#include "replay.hpp"
#include "report.hpp"
#include "run_state.hpp"
#include "searchers.hpp"

#include <signal.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <filesystem>
#include <memory>
#include <string>
#include <thread>

namespace code_search {

namespace {

constexpr const char* default_clone = CODE_SEARCH_DEFAULT_CLONE;
constexpr const char* default_directory = "/usr/include";
constexpr std::uint64_t default_directory_bytes = 64'000'000;
constexpr std::uint64_t fewest_commits = 200;

std::atomic<bool> interrupted{false};
static_assert(std::atomic<bool>::is_always_lock_free, "a signal handler sets it");

/// The first Ctrl-C ends the run in order, the second at once.
void handle_interrupts() {
    struct sigaction action{};
    action.sa_handler = [](int) { interrupted = true; };
    action.sa_flags = static_cast<int>(SA_RESETHAND);
    sigaction(SIGINT, &action, nullptr);
}

/// The path to use where none was given, and why it is that one.
std::string choose_path() {
    std::string reason = "is not there";
    if (is_clone(default_clone)) {
        try {
            const std::uint64_t commits = count_commits(default_clone);
            if (commits >= fewest_commits) return default_clone;
            reason = "has only " + grouped(commits) + " commits";
        } catch (const GitError& error) {
            reason = std::string("cannot be replayed (") + error.what() + ")";
        }
    }
    std::fprintf(stderr, "%s %s: taking %s\n", default_clone, reason.c_str(), default_directory);
    return default_directory;
}

std::unique_ptr<Source> open_source(const Options& options, const std::atomic<bool>& stop) {
    const std::string path = options.path.empty() ? choose_path() : options.path;
    if (!std::filesystem::is_directory(path)) {
        throw UsageError("'" + printable(path) + "' is not a directory");
    }
    if (is_clone(path)) {
        const auto extent =
            options.query ? GitHistory::Extent::newest : GitHistory::Extent::history;
        return std::make_unique<GitHistory>(path, extent, stop);
    }
    const auto extent =
        options.query ? DirectoryFiles::Extent::once : DirectoryFiles::Extent::rotation;
    const std::uint64_t bytes = options.path.empty() ? default_directory_bytes : UINT64_MAX;
    return std::make_unique<DirectoryFiles>(path, extent, bytes);
}

void query(Source& source, const std::string& text) {
    CodeIndex index(shard_count);
    while (const auto commit = source.next()) apply(index, *commit);
    print_matches(index, text);
}

void replay(Source& source, const Options& options, RunState& state) {
    using Clock = std::chrono::steady_clock;
    CodeIndex index(shard_count);
    Summary summary;
    const auto start = Clock::now();
    const auto deadline = start + std::chrono::seconds(options.seconds);

    Auditor auditor(state);
    Searchers searchers(index, options.readers, 2 * options.check_every, state);
    {
        Replay writer(index, source, auditor, options.check_every, state);
        Progress progress(source.commit_count());
        while (!writer.done()) {
            if (interrupted || Clock::now() >= deadline) state.stop();
            progress.show(writer.commits(), writer.changes(), searchers.searches(),
                          auditor.checks() + searchers.checks());
            const auto metrics = index.metrics();
            summary.most_retained_versions =
                std::max(summary.most_retained_versions, metrics.retained_versions);
            summary.most_retained_bytes =
                std::max(summary.most_retained_bytes, metrics.retained_bytes);
            std::this_thread::sleep_for(std::chrono::milliseconds(20));
        }
        summary.time = Clock::now() - start;
        summary.commits = writer.commits();
        summary.changes = writer.changes();
        summary.bytes_of_full_clones = writer.bytes_of_full_clones();
        summary.end = writer.complete() ? "to its end"
                      : interrupted     ? "until interrupted"
                                        : "until the time was over";
    }
    searchers.finish();
    auditor.finish();
    state.rethrow_failure();
    if (summary.commits == 0 && !state.stopping()) {
        throw UsageError("there is nothing to index in " + source.title());
    }

    for (const TextShard& shard : index.snapshot()) {
        summary.files += shard.size();
        for (const auto& file : shard.files()) summary.text_bytes += file ? file->text.size() : 0;
    }
    summary.title = source.title();
    summary.truth = source.truth();
    summary.readers = options.readers;
    summary.searches = searchers.searches();
    const LatencyHistogram latencies = searchers.latencies();
    summary.search_p50 = latencies.percentile(0.50);
    summary.search_p99 = latencies.percentile(0.99);
    summary.commit_checks = auditor.checks();
    summary.search_checks = searchers.checks();
    summary.metrics = index.metrics();
    print_table(summary);
}

int run(const Options& options) {
    if (options.help) {
        std::fputs(help_text, stdout);
        return EXIT_SUCCESS;
    }
    signal(SIGPIPE, SIG_IGN); // a git that dies is an error of write()
    RunState state;
    const std::unique_ptr<Source> source = open_source(options, state.stop_flag());
    if (options.query) {
        query(*source, *options.query);
    } else {
        handle_interrupts();
        replay(*source, options, state);
    }
    return EXIT_SUCCESS;
}

} // namespace

} // namespace code_search

int main(int count, char** arguments) {
    try {
        return code_search::run(code_search::parse_options(count, arguments));
    } catch (const code_search::Mismatch& mismatch) {
        std::fprintf(stderr, "code_search: mismatch: %s\n", mismatch.what());
        return EXIT_FAILURE;
    } catch (const std::exception& error) {
        std::fprintf(stderr, "code_search: %s\n", error.what());
        return 2;
    }
}
