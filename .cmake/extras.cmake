# Targets that make something of the headers: built on demand, never by default, never by users.

# The whole library in one header: build/.../amalgamated/cowindex/cowindex.hpp.
add_custom_target(amalgamation
    COMMAND "${CMAKE_COMMAND}" "-DSOURCE=${PROJECT_SOURCE_DIR}"
        "-DOUTPUT=${PROJECT_BINARY_DIR}/amalgamated/cowindex/cowindex.hpp"
        -P "${PROJECT_SOURCE_DIR}/.packaging/amalgamate.cmake"
    COMMENT "Writing amalgamated/cowindex/cowindex.hpp"
    VERBATIM)

# The reference of the interface, by Doxygen: build/.../reference/html/index.html. Fails at whatever
# Doxygen warns of.
find_program(COWINDEX_DOXYGEN doxygen)
find_file(COWINDEX_DOXYGEN_STYLE doxygen-awesome.css
    PATHS /usr/share/doxygen-awesome-css NO_DEFAULT_PATH)
mark_as_advanced(COWINDEX_DOXYGEN COWINDEX_DOXYGEN_STYLE)
if(COWINDEX_DOXYGEN)
    set(reference_style "")
    if(COWINDEX_DOXYGEN_STYLE)
        set(reference_style "\"${COWINDEX_DOXYGEN_STYLE}\"")
    endif()
    configure_file("${CMAKE_CURRENT_LIST_DIR}/reference.doxyfile.in"
        "${PROJECT_BINARY_DIR}/reference.doxyfile" @ONLY)
    add_custom_target(reference
        COMMAND "${COWINDEX_DOXYGEN}" "${PROJECT_BINARY_DIR}/reference.doxyfile"
        COMMENT "Writing reference/html/index.html"
        VERBATIM)
endif()
