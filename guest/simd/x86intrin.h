/* The few SSE intrinsics that picohttpparser's fast path uses, in WebAssembly SIMD, so that its unmodified source is
 * vectorised. Implements only what it needs: byte ranges, least significant match. */
#ifndef PICOTAP_X86INTRIN_H
#define PICOTAP_X86INTRIN_H

#include <stdint.h>
#include <wasm_simd128.h>

#include "../scan.h"

#define _SIDD_UBYTE_OPS 0x00
#define _SIDD_CMP_RANGES 0x04
#define _SIDD_LEAST_SIGNIFICANT 0x00

typedef v128_t __m128i;

#define PICOTAP_SIMD static inline __attribute__((always_inline))

PICOTAP_SIMD __m128i _mm_loadu_si128(const __m128i *from)
{
    return wasm_v128_load(from);
}

/* picohttpparser's range table for header names, as two 64-bit words: bytes not allowed in a token. */
#define PICOTAP_NAMES_LOW UINT64_C(0x2c2c292822222000)
#define PICOTAP_NAMES_HIGH UINT64_C(0xff7b5d5b403a2f2f)

/* Its range table for header values: control characters except tab. */
#define PICOTAP_VALUES_LOW UINT64_C(0x00007f7f1f0a0800)

/* Range `at` of the table, if it exists. With a constant table clang reduces this to two or three operations. */
#define PICOTAP_RANGE(at)                                                                                             \
    if (ranges_len >= 2 * (at) + 2) {                                                                                 \
        uint8_t from = wasm_u8x16_extract_lane(ranges, 2 * (at)), to = wasm_u8x16_extract_lane(ranges, 2 * (at) + 1); \
        v128_t above = wasm_i8x16_sub(bytes, wasm_u8x16_splat(from));                                                 \
        found = wasm_v128_or(found, wasm_u8x16_le(above, wasm_u8x16_splat((uint8_t)(to - from))));                    \
    }

/* Index of the first of `bytes_len` bytes that is in one of the ranges; 16 if none is. */
PICOTAP_SIMD int _mm_cmpestri(v128_t ranges, int ranges_len, v128_t bytes, int bytes_len, int mode)
{
    v128_t found;
    uint32_t mask;
    (void)mode;
    if (ranges_len == 16 && wasm_u64x2_extract_lane(ranges, 0) == PICOTAP_NAMES_LOW &&
        wasm_u64x2_extract_lane(ranges, 1) == PICOTAP_NAMES_HIGH) {
        found = no_token(bytes);
    } else if (ranges_len == 6 && (wasm_u64x2_extract_lane(ranges, 0) & UINT64_C(0xffffffffffff)) == PICOTAP_VALUES_LOW) {
        found = no_text(bytes);
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
#undef PICOTAP_SIMD

#endif
