/* Fields: the headers that say what follows a head. The two that give the length of a body are read value by value across
 * repeated and continued lines. */
#ifndef PICOTAP_FIELDS_H
#define PICOTAP_FIELDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "abi.h"

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
    uint32_t codings;  /* elements so far, without "identity" */
    bool chunked;      /* the last of these is chunked */
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

static inline bool is_blank(uint8_t byte)
{
    return byte == ' ' || byte == '\t';
}

/* What the headers of a head announce. */
typedef struct announced {
    length_field length;
    coding_field codings;
    uint32_t hosts;
    const uint8_t *upgrade; /* value of the first Upgrade, or NULL */
    uint32_t upgrade_len;
    uint32_t flags;
} announced;

/* Headers whose name has this length may matter. */
enum { HOST_LEN = 4, UPGRADE_LEN = 7, LENGTH_LEN = 14, CODING_LEN = 17 };

/* What the header before a continued line was. */
enum last { LAST_OTHER, LAST_LENGTH, LAST_CODING };

/* Reads a header into `a`, if it says what follows. */
static inline __attribute__((always_inline)) enum last read_field(announced *a, const uint8_t *name, uint32_t name_len,
                                                                  const uint8_t *value, uint32_t len)
{
    if (name_len == HOST_LEN) {
        a->hosts += is_name(name, "host", HOST_LEN);
    } else if (name_len == UPGRADE_LEN) {
        if (a->upgrade == NULL && is_name(name, "upgrade", UPGRADE_LEN)) {
            a->upgrade = value;
            a->upgrade_len = len;
        }
    } else if (name_len == LENGTH_LEN) {
        if (is_name(name, "content-length", LENGTH_LEN)) {
            read_length(&a->length, value, len);
            return LAST_LENGTH;
        }
    } else if (name_len == CODING_LEN) {
        if (is_name(name, "transfer-encoding", CODING_LEN)) {
            read_codings(&a->codings, value, len);
            return LAST_CODING;
        }
    }
    return LAST_OTHER;
}

/* Reads a line that continues another. */
void read_continued(announced *a, enum last last, const uint8_t *value, uint32_t len);

#endif
