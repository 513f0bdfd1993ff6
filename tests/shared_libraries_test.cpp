// boost.serialization 104: statics that differ between shared objects. Two libraries compile the
// headers for themselves and use one index, at the same time.

#include <atomic>
#include <memory>
#include <string>
#include <thread>

#include "shared_libraries/index_library.hpp"
#include "support/catch.hpp"
#include "support/validate.hpp"

TEST_CASE("two shared libraries use one index, which either may have made and either may end") {
    for (const bool made_by_first : {true, false}) {
        SharedIndex* index = made_by_first ? first_make() : second_make();
        for (int round = 0; round < 100; ++round) {
            REQUIRE(first_use(*index, round));
            REQUIRE(second_use(*index, round));
        }
        REQUIRE(test::validate(*index) == "");
        {
            auto reader = index->reader();
            const auto view = reader.pin(); // by this program: a third one
            const std::string before = view[1];
            for (int round = 200; round < 210; ++round) {
                REQUIRE(first_use(*index, round));
                REQUIRE(second_use(*index, round));
                REQUIRE(first_readers(*index) == 1);
                REQUIRE(second_readers(*index) == 1);
            }
            REQUIRE(view[1] == before);
        }
        // Pins of one library against the reclaiming of the other.
        std::atomic<bool> stop{false};
        std::thread reading([&] {
            auto reader = index->reader();
            std::size_t letters = 0;
            while (!stop) letters += reader.pin()[1].size();
            static_cast<void>(letters);
        });
        for (int round = 0; round < 2000; ++round)
            static_cast<void>(round % 2 == 0 ? first_use(*index, round)
                                             : second_use(*index, round));
        stop = true;
        reading.join();
        const auto last = index->snapshot();
        REQUIRE(index->metrics().active_readers == 1);
        made_by_first ? second_end(index) : first_end(index);
        REQUIRE(last[0] == "a");
    }
}
