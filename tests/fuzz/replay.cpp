// Runs the fuzz target without a fuzzer, with any compiler and on any processor.
//
//   replay PATH...            each file is one history
//   replay --random N [SEED]  N random ones
//
// The one that failed is left in the file failed_history.

#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <random>
#include <string>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

namespace {

std::vector<std::uint8_t> current;

// The program is about to end: that this is not a signal-safe way to write a file matters little.
extern "C" void keep_history(int) {
    if (std::FILE* file = std::fopen("failed_history", "wb"); file != nullptr) {
        std::fwrite(current.data(), 1, current.size(), file);
        std::fclose(file);
    }
}

// Without streams, and paths for directories alone: the library's own are compiled without
// MemorySanitizer.
bool read_file(const std::string& path) {
    std::FILE* file = std::fopen(path.c_str(), "rb");
    if (file == nullptr) return false;
    current.resize(1 << 16);
    current.resize(std::fread(current.data(), 1, current.size(), file));
    const bool good = std::ferror(file) == 0;
    std::fclose(file);
    return good;
}

std::size_t run_path(const std::string& path) {
    if (read_file(path)) {
        LLVMFuzzerTestOneInput(current.data(), current.size());
        return 1;
    }
    std::size_t count = 0;
    for (const auto& entry : std::filesystem::directory_iterator(path)) // throws for any other
        count += run_path(entry.path().string());
    return count;
}

std::size_t run_random(std::size_t count, std::uint64_t seed) {
    std::mt19937_64 random(seed);
    for (std::size_t i = 0; i < count; ++i) {
        current.resize(random() % 200);
        for (std::uint8_t& byte : current) byte = static_cast<std::uint8_t>(random());
        LLVMFuzzerTestOneInput(current.data(), current.size());
    }
    return count;
}

} // namespace

int main(int argc, char** argv) {
    std::signal(SIGABRT, keep_history);
    std::size_t count = 0;
    if (argc >= 3 && std::strcmp(argv[1], "--random") == 0) {
        count = run_random(std::strtoull(argv[2], nullptr, 10),
                           argc > 3 ? std::strtoull(argv[3], nullptr, 10) : 1);
    } else {
        for (int i = 1; i < argc; ++i) count += run_path(argv[i]);
    }
    std::printf("%zu histories replayed\n", count);
    return count == 0 ? 1 : 0;
}
