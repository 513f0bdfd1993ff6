# cmake -DSOURCE=<source directory> -DOUTPUT=<file> -P amalgamate.cmake
# Writes the whole library into one header. Each of its headers takes the place of the first line
# that includes it; other includes stay where they are, since some stand under conditions.
cmake_minimum_required(VERSION 3.20)

file(STRINGS "${SOURCE}/include/cowindex/version.hpp" lines
     REGEX "^#define COWINDEX_VERSION_(MAJOR|MINOR|PATCH) +[0-9]+")
string(REGEX REPLACE "[^;0-9]" "" version "${lines}")
string(REPLACE ";" "." version "${version}")

file(READ "${SOURCE}/LICENSE" license)
string(STRIP "${license}" license)
string(REGEX REPLACE "\n" "\n// " license "${license}")
string(REGEX REPLACE "// \n" "//\n" license "${license}")

set(text "// CowIndex ${version}, all of it in one header. Made by a script: change the sources instead.
//
// ${license}
#pragma once

#include <cowindex/cowindex.hpp>

// What the umbrella header leaves out, since it needs <ostream>.
#if defined(COWINDEX_WITH_EXPORTERS)
#include <cowindex/stream.hpp>
#include <cowindex/prometheus.hpp>
#endif
")

set(included "")
while(text MATCHES "\n#include <cowindex/([a-z_/]+\\.hpp)>[^\n]*\n")
    set(line "${CMAKE_MATCH_0}")
    set(header "${CMAKE_MATCH_1}")
    set(content "\n")
    if(NOT header IN_LIST included)
        list(APPEND included "${header}")
        file(READ "${SOURCE}/include/cowindex/${header}" content)
        string(REGEX REPLACE "\n#pragma once\n" "\n" content "${content}")
        set(content "\n// ---- ${header}\n${content}")
    endif()
    string(FIND "${text}" "${line}" at)
    string(SUBSTRING "${text}" 0 ${at} before)
    string(LENGTH "${line}" length)
    math(EXPR at "${at} + ${length}")
    string(SUBSTRING "${text}" ${at} -1 after)
    set(text "${before}${content}${after}")
endwhile()

file(GLOB_RECURSE headers RELATIVE "${SOURCE}/include/cowindex" "${SOURCE}/include/cowindex/*.hpp")
list(REMOVE_ITEM headers ${included})
if(headers)
    message(FATAL_ERROR "No header that is included on its own includes these: ${headers}")
endif()
file(WRITE "${OUTPUT}" "${text}")
