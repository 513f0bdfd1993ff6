// Shards of a given size, shards that are slow to destroy, and a random sequence that costs next to
// nothing.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace benchmarks {

// `Size` bytes, of which the first eight count how often it was touched.
template <std::size_t Size>
struct Blob {
    std::uint64_t count = 0;
    unsigned char rest[Size - sizeof(std::uint64_t)] = {};

    void touch() { ++count; }
    [[nodiscard]] std::uint64_t weigh() const { return count; }
};

// Whoever destroys the last of these is busy for a while.
struct Strings {
    std::uint64_t count = 0;
    std::vector<std::string> strings =
        std::vector<std::string>(1600, "longer than what a string keeps within itself");

    void touch() { ++count; }
    // Said to the index, so that it does not let hundreds of megabytes wait.
    [[nodiscard]] std::size_t memory_usage() const {
        return strings.size() * (sizeof(std::string) + strings[0].capacity());
    }
    [[nodiscard]] std::uint64_t weigh() const {
        std::uint64_t sum = count;
        for (const std::string& string : strings) sum += static_cast<unsigned char>(string[0]);
        return sum;
    }
};

// Owns many small pieces of memory.
struct Words {
    std::uint64_t count = 0;
    std::vector<std::string> words =
        std::vector<std::string>(40, "longer than what a string keeps within itself");

    void touch() { ++count; }
};

// xorshift64* (Vigna, 2014), reduced by multiplication.
class Random {
  public:
    explicit Random(std::uint64_t seed = 0x9E3779B97F4A7C15U) : state_(seed) {}

    std::uint64_t operator()() {
        state_ ^= state_ >> 12;
        state_ ^= state_ << 25;
        state_ ^= state_ >> 27;
        return state_ * 0x2545F4914F6CDD1DU;
    }

    // Uniform below `bound`, which is less than 2^32.
    std::size_t below(std::size_t bound) { return ((*this)() >> 32) * bound >> 32; }

  private:
    std::uint64_t state_;
};

} // namespace benchmarks
