// Settings that are loaded again while requests are served: each request sees one state of the
// file, never a mixture of two, and a file with an error in it changes nothing.
//
//   config_store <file>
//
// Writes the file several times, as an operator would, while two threads serve requests.

#include <atomic>
#include <cstdint>
#include <exception>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <iterator>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "config_store.hpp"

namespace {

using config_store::get;
using config_store::Settings;

// Two settings that must belong together: a request that mixes two states of the file would ask
// the new server for a table that only the old one has.
constexpr const char* states[] = {
    "[server]\nhost = alpha.example\n[table]\nname = alpha.example/users\n[log]\nlevel = info\n",
    "[server]\nhost = beta.example\n[table]\nname = beta.example/users\n[log]\nlevel = info\n",
    "[server]\nhost = gamma.example\n[table\nname = gamma.example/users\n",
    "[server]\nhost = beta.example\n[table]\nname = beta.example/users\n[cache]\nsize = 64\n",
};

class Requests {
  public:
    explicit Requests(const Settings& settings) {
        for (int i = 0; i < 2; ++i) {
            threads_.emplace_back([this, reader = settings.reader("requests")]() mutable {
                while (!stop_) {
                    const auto view = reader.pin(); // the settings of this request
                    const std::string& host = get(view, "server", "host");
                    if (!get(view, "table", "name").starts_with(host + "/")) ++mixed_;
                    ++served_;
                }
            });
        }
    }
    ~Requests() {
        stop_ = true;
        for (std::thread& thread : threads_) thread.join();
    }
    Requests(const Requests&) = delete;
    Requests& operator=(const Requests&) = delete;

    // Waits until requests have been served under the settings as they are now.
    void serve_some() const {
        for (const std::uint64_t enough = served_ + 1000; served_ < enough;)
            std::this_thread::yield();
    }
    std::uint64_t mixed() const { return mixed_; }

  private:
    std::atomic<bool> stop_{false};
    std::atomic<std::uint64_t> served_{0};
    std::atomic<std::uint64_t> mixed_{0};
    std::vector<std::thread> threads_;
};

void write(const std::filesystem::path& file, const std::string& text) {
    std::ofstream out(file, std::ios::trunc);
    if (!(out << text << std::flush))
        throw std::runtime_error("'" + file.string() + "' cannot be written");
}

// What a part of the program asks that must act when its section changes.
void print_difference(const Settings::Snapshot& before, const Settings::Snapshot& after) {
    std::cout << "version " << after.version() << ':';
    cowindex::for_each_difference(
        before, after, [](cowindex::ShardId, const auto* older, const auto* newer) {
            if (newer == nullptr)
                std::cout << " -[" << older->name << ']';
            else
                std::cout << (older == nullptr ? " +[" : " ~[") << newer->name << ']';
        });
    std::cout << '\n';
}

int run(const std::filesystem::path& file) {
    Settings settings;
    const auto nothing = settings.snapshot();
    write(file, states[0]);
    reload(settings, file);
    print_difference(nothing, settings.snapshot());

    const Requests requests(settings);
    for (std::size_t i = 1; i < std::size(states); ++i) {
        requests.serve_some();
        const auto before = settings.snapshot();
        write(file, states[i]);
        try {
            reload(settings, file);
            print_difference(before, settings.snapshot());
        } catch (const std::runtime_error& error) {
            std::cout << "refused: " << error.what() << "; still version " << settings.version()
                      << '\n';
        }
    }
    for (int i = 0; i < 500; ++i) {
        write(file, states[i % 2]);
        reload(settings, file);
    }
    requests.serve_some();
    std::cout << settings.version() << " versions, " << requests.mixed()
              << " requests saw a mixture\n";
    return requests.mixed() == 0 ? 0 : 1;
}

} // namespace

int main(int argc, char** argv) {
    if (argc != 2) {
        std::cerr << "usage: config_store <file>\n";
        return 2;
    }
    try {
        return run(argv[1]);
    } catch (const std::exception& error) {
        std::cerr << "config_store: " << error.what() << '\n';
        return 1;
    }
}
