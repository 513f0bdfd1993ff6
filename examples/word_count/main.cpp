// Counts the words of all text files below a directory with two writers, while two readers add up
// what is there so far: in every version the sums are right.
//
//   word_count [<directory>]
//
// The default is CowIndex's own source tree.

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <exception>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iostream>
#include <map>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <cowindex/cowindex.hpp>

namespace {

using Counts = std::map<std::string, std::uint64_t>;

// A shard: the counts of some words, or what one writer has read so far.
struct Part {
    Counts counts;
    std::uint64_t words_read = 0;
};

using Index = cowindex::CowIndex<Part>;

constexpr std::size_t parts = 128;
constexpr std::size_t writers = 2; // their own shards follow: parts, parts + 1

cowindex::ShardId part_of(const std::string& word) {
    return std::hash<std::string>{}(word) % parts;
}

std::vector<std::filesystem::path> files_below(const std::filesystem::path& directory) {
    std::vector<std::filesystem::path> files;
    for (std::filesystem::recursive_directory_iterator it(directory), end; it != end; ++it) {
        const std::string extension = it->path().extension().string();
        if (it->is_directory() && it->path().filename().string().starts_with("build"))
            it.disable_recursion_pending();
        else if (it->is_regular_file() &&
                 (extension == ".hpp" || extension == ".cpp" || extension == ".md" ||
                  extension == ".h" || extension == ".txt"))
            files.push_back(it->path());
    }
    std::sort(files.begin(), files.end());
    return files;
}

Counts count_words(const std::filesystem::path& file) {
    std::ifstream in(file);
    Counts counts;
    std::string word;
    for (char c = 0; in.get(c);) {
        if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'))
            word += static_cast<char>(c | 0x20);
        else if (!word.empty())
            ++counts[std::exchange(word, {})];
    }
    if (!word.empty()) ++counts[word];
    return counts;
}

// [write]
// Counts one file without the index, then adds all of it in one version.
void add_file(Index& index, cowindex::ShardId own, const std::filesystem::path& file) {
    const Counts counts = count_words(file); // once, whatever happens below
    index.update([&](Index::Writer& writer) {
        for (const auto& [word, count] : counts) {
            writer.edit(part_of(word)).counts[word] += count;
            writer.edit(own).words_read += count;
        }
    });
}
// [/write]

struct Sums {
    std::uint64_t counted = 0;
    std::uint64_t read = 0;
};

// [read]
template <class Version>
Sums sums_of(const Version& version) {
    Sums sums;
    for (const Part& part : version) {
        for (const auto& [word, count] : part.counts) sums.counted += count;
        sums.read += part.words_read;
    }
    return sums;
}
// [/read]

int run(const std::filesystem::path& directory) {
    const std::vector<std::filesystem::path> files = files_below(directory);
    Index index(parts + writers);

    std::atomic<std::size_t> next{0};
    std::atomic<std::size_t> writing{writers};
    std::atomic<std::uint64_t> sums{0};
    std::atomic<std::uint64_t> wrong{0};
    std::vector<std::thread> threads;
    for (std::size_t i = 0; i < writers; ++i) {
        threads.emplace_back([&, own = parts + i] {
            for (std::size_t file = next++; file < files.size(); file = next++)
                add_file(index, own, files[file]);
            --writing;
        });
    }
    for (int i = 0; i < 2; ++i) {
        threads.emplace_back([&, reader = index.reader()]() mutable {
            cowindex::Version seen = 0;
            do {
                const auto view = reader.pin();
                if (view.version() == seen) continue;
                seen = view.version();
                const Sums now = sums_of(view);
                if (now.counted != now.read) ++wrong;
                ++sums;
            } while (writing > 0);
        });
    }
    for (std::thread& thread : threads) thread.join();

    Counts expected;
    for (const auto& file : files)
        for (const auto& [word, count] : count_words(file)) expected[word] += count;
    const auto now = index.snapshot();
    Counts counts;
    for (const Part& part : now) counts.insert(part.counts.begin(), part.counts.end());

    std::vector<std::pair<std::uint64_t, std::string>> ranking;
    for (const auto& [word, count] : counts) ranking.emplace_back(count, word);
    std::sort(ranking.rbegin(), ranking.rend());
    for (std::size_t i = 0; i < std::min<std::size_t>(3, ranking.size()); ++i)
        std::cout << ranking[i].second << ": " << ranking[i].first << '\n';
    std::cout << files.size() << " files in " << now.version() << " versions, " << counts.size()
              << " words, " << (counts == expected ? "counted as one thread counts them" : "WRONG")
              << "; " << wrong << " sums were wrong\n";
    std::cerr << sums << " versions added up meanwhile, " << index.metrics().retries
              << " files added again after a conflict\n";
    return wrong == 0 && counts == expected ? 0 : 1;
}

} // namespace

int main(int argc, char** argv) {
    if (argc > 2) {
        std::cerr << "usage: word_count [<directory>]\n";
        return 2;
    }
    try {
        return run(argc == 2 ? argv[1] : WORD_COUNT_DIRECTORY);
    } catch (const std::exception& error) {
        std::cerr << "word_count: " << error.what() << '\n';
        return 1;
    }
}
