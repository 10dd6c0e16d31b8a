# SPDX-License-Identifier: MIT
# `inkling serve` from outside: by the official client of OpenAI's interface, and by a browser. Both
# install npm packages into the build folder, one after the other, and say so where they cannot.

foreach(name openai page)
    if(NOT TARGET inkling_program OR NOT TARGET inkling_server OR NOT EXISTS ${PROJECT_SOURCE_DIR}/tests/server/${name}.sh)
        continue()
    endif()
    # What a browser does takes long enough without ThreadSanitizer; the client goes through the same calls.
    if(name STREQUAL "page" AND INKLING_SANITIZE MATCHES "thread")
        continue()
    endif()
    add_test(NAME server/${name} COMMAND sh ${PROJECT_SOURCE_DIR}/tests/server/${name}.sh ${PROJECT_BINARY_DIR})
    inkling_register(server/${name} server threads)
    set_tests_properties(server/${name} PROPERTIES RESOURCE_LOCK server_packages)
endforeach()
