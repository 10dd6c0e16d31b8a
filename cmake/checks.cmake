# SPDX-License-Identifier: MIT
# Checks of the tree and of what was built, as tests: they are the same in every preset, so only a build
# without sanitizers has them.

if(INKLING_SANITIZE)
    return()
endif()

function(inkling_check name)
    add_test(NAME checks/${name} COMMAND sh ${ARGN})
    inkling_register(checks/${name} checks)
endfunction()
set(tools ${PROJECT_SOURCE_DIR}/tools)

# Of two compilers' builds one is enough for what only reads the tree.
if(NOT CMAKE_C_COMPILER_ID MATCHES "Clang")
    inkling_check(rooms ${tools}/check_rooms)
    inkling_check(rooms_self ${tools}/check_rooms --self-test)
    inkling_check(style ${tools}/check_style)
endif()
inkling_check(symbols ${tools}/check_symbols $<TARGET_FILE:inkling_shared> $<TARGET_FILE:inkling_static>)
inkling_check(symbols_self ${tools}/check_symbols --self-test ${CMAKE_C_COMPILER})
inkling_check(targets ${tools}/check_targets $<TARGET_FILE:inkling_static>)
if(TARGET inkling_train)
    inkling_check(targets_train ${tools}/check_targets $<TARGET_FILE:inkling_train>)
endif()
inkling_check(targets_self ${tools}/check_targets --self-test ${CMAKE_C_COMPILER})
if(CMAKE_BUILD_TYPE STREQUAL "Release" AND CMAKE_SYSTEM_PROCESSOR MATCHES "^(x86_64|AMD64)$")
    # gcc's library is the one that is held to 400 kB, without what INKLING_EXTRAS adds; clang 14 unrolls more.
    set(size_limit 400000 490000)
    if(CMAKE_C_COMPILER_ID MATCHES "Clang")
        set(size_limit 500000 600000)
    endif()
    inkling_check(size ${tools}/check_size $<TARGET_FILE:inkling_static> ${CMAKE_C_COMPILER} ${size_limit})
endif()
inkling_check(unity ${tools}/check_unity ${CMAKE_C_COMPILER})
inkling_check(header ${PROJECT_SOURCE_DIR}/tests/checks/header.sh ${CMAKE_C_COMPILER})
inkling_check(sample ${PROJECT_SOURCE_DIR}/tests/checks/sample.sh ${CMAKE_C_COMPILER} $<TARGET_FILE:inkling_static>)
inkling_check(examples ${PROJECT_SOURCE_DIR}/tests/checks/examples.sh ${CMAKE_C_COMPILER} $<TARGET_FILE:inkling_static>)
inkling_check(install ${PROJECT_SOURCE_DIR}/tests/checks/install.sh ${CMAKE_C_COMPILER} ${PROJECT_BINARY_DIR})
# The committed tables are what the generator makes of Debian's unicode-data (77: that is not installed).
find_program(PYTHON3 python3)
if(PYTHON3 AND NOT CMAKE_C_COMPILER_ID MATCHES "Clang")
    add_test(NAME checks/unicode COMMAND ${PYTHON3} ${tools}/gen_unicode.py --check)
    inkling_register(checks/unicode checks)
endif()
