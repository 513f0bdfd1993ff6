# What CowIndex's own programs are built with: warnings, sanitizers, the switches that choose
# between two implementations. All of it is on the target cowindex_dev, which is never exported, so
# nothing of it reaches a user of CowIndex::CowIndex.
include_guard(DIRECTORY)

set(CMAKE_CXX_EXTENSIONS OFF)

add_library(cowindex_dev INTERFACE)
set(THREADS_PREFER_PTHREAD_FLAG ON)
find_package(Threads REQUIRED)
target_link_libraries(cowindex_dev INTERFACE CowIndex::CowIndex Threads::Threads)

if(CMAKE_CXX_COMPILER_ID MATCHES "GNU|Clang")
    target_compile_options(cowindex_dev INTERFACE
        -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wsign-conversion -Wold-style-cast
        $<$<BOOL:${COWINDEX_WERROR}>:-Werror>)
endif()

set(sanitizers "${COWINDEX_SANITIZE}")
if(NOT sanitizers STREQUAL "")
    if(NOT sanitizers MATCHES "^(thread|address|undefined|address,undefined|memory)$")
        message(FATAL_ERROR "COWINDEX_SANITIZE is '${sanitizers}'; "
            "it takes 'thread', 'address', 'undefined', 'address,undefined' or 'memory'.")
    endif()
    target_compile_options(cowindex_dev INTERFACE
        -fsanitize=${sanitizers} -fno-sanitize-recover=all -fno-omit-frame-pointer)
    target_link_options(cowindex_dev INTERFACE -fsanitize=${sanitizers})
endif()

if(COWINDEX_PIN_MODE STREQUAL "portable")
    target_compile_definitions(cowindex_dev INTERFACE COWINDEX_PORTABLE_PINS=1)
elseif(NOT COWINDEX_PIN_MODE STREQUAL "auto")
    message(FATAL_ERROR "COWINDEX_PIN_MODE is '${COWINDEX_PIN_MODE}'; it takes 'auto' or 'portable'.")
endif()

if(COWINDEX_SHARED_CELL STREQUAL "standin")
    target_compile_definitions(cowindex_dev INTERFACE COWINDEX_SHARED_CELL_STANDIN=1)
elseif(NOT COWINDEX_SHARED_CELL STREQUAL "auto")
    message(FATAL_ERROR
        "COWINDEX_SHARED_CELL is '${COWINDEX_SHARED_CELL}'; it takes 'auto' or 'standin'.")
endif()
