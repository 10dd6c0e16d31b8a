# SPDX-License-Identifier: MIT
# bench/compare, which bench/compare.sh builds and runs: only on request, since it is of use only with
# llama.cpp's libraries at hand. What the program measures with is compiled into it as well.

if(NOT TARGET inkling_program)
    return()
endif()
file(GLOB compare_sources CONFIGURE_DEPENDS bench/compare*.c)
set(compare_cli_sources ${cli_sources})
list(FILTER compare_cli_sources EXCLUDE REGEX "/(main|type|type_[a-z]+|serve|serve_[a-z_]+)\\.c$")
add_executable(inkling_compare EXCLUDE_FROM_ALL ${compare_sources} ${compare_cli_sources})
set_target_properties(inkling_compare PROPERTIES OUTPUT_NAME compare)
target_include_directories(inkling_compare PRIVATE ${PROJECT_SOURCE_DIR})
target_link_libraries(inkling_compare PRIVATE
    inkling_flags inkling_static inkling_convert inkling_train PkgConfig::JANSSON ${CMAKE_DL_LIBS})

# bench/typing, which bench/typing/compare.sh builds and runs, on request as well.
add_executable(inkling_typing_replay EXCLUDE_FROM_ALL
    bench/typing/typing_replay.c bench/typing/typing_keys.c bench/typing/typing_overlap.c bench/typing/typing_trace.c)
set_target_properties(inkling_typing_replay PROPERTIES OUTPUT_NAME typing_replay)
add_executable(inkling_typing_model EXCLUDE_FROM_ALL bench/typing/typing_model.c)
set_target_properties(inkling_typing_model PROPERTIES OUTPUT_NAME typing_model)
foreach(target inkling_typing_replay inkling_typing_model)
    target_include_directories(${target} PRIVATE ${PROJECT_SOURCE_DIR} ${PROJECT_SOURCE_DIR}/src)
    target_link_libraries(${target} PRIVATE
        inkling_flags inkling_static inkling_convert PkgConfig::JANSSON Threads::Threads)
endforeach()

# bench/serve, likewise.
if(TARGET inkling_server)
    file(GLOB serve_sources CONFIGURE_DEPENDS bench/serve/*.c)
    add_executable(inkling_serve_compare EXCLUDE_FROM_ALL ${serve_sources} ${compare_cli_sources}
        bench/compare_process.c bench/compare_theirs.c bench/compare_worker.c
        tests/support/http_load.c tests/support/http_reader.c tests/support/served_program.c)
    set_target_properties(inkling_serve_compare PROPERTIES OUTPUT_NAME serve_compare)
    target_include_directories(inkling_serve_compare PRIVATE ${PROJECT_SOURCE_DIR} ${PROJECT_SOURCE_DIR}/tests/support)
    target_link_libraries(inkling_serve_compare PRIVATE
        inkling_flags inkling_server inkling_convert inkling_train PkgConfig::JANSSON ${CMAKE_DL_LIBS})
endif()

# bench/train: training steps, which bench/train/compare.sh holds against PyTorch's, products alone, and the
# stages and the memory of learning on the device.
foreach(name train_speed gemm_speed adapt_slices)
    add_executable(inkling_${name} EXCLUDE_FROM_ALL bench/train/${name}.c)
    set_target_properties(inkling_${name} PROPERTIES OUTPUT_NAME ${name})
    target_link_libraries(inkling_${name} PRIVATE inkling_flags inkling_train)
endforeach()

# bench/decode: one program a file, on sampling, restoring and drafting.
file(GLOB decode_sources CONFIGURE_DEPENDS bench/decode/*.c)
set(decode_targets)
foreach(source ${decode_sources})
    get_filename_component(name ${source} NAME_WE)
    add_executable(inkling_${name} EXCLUDE_FROM_ALL ${source})
    set_target_properties(inkling_${name} PROPERTIES OUTPUT_NAME ${name})
    target_include_directories(inkling_${name} PRIVATE ${PROJECT_SOURCE_DIR} ${PROJECT_SOURCE_DIR}/src)
    target_link_libraries(inkling_${name} PRIVATE inkling_flags inkling_static m)
    list(APPEND decode_targets inkling_${name})
endforeach()

# With the tests they are built too, so that a benchmark never waits for somebody to mend its build.
if(INKLING_TESTS)
    set_target_properties(inkling_compare inkling_typing_replay inkling_typing_model inkling_train_speed
        inkling_gemm_speed inkling_adapt_slices ${decode_targets} PROPERTIES EXCLUDE_FROM_ALL OFF)
    if(TARGET inkling_serve_compare)
        set_target_properties(inkling_serve_compare PROPERTIES EXCLUDE_FROM_ALL OFF)
    endif()
endif()
