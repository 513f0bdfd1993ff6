// A policy's assign() that changes a copy would have the retired shard's content published; one
// that cannot be called would be passed over without a word.
#include <string>

#include <cowindex/cowindex.hpp>

#ifdef MUST_NOT_COMPILE
using Copy = std::string;
using Constant = const std::string&;
using Other = std::string*;
#else
using Copy = std::string&;
using Constant = std::string&;
using Other = std::string&;
#endif

struct ToCopy : cowindex::DefaultPolicy<std::string> {
    static void assign(Copy retired, const std::string& shard) { retired = shard; }
};
struct ToConstant : cowindex::DefaultPolicy<std::string> {
    static void assign(Constant, const std::string&) noexcept {}
};
struct Uncallable : cowindex::DefaultPolicy<std::string> {
    static void assign(Other, const std::string&) {}
};
// Right in their way.
struct Template : cowindex::DefaultPolicy<std::string> {
    static void assign(auto&& retired, const auto& shard) { retired = shard; }
};
struct Overloads : cowindex::DefaultPolicy<std::string> {
    static void assign(std::string& retired, const std::string& shard) { retired = shard; }
    static void assign(std::string&& retired, const std::string& shard) { retired = shard; }
};
struct Object : cowindex::DefaultPolicy<std::string> {
    static constexpr auto assign = [](auto& retired, const auto& shard) { retired = shard; };
};

template <class Policy>
void use() {
    cowindex::CowIndex<std::string, Policy> index(1);
    index.edit(0, [](std::string& text) { text = "new"; });
}

int main() {
    use<ToCopy>();
    use<ToConstant>();
    use<Uncallable>();
    use<Template>();
    use<Overloads>();
    use<Object>();
}
