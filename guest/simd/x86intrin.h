/* The few SSE intrinsics that picohttpparser's fast path uses, in WebAssembly SIMD, so that its source runs vectorised
 * and unmodified. Only what it needs: byte ranges, least significant match. */
#ifndef PICOTAP_X86INTRIN_H
#define PICOTAP_X86INTRIN_H

#include <stdint.h>
#include <wasm_simd128.h>

#define _SIDD_UBYTE_OPS 0x00
#define _SIDD_CMP_RANGES 0x04
#define _SIDD_LEAST_SIGNIFICANT 0x00

typedef v128_t __m128i;

#define PICOTAP_SIMD static inline __attribute__((always_inline))

PICOTAP_SIMD __m128i _mm_loadu_si128(const __m128i *from)
{
    return wasm_v128_load(from);
}

/* Constants are read from memory where they are used. The engine would otherwise keep them in registers across loops, and
 * as every loop holds a call (the check of the deadline), spill and reload them in every round. Volatile, because clang
 * would make constants of them again. */
#define PICOTAP_CONSTANT(...)                                                          \
    ({                                                                                 \
        static const uint8_t constant[16] __attribute__((aligned(16))) = {__VA_ARGS__}; \
        *(const volatile v128_t *)constant;                                            \
    })
#define PICOTAP_FOUR(byte) (byte), (byte), (byte), (byte)
#define PICOTAP_SPLAT(byte) \
    PICOTAP_CONSTANT(PICOTAP_FOUR(byte), PICOTAP_FOUR(byte), PICOTAP_FOUR(byte), PICOTAP_FOUR(byte))

/* The range table of picohttpparser's header names, as two words: what may not stand in a token. */
#define PICOTAP_NAMES_LOW UINT64_C(0x2c2c292822222000)
#define PICOTAP_NAMES_HIGH UINT64_C(0xff7b5d5b403a2f2f)

/* Eight ranges cost some 25 operations a vector. This table comes down to two look-ups: the low half of a byte gives the
 * set of high halves (0 to 7) with which it is a member, the high half gives its place in such a set. Bytes from 0x80 on,
 * all of them members, have the empty place, which is in every set. */
PICOTAP_SIMD v128_t picotap_in_names(v128_t bytes)
{
    v128_t members = PICOTAP_CONSTANT(0x17, 0x03, 0x07, 0x03, 0x03, 0x03, 0x03, 0x03, 0x07, 0x07, 0x0b, 0xab, 0xaf, 0xab,
                                      0x8b, 0x8f);
    v128_t halves = PICOTAP_CONSTANT(1, 2, 4, 8, 16, 32, 64, 128);
    v128_t low = wasm_i8x16_swizzle(members, wasm_v128_and(bytes, PICOTAP_SPLAT(15)));
    v128_t high = wasm_i8x16_swizzle(halves, wasm_u8x16_shr(bytes, 4));
    return wasm_i8x16_eq(wasm_v128_and(low, high), high);
}

/* The range table of its header values: control characters but the tab. */
#define PICOTAP_VALUES_LOW UINT64_C(0x00007f7f1f0a0800)

PICOTAP_SIMD v128_t picotap_in_values(v128_t bytes)
{
    v128_t control = wasm_u8x16_le(bytes, PICOTAP_SPLAT(0x1f));
    v128_t tab = wasm_i8x16_eq(bytes, PICOTAP_SPLAT('\t'));
    return wasm_v128_or(wasm_v128_andnot(control, tab), wasm_i8x16_eq(bytes, PICOTAP_SPLAT(0x7f)));
}

/* Range `at` of the table, if there are so many: with a constant table clang leaves two or three operations of it. */
#define PICOTAP_RANGE(at)                                                                                            \
    if (ranges_len >= 2 * (at) + 2) {                                                                                \
        uint8_t from = wasm_u8x16_extract_lane(ranges, 2 * (at)), to = wasm_u8x16_extract_lane(ranges, 2 * (at) + 1); \
        v128_t above = wasm_i8x16_sub(bytes, wasm_u8x16_splat(from));                                                \
        found = wasm_v128_or(found, wasm_u8x16_le(above, wasm_u8x16_splat((uint8_t)(to - from))));                   \
    }

/* Index of the first of `bytes_len` bytes that lies in one of the ranges, 16 if none does. */
PICOTAP_SIMD int _mm_cmpestri(v128_t ranges, int ranges_len, v128_t bytes, int bytes_len, int mode)
{
    v128_t found;
    uint32_t mask;
    (void)mode;
    if (ranges_len == 16 && wasm_u64x2_extract_lane(ranges, 0) == PICOTAP_NAMES_LOW &&
        wasm_u64x2_extract_lane(ranges, 1) == PICOTAP_NAMES_HIGH) {
        found = picotap_in_names(bytes);
    } else if (ranges_len == 6 && (wasm_u64x2_extract_lane(ranges, 0) & UINT64_C(0xffffffffffff)) == PICOTAP_VALUES_LOW) {
        found = picotap_in_values(bytes);
    } else {
        found = wasm_i8x16_const_splat(0);
        PICOTAP_RANGE(0)
        PICOTAP_RANGE(1)
        PICOTAP_RANGE(2)
        PICOTAP_RANGE(3)
        PICOTAP_RANGE(4)
        PICOTAP_RANGE(5)
        PICOTAP_RANGE(6)
        PICOTAP_RANGE(7)
    }
    mask = wasm_i8x16_bitmask(found);
    if (bytes_len < 16)
        mask &= (1u << bytes_len) - 1;
    return mask != 0 ? __builtin_ctz(mask) : 16;
}

#undef PICOTAP_RANGE
#undef PICOTAP_CONSTANT
#undef PICOTAP_FOUR
#undef PICOTAP_SPLAT
#undef PICOTAP_SIMD

#endif
