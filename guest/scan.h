/* Scanning: finds the first byte of a kind between `at` and `end`, sixteen bytes at a time; `end` if there is none. */
#ifndef PICOTAP_SCAN_H
#define PICOTAP_SCAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <wasm_simd128.h>

/* Constants are read from memory where they are used. The engine would otherwise keep them in registers across loops, and
 * spill and reload them in every round, as every loop contains a call (the check of the deadline). Volatile, because clang
 * would turn them back into constants. */
#define CONSTANT(...)                                                                   \
    ({                                                                                  \
        static const uint8_t constant[16] __attribute__((aligned(16))) = {__VA_ARGS__}; \
        *(const volatile v128_t *)constant;                                             \
    })
#define FOUR(byte) (byte), (byte), (byte), (byte)
#define SPLAT(byte) CONSTANT(FOUR(byte), FOUR(byte), FOUR(byte), FOUR(byte))

/* Bytes that may not be in a token (RFC 9110, section 5.6.2). picohttpparser has them as eight ranges, which would cost some
 * 25 operations (and include '|' and '~', which it then checks again byte by byte, and accepts). Here it takes two look-ups:
 * the low half of a byte gives the set of high halves (0 to 7) with which it is a member, as bits; the high half gives its
 * bit in such a set. For bytes from 0x80 on, all of them members, it gives zero, which is in every set. */
static inline v128_t no_token(v128_t bytes)
{
    v128_t members = CONSTANT(0x17, 0x03, 0x07, 0x03, 0x03, 0x03, 0x03, 0x03, 0x07, 0x07, 0x0b, 0xab, 0x2f, 0xab, 0x0b, 0x8f);
    v128_t halves = CONSTANT(1, 2, 4, 8, 16, 32, 64, 128);
    v128_t low = wasm_i8x16_swizzle(members, wasm_v128_and(bytes, SPLAT(15)));
    v128_t high = wasm_i8x16_swizzle(halves, wasm_u8x16_shr(bytes, 4));
    return wasm_i8x16_eq(wasm_v128_and(low, high), high);
}

/* Control characters other than tab, which is one of those up to 0x1f. */
static inline v128_t no_text(v128_t bytes)
{
    v128_t control = wasm_u8x16_le(bytes, SPLAT(0x1f));
    v128_t tab = wasm_i8x16_eq(bytes, SPLAT('\t'));
    return wasm_v128_or(wasm_v128_xor(control, tab), wasm_i8x16_eq(bytes, SPLAT(0x7f)));
}

#define SCAN_BODY(vector_test, byte_test)                \
    while (end - at >= 16) {                             \
        v128_t bytes = wasm_v128_load(at);               \
        uint32_t mask = wasm_i8x16_bitmask(vector_test); \
        if (mask != 0)                                   \
            return at + __builtin_ctz(mask);             \
        at += 16;                                        \
    }                                                    \
    for (; at != end; ++at) {                            \
        uint8_t byte = *at;                              \
        if (byte_test)                                   \
            return at;                                   \
    }                                                    \
    return end;

static inline const uint8_t *scan_lf(const uint8_t *at, const uint8_t *end)
{
    SCAN_BODY(wasm_i8x16_eq(bytes, SPLAT('\n')), byte == '\n')
}

/* A byte that ends a request target: space or a control character. */
static inline const uint8_t *scan_target(const uint8_t *at, const uint8_t *end)
{
    SCAN_BODY(wasm_v128_or(wasm_u8x16_le(bytes, SPLAT(0x20)), wasm_i8x16_eq(bytes, SPLAT(0x7f))), byte <= 0x20 || byte == 0x7f)
}

/* A control character other than tab. */
static inline const uint8_t *scan_text(const uint8_t *at, const uint8_t *end)
{
    SCAN_BODY(no_text(bytes), (byte < 0x20 && byte != '\t') || byte == 0x7f)
}

/* Whether `byte` may be in a token. */
static inline bool is_token(uint8_t byte)
{
    static const uint32_t tokens[8] = {0, 0x03ff6cfa, 0xc7fffffe, 0x57ffffff, 0, 0, 0, 0};
    return (tokens[byte >> 5] >> (byte & 31)) & 1;
}

/* A byte that may not be in a token. */
static inline const uint8_t *scan_token(const uint8_t *at, const uint8_t *end)
{
    SCAN_BODY(no_token(bytes), !is_token(byte))
}

#undef SCAN_BODY

/* The end of a head: behind the first empty line that follows a line end at or after `at`; NULL if there is none before
 * `end`. In a head that parses, the first such line is its last. */
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

/* Whether the `len` bytes at `at`, a constant number, are `word`. Inline: a call of memcmp costs more than the comparison. */
static inline __attribute__((always_inline)) bool is_word(const uint8_t *at, const char *word, size_t len)
{
    bool same = true;
    for (size_t i = 0; i < len; ++i)
        same &= at[i] == (uint8_t)word[i];
    return same;
}

/* Whether the `have` bytes at `at` begin `word`, or begin with it. */
static inline bool starts_like(const uint8_t *at, size_t have, const char *word, size_t len)
{
    for (size_t i = 0; i < len && i < have; ++i)
        if (at[i] != (uint8_t)word[i])
            return false;
    return true;
}

#endif
