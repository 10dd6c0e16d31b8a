# SPDX-License-Identifier: MIT
# Cross build for 64-bit ARM with Debian's gcc-aarch64-linux-gnu; qemu-user, if there, runs what was built:
#     cmake -S . -B build/aarch64 --toolchain cmake/aarch64-linux-gnu.cmake
# Libraries of that architecture (cmocka, jansson) are looked for in the folder that INKLING_AARCH64_ROOT in
# the environment names (tools/aarch64_root.sh makes one), else where Debian's multiarch has them.
# QEMU_CPU in the environment (cortex-a53, cortex-a76, max) chooses the processor for a run of the tests.
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR aarch64)
set(CMAKE_C_COMPILER aarch64-linux-gnu-gcc)
set(CMAKE_FIND_ROOT_PATH_MODE_LIBRARY ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_INCLUDE ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_PACKAGE ONLY)
set(CMAKE_CROSSCOMPILING_EMULATOR qemu-aarch64 -L /usr/aarch64-linux-gnu)
# The build machine's own libraries are of no use to it.
set(ENV{PKG_CONFIG_LIBDIR} $ENV{INKLING_AARCH64_ROOT}/usr/lib/aarch64-linux-gnu/pkgconfig)
if(DEFINED ENV{INKLING_AARCH64_ROOT})
    set(ENV{PKG_CONFIG_SYSROOT_DIR} $ENV{INKLING_AARCH64_ROOT})
    list(APPEND CMAKE_FIND_ROOT_PATH $ENV{INKLING_AARCH64_ROOT})
endif()
