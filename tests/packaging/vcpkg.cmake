# Runs the vcpkg port with functions that stand for those of vcpkg, and looks at what it packages.
# Needs SOURCE, WORK, VERSION, the command to configure a project in the list `configure`, and the
# function run(); leaves the package in CURRENT_PACKAGES_DIR.
set(port "${SOURCE}/.packaging/vcpkg/cowindex")
set(CURRENT_PACKAGES_DIR "${WORK}/vcpkg/packages/cowindex")
file(REMOVE_RECURSE "${CURRENT_PACKAGES_DIR}")

file(READ "${port}/vcpkg.json" manifest)
string(JSON port_version GET "${manifest}" version)
if(NOT port_version STREQUAL VERSION)
    message(FATAL_ERROR "vcpkg.json says version ${port_version}, version.hpp ${VERSION}.")
endif()

# Options that the project does not have would be ignored in silence.
file(STRINGS "${SOURCE}/CMakeLists.txt" known REGEX "^option\\(COWINDEX_")
file(STRINGS "${port}/portfile.cmake" used REGEX "-DCOWINDEX_")
if(NOT used)
    message(FATAL_ERROR "portfile.cmake sets no option.")
endif()
foreach(line IN LISTS used)
    string(REGEX MATCH "COWINDEX_[A-Z_]+" option "${line}")
    if(NOT known MATCHES "option\\(${option} ")
        message(FATAL_ERROR "portfile.cmake sets ${option}, which is no option of the project.")
    endif()
endforeach()

function(vcpkg_cmake_configure)
    cmake_parse_arguments(arg "" "SOURCE_PATH" "OPTIONS" ${ARGN})
    run(${configure} -S "${arg_SOURCE_PATH}" -B "${WORK}/vcpkg/port" ${arg_OPTIONS})
endfunction()

function(vcpkg_cmake_install)
    run("${CMAKE_COMMAND}" --install "${WORK}/vcpkg/port" --prefix "${CURRENT_PACKAGES_DIR}")
endfunction()

# The package moves one directory up, so the way from it to the prefix becomes one shorter.
function(vcpkg_cmake_config_fixup)
    cmake_parse_arguments(arg "" "PACKAGE_NAME;CONFIG_PATH" "" ${ARGN})
    set(package "${CURRENT_PACKAGES_DIR}/share/${arg_PACKAGE_NAME}")
    file(RENAME "${CURRENT_PACKAGES_DIR}/${arg_CONFIG_PATH}" "${package}")
    file(READ "${package}/CowIndexConfig.cmake" config)
    set(step "get_filename_component(_IMPORT_PREFIX \"\${_IMPORT_PREFIX}\" PATH)\n")
    string(REPLACE "${step}${step}${step}" "${step}${step}" config "${config}")
    file(WRITE "${package}/CowIndexConfig.cmake" "${config}")
endfunction()

function(vcpkg_fixup_pkgconfig)
endfunction()

function(vcpkg_install_copyright)
    cmake_parse_arguments(arg "" "" "FILE_LIST" ${ARGN})
    file(COPY ${arg_FILE_LIST} DESTINATION "${CURRENT_PACKAGES_DIR}/share/cowindex")
    file(RENAME "${CURRENT_PACKAGES_DIR}/share/cowindex/LICENSE"
        "${CURRENT_PACKAGES_DIR}/share/cowindex/copyright")
endfunction()

include("${port}/portfile.cmake")

file(GLOB_RECURSE packaged RELATIVE "${CURRENT_PACKAGES_DIR}" "${CURRENT_PACKAGES_DIR}/*")
list(FILTER packaged EXCLUDE REGEX "^include/cowindex/")
set(expected
    share/cowindex/CowIndexConfig.cmake share/cowindex/CowIndexConfigVersion.cmake
    share/cowindex/copyright share/cowindex/usage share/pkgconfig/cowindex.pc)
list(SORT packaged)
list(SORT expected)
if(NOT packaged STREQUAL expected)
    message(FATAL_ERROR "The port packages '${packaged}', expected were '${expected}'.")
endif()
