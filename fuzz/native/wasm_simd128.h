/* The WebAssembly SIMD operations that guest/ uses, for a native build: with them it is the guest's own scanning that a
 * sanitizer watches. Semantics are those of the WebAssembly specification; clang's vector operations do the work. */
#ifndef PICOTAP_NATIVE_SIMD_H
#define PICOTAP_NATIVE_SIMD_H

#include <stdint.h>

typedef int32_t v128_t __attribute__((vector_size(16), aligned(16)));
typedef int8_t native_i8x16 __attribute__((vector_size(16), aligned(16)));
typedef uint8_t native_u8x16 __attribute__((vector_size(16), aligned(16)));
typedef uint32_t native_u32x4 __attribute__((vector_size(16), aligned(16)));
typedef uint64_t native_u64x2 __attribute__((vector_size(16), aligned(16)));

#define NATIVE_SIMD static inline __attribute__((always_inline))

/* Of sixteen bytes anywhere. */
struct native_unaligned {
    v128_t value;
} __attribute__((packed, aligned(1), may_alias));

NATIVE_SIMD v128_t wasm_v128_load(const void *from)
{
    return ((const struct native_unaligned *)from)->value;
}

NATIVE_SIMD void wasm_v128_store(void *to, v128_t value)
{
    ((struct native_unaligned *)to)->value = value;
}

NATIVE_SIMD v128_t wasm_v128_and(v128_t a, v128_t b)
{
    return a & b;
}

NATIVE_SIMD v128_t wasm_v128_or(v128_t a, v128_t b)
{
    return a | b;
}

NATIVE_SIMD v128_t wasm_v128_xor(v128_t a, v128_t b)
{
    return a ^ b;
}

NATIVE_SIMD v128_t wasm_u32x4_make(uint32_t a, uint32_t b, uint32_t c, uint32_t d)
{
    return (v128_t)(native_u32x4){a, b, c, d};
}

/* Wraps, as the operation does. */
NATIVE_SIMD v128_t wasm_i32x4_sub(v128_t a, v128_t b)
{
    return (v128_t)((native_u32x4)a - (native_u32x4)b);
}

NATIVE_SIMD v128_t wasm_i8x16_sub(v128_t a, v128_t b)
{
    return (v128_t)((native_u8x16)a - (native_u8x16)b);
}

NATIVE_SIMD v128_t wasm_i8x16_eq(v128_t a, v128_t b)
{
    return (v128_t)((native_i8x16)a == (native_i8x16)b);
}

NATIVE_SIMD v128_t wasm_u8x16_le(v128_t a, v128_t b)
{
    return (v128_t)((native_u8x16)a <= (native_u8x16)b);
}

/* The count is taken modulo the bits of a lane. */
NATIVE_SIMD v128_t wasm_u8x16_shr(v128_t a, uint32_t count)
{
    return (v128_t)((native_u8x16)a >> (uint8_t)(count & 7));
}

NATIVE_SIMD v128_t wasm_u8x16_splat(uint8_t byte)
{
    return (v128_t)((native_u8x16){0} + byte);
}

#define wasm_i8x16_const_splat(byte) wasm_u8x16_splat((uint8_t)(byte))
#define wasm_u8x16_extract_lane(vector, lane) (((native_u8x16)(vector))[lane])
#define wasm_u64x2_extract_lane(vector, lane) (((native_u64x2)(vector))[lane])

/* An index beyond the vector gives zero. */
NATIVE_SIMD v128_t wasm_i8x16_swizzle(v128_t bytes, v128_t indexes)
{
    native_u8x16 from = (native_u8x16)bytes, at = (native_u8x16)indexes, chosen = {0};
    for (int lane = 0; lane < 16; ++lane)
        chosen[lane] = at[lane] < 16 ? from[at[lane]] : 0;
    return (v128_t)chosen;
}

/* The top bit of each lane. */
NATIVE_SIMD uint32_t wasm_i8x16_bitmask(v128_t bytes)
{
    native_u8x16 lanes = (native_u8x16)bytes;
    uint32_t mask = 0;
    for (int lane = 0; lane < 16; ++lane)
        mask |= (uint32_t)(lanes[lane] >> 7) << lane;
    return mask;
}

#undef NATIVE_SIMD

#endif
