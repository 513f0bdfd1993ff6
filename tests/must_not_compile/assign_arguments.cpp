// A policy's assign() that changes a copy would have the retired shard's content published; one
// that cannot be called would be passed over without a word.
#include <string>

#include <cowindex/cowindex.hpp>

#ifdef MUST_NOT_COMPILE
using Retired = std::string;
using Other = std::string*;
#else
using Retired = std::string&;
using Other = std::string&;
#endif

struct ByValue : cowindex::DefaultPolicy<std::string> {
    static void assign(Retired retired, const std::string& shard) { retired = shard; }
};
struct Uncallable : cowindex::DefaultPolicy<std::string> {
    static void assign(Other, const std::string&) {}
};

int main() {
    cowindex::CowIndex<std::string, ByValue> by_value(1);
    cowindex::CowIndex<std::string, Uncallable> uncallable(1);
}
