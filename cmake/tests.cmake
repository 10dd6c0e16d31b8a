# SPDX-License-Identifier: MIT
# tests/SUITE/test_NAME.c is one program each, called SUITE/NAME by ctest and labelled SUITE;
# tests/fuzz/fuzz_NAME.c runs over its seeds as fuzz/NAME. A source that speaks of threads, or has the line
# "// Label: threads", gets that label too: it is what runs under ThreadSanitizer.

pkg_check_modules(CMOCKA REQUIRED IMPORTED_TARGET cmocka)

set(test_seconds 900 CACHE STRING "Time limit of one test program")
# A locale that writes 0,5, for the tests that the host's locale changes nothing. They leave that out
# where it cannot be made (Debian: package locales).
set(locale_folder ${PROJECT_BINARY_DIR}/locale)
if(NOT EXISTS ${locale_folder}/de_DE.UTF-8)
    file(MAKE_DIRECTORY ${locale_folder})
    execute_process(COMMAND localedef -c -i de_DE -f UTF-8 ${locale_folder}/de_DE.UTF-8 OUTPUT_QUIET ERROR_QUIET)
endif()

set(test_env
    LOCPATH=${locale_folder}
    INKLING_SOURCE_DIR=${PROJECT_SOURCE_DIR}
    INKLING_BUILD_DIR=${PROJECT_BINARY_DIR}
    INKLING_SHARED=$<TARGET_FILE:inkling_shared>
    "ASAN_OPTIONS=detect_leaks=1:detect_stack_use_after_return=1:strict_string_checks=1:allocator_may_return_null=1"
    "LSAN_OPTIONS=suppressions=${PROJECT_SOURCE_DIR}/tests/support/leaks.txt:print_suppressions=0"
    "UBSAN_OPTIONS=print_stacktrace=1:halt_on_error=1"
    "TSAN_OPTIONS=halt_on_error=1:second_deadlock_stack=1")
# The file that is linked in as the built-in model; empty: none is.
list(APPEND test_env INKLING_STORY=${builtin_path})
if(TARGET inkling_program)
    list(APPEND test_env INKLING_PROGRAM=$<TARGET_FILE:inkling_program>)
endif()
if(INKLING_SANITIZE)
    list(APPEND test_env INKLING_SANITIZE=${INKLING_SANITIZE})
endif()

# inkling_register(NAME LABELS…): what all tests have in common.
function(inkling_register name)
    set_tests_properties(${name} PROPERTIES
        LABELS "${ARGN}" TIMEOUT ${test_seconds} SKIP_RETURN_CODE 77 ENVIRONMENT "${test_env}"
        WORKING_DIRECTORY ${PROJECT_SOURCE_DIR})
endfunction()

add_library(inkling_test_flags INTERFACE)
target_include_directories(inkling_test_flags INTERFACE
    ${PROJECT_SOURCE_DIR} ${PROJECT_SOURCE_DIR}/src ${PROJECT_SOURCE_DIR}/tests ${PROJECT_SOURCE_DIR}/tests/support)
target_link_libraries(inkling_test_flags INTERFACE
    inkling_flags inkling_static PkgConfig::CMOCKA Threads::Threads ${CMAKE_DL_LIBS})
if(TARGET inkling_convert)
    target_link_libraries(inkling_test_flags INTERFACE inkling_convert)
endif()
if(TARGET inkling_server)
    target_link_libraries(inkling_test_flags INTERFACE inkling_server)
endif()
if(TARGET inkling_train)
    target_link_libraries(inkling_test_flags INTERFACE inkling_train)
endif()

file(GLOB support_sources CONFIGURE_DEPENDS tests/support/*.c)
if(support_sources)
    add_library(inkling_test_support STATIC ${support_sources})
    target_link_libraries(inkling_test_support PUBLIC inkling_test_flags)
    set(test_library inkling_test_support)
else()
    set(test_library inkling_test_flags)
endif()

file(GLOB test_sources CONFIGURE_DEPENDS tests/*/test_*.c)
foreach(source ${test_sources})
    get_filename_component(program ${source} NAME_WE)
    get_filename_component(suite ${source} DIRECTORY)
    get_filename_component(suite ${suite} NAME)
    string(REGEX REPLACE "^test_(${suite}_)?" "" name ${program})
    if(suite STREQUAL "convert" AND NOT TARGET inkling_convert)
        message(STATUS "left out: ${suite}/${name} (convert is not built)")
        continue()
    endif()
    if(suite STREQUAL "server" AND NOT TARGET inkling_server)
        message(STATUS "left out: ${suite}/${name} (the server is not built)")
        continue()
    endif()
    add_executable(${program} ${source})
    target_link_libraries(${program} PRIVATE ${test_library})
    add_dependencies(${program} inkling_shared)
    add_test(NAME ${suite}/${name} COMMAND ${program})
    file(STRINGS ${source} thread_lines REGEX "^// Label: threads|n_threads|pthread_|guest_open" LIMIT_COUNT 1)
    set(labels ${suite})
    if(thread_lines)
        list(APPEND labels threads)
    endif()
    inkling_register(${suite}/${name} ${labels})
endforeach()

if(EXISTS ${PROJECT_SOURCE_DIR}/tests/fuzz/replay.c)
    file(GLOB fuzz_sources CONFIGURE_DEPENDS tests/fuzz/fuzz_*.c)
    foreach(source ${fuzz_sources})
        get_filename_component(program ${source} NAME_WE)
        string(REPLACE "fuzz_" "" name ${program})
        if(name STREQUAL "request" AND NOT TARGET inkling_server)
            message(STATUS "left out: fuzz/${name} (the server is not built)")
            continue()
        endif()
        add_executable(${program} ${source} tests/fuzz/replay.c)
        target_link_libraries(${program} PRIVATE ${test_library})
        add_test(NAME fuzz/${name} COMMAND ${program})
        inkling_register(fuzz/${name} fuzz)
    endforeach()
endif()

# Scripts: exit code 77 means that it was left out, and the script says why.
if(EXISTS ${PROJECT_SOURCE_DIR}/tests/cli/run.sh)
    add_test(NAME cli/run COMMAND sh ${PROJECT_SOURCE_DIR}/tests/cli/run.sh)
    inkling_register(cli/run cli)
endif()
if(EXISTS ${PROJECT_SOURCE_DIR}/tests/tiktoken/run.sh)
    add_executable(tiktoken_compare tests/tiktoken/tiktoken_compare.c)
    target_link_libraries(tiktoken_compare PRIVATE ${test_library})
    # It fetches a package, so once is enough.
    if(NOT INKLING_SANITIZE AND NOT CMAKE_C_COMPILER_ID MATCHES "Clang")
        add_test(NAME tiktoken/run COMMAND sh ${PROJECT_SOURCE_DIR}/tests/tiktoken/run.sh
            ${PROJECT_BINARY_DIR} $<TARGET_FILE:tiktoken_compare>)
        inkling_register(tiktoken/run tiktoken)
    endif()
endif()

# The longest begin first, or one of them would be alone at the end.
foreach(name cli/run unit/speculation fuzz/typing fuzz/schema cli/complete_sessions)
    if(TEST ${name})
        set_tests_properties(${name} PROPERTIES COST 100)
    endif()
endforeach()

include(cmake/server_tests.cmake)
include(cmake/checks.cmake)
