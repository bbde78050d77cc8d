/* Fields: the two headers that give the length of a body, read value by value across repeated and continued lines. */
#ifndef PICOTAP_FIELDS_H
#define PICOTAP_FIELDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Content-Length: one number, or a list of equal ones (RFC 9112, section 6.3). */
typedef struct length_field {
    uint64_t value;    /* the first */
    uint32_t values;   /* how many */
    bool bad;          /* not a number, or beyond 2^63-1 */
    bool conflict;     /* the values differ */
} length_field;

void read_length(length_field *field, const uint8_t *value, uint32_t len);

/* Transfer-Encoding: a list of codings, of which the last decides. */
typedef struct coding_field {
    uint32_t lines;    /* header lines */
    uint32_t codings;  /* elements so far */
    bool chunked;      /* the last one is chunked */
    bool odd;          /* parsers may read it differently */
} coding_field;

void read_codings(coding_field *field, const uint8_t *value, uint32_t len);

/* Whether the `len` bytes of a token are `word` (lower case letters and hyphens) in any case. `len` is a constant, at least
 * 4. Setting the bit that distinguishes the cases turns no other token character into a letter or a hyphen. */
static inline __attribute__((always_inline)) bool is_name(const uint8_t *token, const char *word, uint32_t len)
{
    uint32_t differs = 0;
    for (uint32_t at = 0; at < len; at += 4) {
        uint32_t from = at + 4 <= len ? at : len - 4, have, wanted;
        __builtin_memcpy(&have, token + from, 4);
        __builtin_memcpy(&wanted, word + from, 4);
        differs |= (have | 0x20202020u) ^ wanted;
    }
    return differs == 0;
}

/* Whether the `have` bytes at `at` are `word` (lower case) in any case. */
bool same_word(const uint8_t *at, uint32_t have, const char *word, uint32_t len);

#endif
