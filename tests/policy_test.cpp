#include <cowindex/policy.hpp>

#include <chrono>
#include <cstddef>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <type_traits>
#include <vector>

#include <cowindex/cowindex.hpp>

#include "support/catch.hpp"

using cowindex::DefaultPolicy;

namespace {

struct Reporting {
    std::size_t memory_usage() const { return 1000; }
    std::vector<int> values; // not looked at: the shard speaks for itself
};

// A container whose elements are where it is told.
struct Window {
    using value_type = char;
    const char* data() const { return reinterpret_cast<const char*>(this) + offset; }
    std::size_t capacity() const { return 100; }
    std::size_t offset;
};

template <class Policy, class Shard>
concept Clones = requires(const Shard& shard) { Policy::clone(shard); };

} // namespace

TEST_CASE("bytes are the size, and the heap of what is known to have one") {
    REQUIRE(DefaultPolicy<int>::bytes(5) == sizeof(int));
    REQUIRE(DefaultPolicy<Reporting>::bytes(Reporting()) == sizeof(Reporting) + 1000);
    std::vector<int> vector;
    REQUIRE(DefaultPolicy<std::vector<int>>::bytes(vector) == sizeof(vector));
    vector.reserve(100);
    REQUIRE(DefaultPolicy<std::vector<int>>::bytes(vector) ==
            sizeof(vector) + vector.capacity() * sizeof(int));
    using Map = std::map<int, int>;
    REQUIRE(DefaultPolicy<Map>::bytes(Map{{1, 2}}) == sizeof(Map)); // it cannot know
}

TEST_CASE("a short string is inside itself, a long one is not") {
    const std::string small = "a";
    REQUIRE(DefaultPolicy<std::string>::bytes(small) == sizeof(std::string));
    const std::string large(1000, 'a');
    REQUIRE(DefaultPolicy<std::string>::bytes(large) == sizeof(std::string) + large.capacity());
}

TEST_CASE("elements are inside a shard from its first byte to its last") {
    const auto bytes = [](std::size_t offset) {
        return DefaultPolicy<Window>::bytes(Window{offset});
    };
    REQUIRE(bytes(0) == sizeof(Window));
    REQUIRE(bytes(sizeof(Window) - 1) == sizeof(Window));
    REQUIRE(bytes(sizeof(Window)) == sizeof(Window) + 100);
}

TEST_CASE("cloning is copying, where that is possible") {
    REQUIRE(DefaultPolicy<std::string>::clone("text") == "text");
    STATIC_REQUIRE(Clones<DefaultPolicy<std::string>, std::string>);
    STATIC_REQUIRE_FALSE(Clones<DefaultPolicy<std::unique_ptr<int>>, std::unique_ptr<int>>);
}

TEST_CASE("the rest of the defaults") {
    STATIC_REQUIRE(std::is_same_v<DefaultPolicy<int>::Mutex, std::mutex>);
    STATIC_REQUIRE(std::is_same_v<DefaultPolicy<int>::Allocator, std::allocator<std::byte>>);
    STATIC_REQUIRE(noexcept(DefaultPolicy<int>::sync_point(cowindex::SyncPoint::unpin)));
    DefaultPolicy<int>::sync_point(cowindex::SyncPoint::pin_loaded);
}

TEST_CASE("whatever loses stays away for 0.1 ms to 1.6 ms, twice as long each time") {
    using cowindex::detail::pause_after;
    using std::chrono::microseconds;
    REQUIRE(pause_after(1) == microseconds(0)); // it yields
    REQUIRE(pause_after(2) == microseconds(100));
    REQUIRE(pause_after(3) == microseconds(200));
    REQUIRE(pause_after(6) == microseconds(1600));
    REQUIRE(pause_after(100) == microseconds(1600));
    int times = 0;
    const auto end = std::chrono::steady_clock::now() + microseconds(16000);
    do {
        DefaultPolicy<int>::back_off(6);
        ++times;
    } while (std::chrono::steady_clock::now() < end);
    REQUIRE(times <= 10);
    DefaultPolicy<int>::back_off(1);
}

namespace {

struct OwnBytes : cowindex::DefaultPolicy<int> {
    static std::size_t bytes(const int&) { return 1; }
};
struct SureBytes : cowindex::DefaultPolicy<int> {
    static std::size_t bytes(const int&) noexcept { return 1; }
};
struct ManyBytes : cowindex::DefaultPolicy<int> {
    static std::size_t bytes(const int&) { return 1; }
    static std::size_t bytes(const long&) { return 1; }
};
struct AnyBytes : cowindex::DefaultPolicy<int> {
    template <class Shard>
    static std::size_t bytes(const Shard&) {
        return 1;
    }
};

} // namespace

TEMPLATE_TEST_CASE("a policy's own bytes are asked for, however they are declared", "", OwnBytes,
                   SureBytes, ManyBytes, AnyBytes) {
    cowindex::CowIndex<int, TestType> index(10);
    cowindex::CowIndex<int> plain(10);
    REQUIRE(plain.memory_usage().live_bytes - index.memory_usage().live_bytes ==
            10 * (sizeof(int) - 1));
    index.replace(0, 5);
    plain.replace(0, 5);
    REQUIRE(plain.memory_usage().live_bytes - index.memory_usage().live_bytes ==
            10 * (sizeof(int) - 1));
}
