/* Scanning: the first byte of a kind in a stretch, sixteen bytes at a time. Each returns `end` if there is none. */
#ifndef PICOTAP_SCAN_H
#define PICOTAP_SCAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <wasm_simd128.h>

#define SCAN_BODY(vector_test, byte_test)                                     \
    while (end - at >= 16) {                                                  \
        v128_t bytes = wasm_v128_load(at);                                    \
        uint32_t mask = wasm_i8x16_bitmask(vector_test);                      \
        if (mask != 0)                                                        \
            return at + __builtin_ctz(mask);                                  \
        at += 16;                                                             \
    }                                                                         \
    for (; at != end; ++at) {                                                 \
        uint8_t byte = *at;                                                   \
        if (byte_test)                                                        \
            return at;                                                        \
    }                                                                         \
    return end;

static inline const uint8_t *scan_lf(const uint8_t *at, const uint8_t *end)
{
    SCAN_BODY(wasm_i8x16_eq(bytes, wasm_i8x16_const_splat('\n')), byte == '\n')
}

/* A byte that ends a request target: space or a control character. */
static inline const uint8_t *scan_target(const uint8_t *at, const uint8_t *end)
{
    SCAN_BODY(wasm_v128_or(wasm_u8x16_le(bytes, wasm_i8x16_const_splat(0x20)),
                           wasm_i8x16_eq(bytes, wasm_i8x16_const_splat(0x7f))),
              byte <= 0x20 || byte == 0x7f)
}

/* A control character other than tab. */
static inline const uint8_t *scan_text(const uint8_t *at, const uint8_t *end)
{
    SCAN_BODY(wasm_v128_or(wasm_v128_andnot(wasm_u8x16_lt(bytes, wasm_i8x16_const_splat(0x20)),
                                            wasm_i8x16_eq(bytes, wasm_i8x16_const_splat('\t'))),
                           wasm_i8x16_eq(bytes, wasm_i8x16_const_splat(0x7f))),
              (byte < 0x20 && byte != '\t') || byte == 0x7f)
}

#undef SCAN_BODY

/* The place after the first empty line that follows a line's end at or after `at`: the end of a head; NULL if there is
 * none before `end`. A head that parses has its first such place at its end. */
static inline const uint8_t *scan_head_end(const uint8_t *at, const uint8_t *end)
{
    while ((at = scan_lf(at, end)) != end) {
        ++at;
        if (at != end && *at == '\n')
            return at + 1;
        if (end - at >= 2 && at[0] == '\r' && at[1] == '\n')
            return at + 2;
    }
    return NULL;
}

/* Whether `byte` may stand in a token (RFC 9110, section 5.6.2). */
static inline bool is_token(uint8_t byte)
{
    static const uint32_t tokens[8] = {0, 0x03ff6cfa, 0xc7fffffe, 0x57ffffff, 0, 0, 0, 0};
    return (tokens[byte >> 5] >> (byte & 31)) & 1;
}

/* Whether `len` bytes, a constant, are `word`. Inline: a call of memcmp costs more than the comparison. */
static inline __attribute__((always_inline)) bool is_word(const uint8_t *at, const char *word, size_t len)
{
    bool same = true;
    for (size_t i = 0; i < len; ++i)
        same &= at[i] == (uint8_t)word[i];
    return same;
}

/* Whether the `have` bytes at `at` are `word`, or as much of it as fits. */
static inline bool starts_like(const uint8_t *at, size_t have, const char *word, size_t len)
{
    for (size_t i = 0; i < len && i < have; ++i)
        if (at[i] != (uint8_t)word[i])
            return false;
    return true;
}

#endif
