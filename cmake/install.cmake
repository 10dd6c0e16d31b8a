# SPDX-License-Identifier: MIT
# Header, both libraries, pkg-config file, program. `cmake --install DIR --prefix P` may name another
# prefix than the configuration did, so inkling.pc is made while installing.

install(TARGETS inkling_shared inkling_static
    LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR} ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(FILES include/inkling/inkling.h DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/inkling)
if(TARGET inkling_program)
    install(TARGETS inkling_program RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
endif()

foreach(dir libdir includedir)
    string(TOUPPER ${dir} upper)
    if(IS_ABSOLUTE "${CMAKE_INSTALL_${upper}}")
        set(pc_${dir} "${CMAKE_INSTALL_${upper}}")
    else()
        set(pc_${dir} "\${prefix}/${CMAKE_INSTALL_${upper}}")
    endif()
endforeach()
install(CODE "
    set(PROJECT_VERSION [==[${PROJECT_VERSION}]==])
    set(pc_libdir [==[${pc_libdir}]==])
    set(pc_includedir [==[${pc_includedir}]==])
    configure_file([==[${PROJECT_SOURCE_DIR}/cmake/inkling.pc.in]==] [==[${PROJECT_BINARY_DIR}/inkling.pc]==] @ONLY)")
install(FILES ${PROJECT_BINARY_DIR}/inkling.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
