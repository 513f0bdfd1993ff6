// The entry of libFuzzer; replay.cpp calls it with files.

#include "fuzz/history.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    fuzz::Cell::claimed = 0;
    fuzz::Cell::clones = 0;
    fuzz::History(data, size).run();
    return 0;
}
