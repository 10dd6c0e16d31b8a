# SPDX-License-Identifier: MIT
# `inkling serve` from outside: by the official client of OpenAI's interface, and by a browser. Both
# install npm packages into the build folder, one after the other, and say so where they cannot.

foreach(name openai browser)
    if(NOT TARGET inkling_program OR NOT TARGET inkling_server OR NOT EXISTS ${PROJECT_SOURCE_DIR}/tests/server/${name}.sh)
        continue()
    endif()
    # What a browser does takes long enough without ThreadSanitizer; the client goes through the same calls. Of
    # two compilers' builds one is enough.
    if(INKLING_SANITIZE MATCHES "thread" AND name STREQUAL "browser")
        continue()
    endif()
    if(NOT INKLING_SANITIZE AND CMAKE_C_COMPILER_ID MATCHES "Clang")
        continue()
    endif()
    add_test(NAME server/${name} COMMAND sh ${PROJECT_SOURCE_DIR}/tests/server/${name}.sh ${PROJECT_BINARY_DIR})
    inkling_register(server/${name} server threads)
    # Machines with slow sockets take ten times the minute. packages.sh has limits of its own, which say more.
    math(EXPR seconds "5 * ${test_seconds}")
    set_tests_properties(server/${name} PROPERTIES RESOURCE_LOCK server_packages TIMEOUT ${seconds})
endforeach()

# Two servers behind nginx, with deploy/nginx.conf. What is measured is who answers, so ThreadSanitizer has
# nothing to see that the other tests do not show it.
if(TARGET inkling_program AND TARGET inkling_server AND NOT INKLING_SANITIZE MATCHES "thread")
    add_executable(server_fleet_load tests/server/fleet_load.c tests/support/http_load.c tests/support/http_reader.c)
    target_include_directories(server_fleet_load PRIVATE ${PROJECT_SOURCE_DIR}/tests/support)
    target_link_libraries(server_fleet_load PRIVATE inkling_flags)
    add_test(NAME server/fleet COMMAND sh ${PROJECT_SOURCE_DIR}/tests/server/fleet.sh $<TARGET_FILE:server_fleet_load>)
    inkling_register(server/fleet server)
endif()
