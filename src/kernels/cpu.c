// SPDX-License-Identifier: MIT
// Which levels this machine has. Carries no target of its own: it runs everywhere.
#include "kernels/kernels.h"

#include "kernels/target.h"

#if defined(INKI_HAVE_X86)
#include <cpuid.h>

static uint32_t read_xcr0(void) {
    uint32_t low, high;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return low;
}

// Source: Intel 64 and IA-32 Architectures Software Developer's Manual, volume 1, chapter 13 to 15;
// volume 2, CPUID. The processor's word is not enough: the system must save the wide registers too.
static uint32_t machine_levels(void) {
    unsigned a, b, c, d;
    if (!__get_cpuid(1, &a, &b, &c, &d)) return 0;
    const unsigned need1 = bit_FMA | bit_OSXSAVE | bit_AVX | bit_F16C;
    if ((c & need1) != need1) return 0;
    const uint32_t xcr0 = read_xcr0();
    unsigned b7, c7;
    if (!__get_cpuid_count(7, 0, &a, &b7, &c7, &d)) return 0;
    if ((xcr0 & 0x06) != 0x06 || !(b7 & bit_AVX2)) return 0;
    uint32_t levels = 1u << INKI_LEVEL_AVX2;
    const unsigned need512 = bit_AVX512F | bit_AVX512BW | bit_AVX512DQ | bit_AVX512VL;
    if ((xcr0 & 0xe0) != 0xe0 || (b7 & need512) != need512) return levels;
    levels |= 1u << INKI_LEVEL_AVX512;
    const unsigned need_vnni = bit_AVX512VNNI | bit_AVX512VBMI;
    if ((c7 & need_vnni) == need_vnni) levels |= 1u << INKI_LEVEL_AVX512VNNI;
    return levels;
}
#elif defined(INKI_HAVE_NEON)
#if defined(__linux__)
#include <sys/auxv.h>

// Source: Linux, Documentation/arch/arm64/elf_hwcaps.rst (ASIMDDP is bit 20 of HWCAP, I8MM bit 13
// of HWCAP2).
static bool has_dotprod(void) { return getauxval(AT_HWCAP) >> 20 & 1; }
static bool has_i8mm(void) { return getauxval(AT_HWCAP2) >> 13 & 1; }
#else
// Elsewhere what the compiler was told of the oldest machine, as Apple's is by default.
#if defined(__ARM_FEATURE_DOTPROD)
static bool has_dotprod(void) { return true; }
#else
static bool has_dotprod(void) { return false; }
#endif
#if defined(__ARM_FEATURE_MATMUL_INT8)
static bool has_i8mm(void) { return true; }
#else
static bool has_i8mm(void) { return false; }
#endif
#endif

static uint32_t machine_levels(void) {
    uint32_t levels = 1u << INKI_LEVEL_NEON, built = levels;
#if defined(INKI_HAVE_DOTPROD)
    built |= 1u << INKI_LEVEL_DOTPROD;
#endif
#if defined(INKI_HAVE_I8MM)
    built |= 1u << INKI_LEVEL_I8MM;
#endif
    if (has_dotprod()) levels |= 1u << INKI_LEVEL_DOTPROD;
    if (has_i8mm()) levels |= 1u << INKI_LEVEL_I8MM;
    return levels & built;
}
#else
static uint32_t machine_levels(void) { return 0; }
#endif

uint32_t inki_cpu_levels(void) { return machine_levels() | 1u << INKI_LEVEL_PORTABLE; }
