# Makes the target cowindex_catch2 from whichever Catch2 is at hand: version 3 where it is
# installed, else the single header of version 2 (Debian 12 has 2.13), else a pinned download. The
# main function is our own, since the prebuilt one of version 2 breaks cross builds.
add_library(cowindex_catch2 INTERFACE)

find_package(Catch2 3 CONFIG QUIET)
if(NOT TARGET Catch2::Catch2)
    find_path(COWINDEX_CATCH2_HEADER_DIR catch2/catch.hpp)
    mark_as_advanced(COWINDEX_CATCH2_HEADER_DIR)
endif()

if(TARGET Catch2::Catch2)
    message(STATUS "Catch2: ${Catch2_VERSION}")
    target_link_libraries(cowindex_catch2 INTERFACE Catch2::Catch2)
elseif(COWINDEX_CATCH2_HEADER_DIR)
    message(STATUS "Catch2: ${COWINDEX_CATCH2_HEADER_DIR}/catch2/catch.hpp")
    target_include_directories(cowindex_catch2 SYSTEM INTERFACE "${COWINDEX_CATCH2_HEADER_DIR}")
else()
    include("${CMAKE_CURRENT_LIST_DIR}/pinned_source.cmake")
    cowindex_pinned_source(Catch2
        "https://github.com/catchorg/Catch2/archive/refs/tags/v3.7.1.tar.gz"
        c991b247a1a0d7bb9c39aa35faf0fe9e19764213f28ffba3109388e62ee0269c
        "Install Catch2 (on Debian: the package catch2) or pass -DCOWINDEX_BUILD_TESTS=OFF.")
    message(STATUS "Catch2: downloaded 3.7.1")
    target_link_libraries(cowindex_catch2 INTERFACE Catch2::Catch2)
endif()
