// A shard that cannot be copied may be replaced, appended and erased, not edited.
#include <cowindex/cowindex.hpp>

struct MoveOnly {
    MoveOnly() = default;
    MoveOnly(MoveOnly&&) = default;
    MoveOnly& operator=(MoveOnly&&) = default;
};

int main() {
    cowindex::CowIndex<MoveOnly> index(2);
    auto writer = index.writer();
    writer.replace(0, MoveOnly());
    writer.append(MoveOnly());
    writer.erase(1);
#ifdef MUST_NOT_COMPILE
    writer.edit(0);
#endif
    writer.commit();
}
