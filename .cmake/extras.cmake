# Targets that make something of the headers: built on demand, never by default, never by users.

# The whole library in one header: build/.../amalgamated/cowindex/cowindex.hpp.
add_custom_target(amalgamation
    COMMAND "${CMAKE_COMMAND}" "-DSOURCE=${PROJECT_SOURCE_DIR}"
        "-DOUTPUT=${PROJECT_BINARY_DIR}/amalgamated/cowindex/cowindex.hpp"
        -P "${PROJECT_SOURCE_DIR}/.packaging/amalgamate.cmake"
    COMMENT "Writing amalgamated/cowindex/cowindex.hpp"
    VERBATIM)
