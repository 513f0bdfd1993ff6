#include <cowindex/cowindex.hpp>

#include <string>

int main() {
    cowindex::CowIndex<std::string> index(4);
    index.replace(2, "packaged");
    return index.snapshot()[2] == "packaged" ? 0 : 1;
}
