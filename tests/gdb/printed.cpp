// Something for gdb to look at: see printers_test.sh.
#include <utility>

#include <cowindex/cowindex.hpp>

namespace {

struct Point {
    int x = 0;
    int y = 0;
};

struct alignas(64) Wide {
    int value = 0;
};

volatile int stopped = 0;

[[gnu::noinline]] void stop_here() { stopped = stopped + 1; }

} // namespace

int main() {
    cowindex::CowIndex<Point> points(3);
    points.edit(1, [](Point& point) { point = {7, 8}; });
    const auto snapshot = points.snapshot();
    auto reader = points.reader();
    const auto view = reader.pin();
    auto writer = points.writer();
    writer.edit(2) = {5, 6};
    writer.erase(0);

    // Three levels, with gaps.
    cowindex::CowIndex<int> sparse;
    sparse.update([](auto& edits) {
        edits.insert(5, -5);
        edits.insert(64, -64);
        edits.insert(1'000'000, -6);
    });
    const auto far = sparse.snapshot();

    cowindex::CowIndex<Wide> wide(2, Wide{42});
    const auto aligned = wide.snapshot();

    cowindex::CowIndex<int> single(1, 9);
    const auto one = single.snapshot();
    auto moved = single.writer();
    const auto taken = std::move(moved);
    auto pinning = single.reader();
    auto gone = pinning.pin();
    const auto kept = std::move(gone);
    const cowindex::Snapshot<int> nothing;
    const auto none = cowindex::CowIndex<int>().snapshot();

    stop_here();
    return static_cast<int>(snapshot.size() + view.size() + far.size() + aligned.size() +
                            one.size() + taken.size() + kept.size() + nothing.size() +
                            none.size()) -
           14;
}
