#include "git_history.hpp"

#include "printable.hpp"

#include <limits.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <filesystem>
#include <utility>

namespace code_search {

namespace {

constexpr std::string_view submodule_mode = "160000";

/// Requests to `git cat-file` that may wait for their answers. Each is a line of 65 bytes at most,
/// and `PIPE_BUF` bytes fit into any pipe, so writing never blocks while git waits to be read.
constexpr std::size_t max_requests = PIPE_BUF / 65;

/// The space-separated fields of a line; too few of them are empty.
template <std::size_t count>
std::array<std::string_view, count> split(std::string_view line) {
    std::array<std::string_view, count> fields;
    for (std::string_view& field : fields) {
        field = line.substr(0, line.find(' '));
        line.remove_prefix(std::min(line.size(), field.size() + 1));
    }
    return fields;
}

std::vector<TreeEntry> list_tree(const std::string& clone, const std::string& commit) {
    GitProcess tree(clone, {"ls-tree", "-r", "-z", "--full-tree", commit}, GitProcess::Input::none,
                    nullptr);
    std::vector<TreeEntry> entries;
    std::string line; // "mode type id\tpath"
    while (tree.read_until('\0', line)) {
        const std::size_t tab = line.find('\t');
        const auto [mode, type, id] = split<3>(std::string_view(line).substr(0, tab));
        if (tab == std::string::npos || id.empty()) tree.fail("unexpected line " + printable(line));
        entries.push_back({line.substr(tab + 1), std::string(id), mode == submodule_mode});
    }
    tree.finish();
    return entries;
}

} // namespace

bool is_clone(const std::string& path) {
    namespace fs = std::filesystem;
    const fs::path top(path);
    std::error_code error;
    return fs::exists(top / ".git", error) ||
           (fs::exists(top / "HEAD", error) && fs::is_directory(top / "objects", error) &&
            fs::is_directory(top / "refs", error));
}

std::uint64_t count_commits(const std::string& clone) {
    GitProcess count(clone, {"rev-list", "--count", "--first-parent", "HEAD", "--"},
                     GitProcess::Input::none, nullptr);
    std::string line;
    const bool some = count.read_until('\n', line);
    count.finish();
    std::uint64_t commits = 0;
    if (some) std::from_chars(line.data(), line.data() + line.size(), commits);
    return commits;
}

GitHistory::GitHistory(std::string clone, Extent extent, const std::atomic<bool>& stop)
    : clone_(std::move(clone)), extent_(extent), commits_(count_commits(clone_)),
      contents_(clone_, {"cat-file", "--batch"}, GitProcess::Input::pipe, &stop) {
    if (extent == Extent::newest) {
        newest_ = list_tree(clone_, "HEAD");
        return;
    }
    log_.emplace(clone_,
                 std::vector<std::string>{"log", "--reverse", "--first-parent", "-m", "--root",
                                          "--no-renames", "--ignore-submodules=none", "--raw",
                                          "--no-abbrev", "-z", "--format=%H", "HEAD", "--"},
                 GitProcess::Input::none, &stop);
    read_log_piece();
}

std::string GitHistory::title() const { return "the history of " + printable(clone_); }

std::optional<Commit> GitHistory::next() {
    return extent_ == Extent::history ? next_of_history() : next_of_newest();
}

Listing GitHistory::listing_after(const Commit& commit) {
    return [clone = clone_, name = commit.name] { return list_tree(clone, name); };
}

/// Reads up to the next NUL that is followed by something: some versions of git print empty pieces,
/// or a line feed, between a commit and its changes.
bool GitHistory::read_log_piece() {
    while (log_->read_until('\0', piece_)) {
        piece_.erase(0, piece_.find_first_not_of('\n'));
        if (!piece_.empty()) return true;
    }
    log_->finish();
    log_.reset();
    return false;
}

std::optional<Commit> GitHistory::next_of_history() {
    if (!log_) return std::nullopt;
    Commit commit;
    commit.name = piece_;
    if (piece_.find_first_not_of("0123456789abcdef") != std::string::npos) {
        log_->fail("unexpected output " + printable(piece_));
    }
    std::vector<Entry> entries;
    while (read_log_piece() && piece_.front() == ':') entries.push_back(read_entry());
    commit.changes = load(entries);
    return commit;
}

/// Reads ":old_mode new_mode old_id new_id status" and the path behind it.
GitHistory::Entry GitHistory::read_entry() {
    const auto [old_mode, new_mode, old_id, new_id, status] = split<5>(piece_);
    if (status.empty()) log_->fail("unexpected output " + printable(piece_));
    Entry entry;
    entry.deleted = status == "D";
    entry.tree.id = new_id;
    entry.tree.submodule = new_mode == submodule_mode;
    if (!log_->read_until('\0', entry.tree.path)) log_->fail("a change without a path");
    return entry;
}

std::optional<Commit> GitHistory::next_of_newest() {
    if (newest_.empty()) return std::nullopt;
    const std::size_t count = std::min<std::size_t>(newest_.size(), 512);
    std::vector<Entry> entries;
    for (auto entry = newest_.end() - static_cast<std::ptrdiff_t>(count); entry != newest_.end();
         ++entry) {
        entries.push_back({std::move(*entry), false});
    }
    newest_.resize(newest_.size() - count);
    return Commit{"HEAD", load(entries)};
}

std::vector<Change> GitHistory::load(const std::vector<Entry>& entries) {
    const auto has_contents = [](const Entry& entry) {
        return !entry.deleted && !entry.tree.submodule;
    };
    std::vector<Change> changes;
    changes.reserve(entries.size());
    auto asked = entries.begin();
    std::size_t waiting = 0;
    for (const Entry& entry : entries) {
        for (; asked != entries.end() && waiting < max_requests; ++asked) {
            if (!has_contents(*asked)) continue;
            contents_.write(asked->tree.id + '\n');
            ++waiting;
        }
        if (has_contents(entry)) {
            changes.push_back(read_answer(entry.tree));
            --waiting;
        } else if (entry.deleted) {
            changes.push_back({entry.tree.path, nullptr, {}});
        } else {
            auto file = std::make_shared<File>();
            file->path = entry.tree.path;
            file->id = entry.tree.id;
            file->submodule = true;
            changes.push_back({entry.tree.path, std::move(file), {}});
        }
    }
    return changes;
}

/// Reads "id type size", then the contents and a line feed.
Change GitHistory::read_answer(const TreeEntry& entry) {
    std::string header;
    if (!contents_.read_until('\n', header)) contents_.fail("output ends early");
    const auto [id, type, size_text] = split<3>(header);
    std::size_t size = 0;
    const auto [end, error] =
        std::from_chars(size_text.data(), size_text.data() + size_text.size(), size);
    if (id == entry.id && type == "missing") {
        auto file = std::make_shared<File>();
        file->path = entry.path;
        file->id = entry.id;
        return {entry.path, std::move(file), {}};
    }
    if (id != entry.id || type != "blob" || error != std::errc()) {
        contents_.fail("unexpected answer " + printable(header));
    }
    std::string contents = contents_.read_bytes(size);
    contents_.read_bytes(1);
    return put_file(entry.path, entry.id, std::move(contents));
}

} // namespace code_search
