// Compiled with -fno-exceptions: all of the library compiles and works; what would throw says why
// on the standard error stream and calls the program's terminate handler.

#include <cstdio>
#include <cstdlib>
#include <exception>
#include <fstream>
#include <iterator>
#include <sstream>
#include <string>

#include <cowindex/cowindex.hpp>
#include <cowindex/diff.hpp>
#include <cowindex/prometheus.hpp>
#include <cowindex/stream.hpp>

namespace {

constexpr const char* said = "no_exceptions.txt";

void expect(bool good, const char* what) {
    if (good) return;
    std::fprintf(stderr, "not so: %s\n", what);
    std::_Exit(2);
}

} // namespace

int main() {
    cowindex::CowIndex<std::string> index(3, std::string("a"));
    const auto before = index.snapshot();
    auto writer = index.writer();
    writer.edit(0) = "b";
    writer.erase(1);
    writer.insert(9, "c");
    expect(writer.try_commit().status() == cowindex::CommitStatus::committed, "it commits");
    expect(index.append("d") == 10, "it appends");
    expect(index.update([](auto& again) { again.edit(0) = "e"; }) == 3, "it updates");
    expect(cowindex::diff(before, index.snapshot()).size() == 4, "it compares");
    auto loser = index.writer();
    loser.edit(0) = "lost";
    index.replace(0, "won");
    expect(loser.try_commit().status() == cowindex::CommitStatus::conflict, "it conflicts");
    std::ostringstream page;
    cowindex::write_prometheus(page, index.metrics());
    expect(page.str().find("cowindex") != std::string::npos, "it prints");

    expect(std::freopen(said, "w", stderr) != nullptr, "what it says can be kept");
    std::set_terminate([] {
        std::fclose(stderr);
        std::ifstream file(said);
        const std::string text(std::istreambuf_iterator<char>(file), {});
        std::remove(said);
        std::printf("%sthe handler was called\n", text.c_str());
        // not _Exit: a profile is written at the end
        std::exit(text.find("no shard has id 77") == std::string::npos ? 4 : 0);
    });
    static_cast<void>(before.at(77));
    return 3; // not reached
}
