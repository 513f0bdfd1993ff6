# Installs the headers, the CMake package and the pkg-config file. All of it is independent of the
# architecture and may be moved after the installation.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

set(package_dir "${CMAKE_INSTALL_DATADIR}/cmake/CowIndex")
set(pkgconfig_dir "${CMAKE_INSTALL_DATADIR}/pkgconfig")

target_include_directories(CowIndex INTERFACE "$<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>")
if(CMAKE_VERSION VERSION_GREATER_EQUAL 3.23)
    install(TARGETS CowIndex EXPORT CowIndex
        FILE_SET HEADERS DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}")
else()
    install(TARGETS CowIndex EXPORT CowIndex)
    install(DIRECTORY include/cowindex DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}"
        FILES_MATCHING PATTERN "*.hpp")
endif()

# There is no dependency to look for, so the export is the whole package configuration.
install(EXPORT CowIndex
    DESTINATION "${package_dir}" NAMESPACE CowIndex:: FILE CowIndexConfig.cmake)
# While the major version is 0, a new minor version may break the interface.
write_basic_package_version_file("${CMAKE_CURRENT_BINARY_DIR}/CowIndexConfigVersion.cmake"
    COMPATIBILITY SameMinorVersion ARCH_INDEPENDENT)
install(FILES "${CMAKE_CURRENT_BINARY_DIR}/CowIndexConfigVersion.cmake"
    DESTINATION "${package_dir}")

if(IS_ABSOLUTE "${CMAKE_INSTALL_INCLUDEDIR}")
    set(pc_includedir "${CMAKE_INSTALL_INCLUDEDIR}")
else()
    file(RELATIVE_PATH pc_to_prefix "/prefix/${pkgconfig_dir}" "/prefix")
    set(pc_includedir "\${pcfiledir}/${pc_to_prefix}/${CMAKE_INSTALL_INCLUDEDIR}")
endif()
configure_file("${CMAKE_CURRENT_LIST_DIR}/cowindex.pc.in"
    "${CMAKE_CURRENT_BINARY_DIR}/cowindex.pc" @ONLY)
install(FILES "${CMAKE_CURRENT_BINARY_DIR}/cowindex.pc" DESTINATION "${pkgconfig_dir}")

install(FILES LICENSE DESTINATION "${CMAKE_INSTALL_DATADIR}/doc/CowIndex")
