# An overlay port: it packages the source tree that it lies in. In a registry, vcpkg_from_github()
# takes the place of this line.
get_filename_component(SOURCE_PATH "${CMAKE_CURRENT_LIST_DIR}/../../.." ABSOLUTE)

set(VCPKG_BUILD_TYPE release) # headers only: there is nothing to build twice

vcpkg_cmake_configure(
    SOURCE_PATH "${SOURCE_PATH}"
    OPTIONS
        -DCOWINDEX_BUILD_TESTS=OFF
        -DCOWINDEX_BUILD_EXAMPLES=OFF
        -DCOWINDEX_BUILD_BENCHMARKS=OFF
        -DCOWINDEX_INSTALL=ON)
vcpkg_cmake_install()
vcpkg_cmake_config_fixup(PACKAGE_NAME cowindex CONFIG_PATH share/cmake/CowIndex)
vcpkg_fixup_pkgconfig()
file(REMOVE_RECURSE
    "${CURRENT_PACKAGES_DIR}/lib" "${CURRENT_PACKAGES_DIR}/share/cmake"
    "${CURRENT_PACKAGES_DIR}/share/doc")

file(INSTALL "${CMAKE_CURRENT_LIST_DIR}/usage" DESTINATION "${CURRENT_PACKAGES_DIR}/share/cowindex")
vcpkg_install_copyright(FILE_LIST "${SOURCE_PATH}/LICENSE")
