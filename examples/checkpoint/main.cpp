// Writes an index to disk piece by piece while two threads go on changing it, reads it back, and
// compares.
//
//   checkpoint <directory>
//
// The directory is made if need be; earlier checkpoints in it are removed.

#include <atomic>
#include <exception>
#include <filesystem>
#include <iostream>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "checkpoint.hpp"

namespace {

using checkpoint::Checkpoints;
using checkpoint::Notes;

constexpr std::size_t notes_at_first = 5000;
constexpr std::size_t checkpoints = 6;
constexpr cowindex::Version versions_between = 100;

// Edits, adds and removes notes until it is told to stop.
void scribble(Notes notes, unsigned seed, const std::atomic<bool>& stop) {
    std::mt19937 random(seed);
    while (!stop) {
        notes.update([&](Notes::Writer& writer) {
            const cowindex::ShardId id = random() % writer.id_bound();
            if (!writer.contains(id) || random() % 10 == 0)
                writer.append("a new note, " + std::to_string(random()));
            else if (random() % 10 == 0)
                writer.erase(id);
            else
                writer.edit(id) += ", " + std::to_string(random() % 1000);
        });
    }
}

// True where both hold the same notes under the same ids.
bool same(const Notes::Snapshot& a, const Notes::Snapshot& b) {
    if (a.version() != b.version() || a.size() != b.size()) return false;
    for (const auto& [id, note] : a.items()) {
        const std::string* other = b.find(id);
        if (other == nullptr || *other != note) return false;
    }
    return true;
}

// The writers stop when this ends, however it ends.
class Scribblers {
  public:
    explicit Scribblers(const Notes& notes) {
        for (unsigned seed = 1; seed <= 2; ++seed)
            threads_.emplace_back(scribble, notes, seed, std::cref(stop_));
    }
    ~Scribblers() {
        stop_ = true;
        for (std::thread& thread : threads_) thread.join();
    }
    Scribblers(const Scribblers&) = delete;
    Scribblers& operator=(const Scribblers&) = delete;

  private:
    std::atomic<bool> stop_{false};
    std::vector<std::thread> threads_;
};

int run(const std::filesystem::path& directory) {
    std::filesystem::create_directories(directory);
    for (std::size_t i = 0;
         std::filesystem::remove(directory / ("checkpoint-" + std::to_string(i)));)
        ++i;

    Notes notes(notes_at_first, [](cowindex::ShardId id) { return "note " + std::to_string(id); });
    Checkpoints saved(directory);
    Notes::Snapshot last;
    {
        const Scribblers scribblers(notes);
        for (std::size_t i = 0; i < checkpoints; ++i) {
            while (i > 0 && notes.version() < last.version() + versions_between)
                std::this_thread::yield();
            last = notes.snapshot();
            const auto [stored, erased] = saved.save(last);
            std::cout << "checkpoint " << i << ": " << stored << " notes stored, " << erased
                      << " erased\n";
        }
    }

    const Notes restored = checkpoint::restore(directory);
    if (!same(restored.snapshot(), last)) {
        std::cout << "what was restored differs from what was saved\n";
        return 1;
    }
    std::cout << "restored from " << saved.files() << " files: the same " << last.size()
              << " notes, the same version; meanwhile the writers were "
              << (notes.version() > last.version() ? "further on" : "idle") << '\n';
    return 0;
}

} // namespace

int main(int argc, char** argv) {
    if (argc != 2) {
        std::cerr << "usage: checkpoint <directory>\n";
        return 2;
    }
    try {
        return run(argv[1]);
    } catch (const std::exception& error) {
        std::cerr << "checkpoint: " << error.what() << '\n';
        return 1;
    }
}
