// SPDX-License-Identifier: MIT
// Between INKI_TARGET_BEGIN_x and INKI_TARGET_END functions are compiled for an instruction set
// that the rest of the program may not have. Nothing outside of such a region may call into it but
// through the table of kernels, and what is static inline in a shared header (lanes.h, half.h) may
// be called inside: it is inlined there. Intrinsics' headers come before the region.
// Private to src/kernels.
#ifndef INKI_KERNELS_TARGET_H
#define INKI_KERNELS_TARGET_H

#define INKI_PRAGMA(text) _Pragma(#text)
#if defined(__clang__)
#define INKI_TARGET_BEGIN(isa)                                                                     \
    INKI_PRAGMA(clang attribute push(__attribute__((target(isa))), apply_to = function))
#define INKI_TARGET_END INKI_PRAGMA(clang attribute pop)
#elif defined(__GNUC__)
#define INKI_TARGET_BEGIN(isa) INKI_PRAGMA(GCC push_options) INKI_PRAGMA(GCC target(isa))
#define INKI_TARGET_END        INKI_PRAGMA(GCC pop_options)
#endif

// A function that takes another as its parameter, to be copied into each caller with that one
// filled in.
#if defined(__GNUC__)
#define INKI_TEMPLATE static inline __attribute__((always_inline))
#else
#define INKI_TEMPLATE static inline
#endif

// A function that is to be there once: neither copied into its callers nor for what they pass.
#if defined(__clang__)
#define INKI_APART static __attribute__((noinline))
#elif defined(__GNUC__)
#define INKI_APART static __attribute__((noinline, noclone))
#else
#define INKI_APART static
#endif

// Before a loop of a small constant count over an array of vectors: unrolled early enough for the
// array to become registers. (clang has the pragma of gcc too, but obeys it too late for that.)
#if defined(__clang__)
#define INKI_UNROLL INKI_PRAGMA(clang loop unroll(full))
#elif defined(__GNUC__)
#define INKI_UNROLL INKI_PRAGMA(GCC unroll 16)
#endif

#if defined(INKI_TARGET_BEGIN) && defined(__x86_64__)
#define INKI_HAVE_X86          1
#define INKI_TARGET_BEGIN_AVX2 INKI_TARGET_BEGIN("avx2,fma,f16c")
#define INKI_TARGET_BEGIN_AVX512                                                                   \
    INKI_TARGET_BEGIN("avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl")
#define INKI_TARGET_BEGIN_AVX512VNNI                                                               \
    INKI_TARGET_BEGIN("avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx512vbmi")
#endif
#if defined(INKI_TARGET_BEGIN) && defined(__aarch64__)
#define INKI_HAVE_NEON 1
// Clang before 16 hides an instruction set's intrinsics unless the whole program is built for it:
// there the level is missing.
#if defined(__ARM_FEATURE_DOTPROD) || (defined(__clang__) ? __clang_major__ >= 16 : __GNUC__ >= 10)
#define INKI_HAVE_DOTPROD 1
#endif
#if defined(INKI_HAVE_DOTPROD) && (defined(__ARM_FEATURE_MATMUL_INT8) ||                           \
                                   (defined(__clang__) ? __clang_major__ >= 16 : __GNUC__ >= 10))
#define INKI_HAVE_I8MM 1
#endif
#if defined(__clang__)
#define INKI_TARGET_BEGIN_DOTPROD INKI_TARGET_BEGIN("dotprod")
#define INKI_TARGET_BEGIN_I8MM    INKI_TARGET_BEGIN("dotprod,i8mm")
#else
#define INKI_TARGET_BEGIN_DOTPROD INKI_TARGET_BEGIN("arch=armv8.2-a+dotprod")
#define INKI_TARGET_BEGIN_I8MM    INKI_TARGET_BEGIN("arch=armv8.2-a+dotprod+i8mm")
#endif
#endif

#endif
