# SPDX-License-Identifier: MIT
# tests/fuzz/fuzz_NAME.c as libFuzzer programs: bin/fuzz_NAME SEEDS…

if(NOT CMAKE_C_COMPILER_ID MATCHES "Clang")
    message(FATAL_ERROR "INKLING_FUZZ needs clang, CMAKE_C_COMPILER is ${CMAKE_C_COMPILER_ID}")
endif()
target_compile_options(inkling_flags INTERFACE -fsanitize=fuzzer-no-link)
# Of the tests' support, what needs no cmocka.
add_library(inkling_fuzz_support STATIC tests/support/heap.c tests/support/random_blocks.c
    tests/support/tiny_model.c)
target_include_directories(inkling_fuzz_support PUBLIC ${PROJECT_SOURCE_DIR}/src ${PROJECT_SOURCE_DIR}/tests/support)
target_link_libraries(inkling_fuzz_support PUBLIC inkling_flags inkling_static)
file(GLOB fuzz_sources CONFIGURE_DEPENDS tests/fuzz/fuzz_*.c)
foreach(source ${fuzz_sources})
    get_filename_component(program ${source} NAME_WE)
    add_executable(${program} ${source})
    target_include_directories(${program} PRIVATE ${PROJECT_SOURCE_DIR} src)
    target_link_libraries(${program} PRIVATE inkling_fuzz_support inkling_flags inkling_static)
    if(TARGET inkling_convert)
        target_link_libraries(${program} PRIVATE inkling_convert)
    endif()
    target_link_options(${program} PRIVATE -fsanitize=fuzzer)
endforeach()
