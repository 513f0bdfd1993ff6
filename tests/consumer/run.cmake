# cmake -DWAY=<way> -DSOURCE=... -DWORK=... -DGENERATOR=... -DCOMPILER=... -DFLAGS=... -DVERSION=...
#       -P run.cmake
# Builds and runs the consumer project in one of the ways, in directories that are made anew. The
# way 'install' puts the library where find_package and pkg_config then look for it.
cmake_minimum_required(VERSION 3.20)

set(configure "${CMAKE_COMMAND}" -G "${GENERATOR}" "-DCMAKE_CXX_COMPILER=${COMPILER}"
    "-DCMAKE_CXX_FLAGS=${FLAGS}")
set(build "${WORK}/${WAY}/build")
set(prefix "${WORK}/prefix")

function(run)
    execute_process(COMMAND ${ARGN} RESULT_VARIABLE result)
    if(NOT result EQUAL 0)
        list(JOIN ARGN " " command)
        message(FATAL_ERROR "${WAY}: this failed with ${result}: ${command}")
    endif()
endfunction()

file(REMOVE_RECURSE "${WORK}/${WAY}")

if(WAY STREQUAL "install")
    file(REMOVE_RECURSE "${prefix}")
    run(${configure} -S "${SOURCE}" -B "${build}" -DCOWINDEX_BUILD_TESTS=OFF
        -DCOWINDEX_BUILD_EXAMPLES=OFF)
    # Installed in one place and moved to another: nothing in it may remember a path.
    run("${CMAKE_COMMAND}" --install "${build}" --prefix "${WORK}/install/first")
    file(RENAME "${WORK}/install/first" "${prefix}")

    file(GLOB_RECURSE headers RELATIVE "${SOURCE}/include" "${SOURCE}/include/*")
    file(GLOB_RECURSE installed RELATIVE "${prefix}/include" "${prefix}/include/*")
    if(headers STREQUAL "" OR NOT headers STREQUAL installed)
        message(FATAL_ERROR "install: include/ holds '${headers}', installed were '${installed}'.")
    endif()
    file(GLOB_RECURSE others RELATIVE "${prefix}" "${prefix}/*")
    list(FILTER others EXCLUDE REGEX
        "^(include/|share/cmake/CowIndex/|share/pkgconfig/cowindex\\.pc$|share/doc/CowIndex/)")
    if(NOT others STREQUAL "")
        message(FATAL_ERROR "install: what is '${others}'?")
    endif()
    file(GLOB_RECURSE configs "${prefix}/share/*.cmake" "${prefix}/share/*.pc")
    foreach(file IN LISTS configs)
        file(READ "${file}" text)
        foreach(path IN ITEMS "${SOURCE}" "${WORK}")
            string(FIND "${text}" "${path}" at)
            if(NOT at EQUAL -1)
                message(FATAL_ERROR "install: ${file} names the path ${path}.")
            endif()
        endforeach()
    endforeach()
    return()
endif()

# A copy of the consumer, so that third_party/ can be put beside its files.
set(project "${WORK}/${WAY}/project")
file(COPY "${CMAKE_CURRENT_LIST_DIR}/" DESTINATION "${project}")

if(WAY STREQUAL "find_package")
    list(APPEND configure "-DCMAKE_PREFIX_PATH=${prefix}")
elseif(WAY STREQUAL "add_subdirectory")
    file(COPY "${SOURCE}/CMakeLists.txt" "${SOURCE}/.cmake" "${SOURCE}/include" "${SOURCE}/LICENSE"
        DESTINATION "${project}/third_party/CowIndex")
elseif(WAY STREQUAL "fetch_content")
    list(APPEND configure "-DCOWINDEX_REPOSITORY=${SOURCE}"
        "-DFETCHCONTENT_SOURCE_DIR_COWINDEX=${SOURCE}")
elseif(WAY STREQUAL "copied_include")
    file(COPY "${SOURCE}/include" DESTINATION "${project}/third_party/CowIndex")
elseif(WAY STREQUAL "single_header")
    run("${CMAKE_COMMAND}" "-DSOURCE=${SOURCE}"
        "-DOUTPUT=${project}/third_party/amalgamated/cowindex/cowindex.hpp"
        -P "${SOURCE}/.packaging/amalgamate.cmake")
elseif(WAY STREQUAL "vcpkg")
    include("${SOURCE}/tests/packaging/vcpkg.cmake")
    list(APPEND configure "-DCMAKE_PREFIX_PATH=${CURRENT_PACKAGES_DIR}")
elseif(WAY STREQUAL "pkg_config")
    find_program(PKG_CONFIG NAMES pkg-config pkgconf)
    if(NOT PKG_CONFIG)
        message(STATUS "skipped: no pkg-config")
        return()
    endif()
    set(ENV{PKG_CONFIG_PATH} "${prefix}/share/pkgconfig")
else()
    message(FATAL_ERROR "There is no way '${WAY}'.")
endif()

set(kind "${WAY}")
if(WAY STREQUAL "vcpkg")
    set(kind find_package) # that is what the port is for
endif()
run(${configure} -S "${project}" -B "${build}" "-DWAY=${kind}" "-DVERSION=${VERSION}")
run("${CMAKE_COMMAND}" --build "${build}" --config Debug)
find_program(app NAMES app PATHS "${build}" "${build}/Debug" NO_DEFAULT_PATH REQUIRED)
run("${app}")

# A user's own install step does not carry CowIndex along.
run("${CMAKE_COMMAND}" --install "${build}" --prefix "${WORK}/${WAY}/installed")
file(GLOB_RECURSE installed "${WORK}/${WAY}/installed/*")
if(NOT installed STREQUAL "")
    message(FATAL_ERROR "${WAY}: installing the user's project installs '${installed}'.")
endif()
