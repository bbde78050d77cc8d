/* Tables of HPACK that every decoder has. */
#ifndef PICOTAP_TABLES_H
#define PICOTAP_TABLES_H

#include <stdint.h>

/* Bits of the longest Huffman code. */
#define HUFFMAN_LONGEST 30u
/* Fields of the static table; dynamic ones have higher indices. */
#define STATIC_FIELDS 61u

typedef struct static_field {
    uint8_t name_len, value_len;
    uint8_t texts[46]; /* name and value; more than they take, so that they can be copied 16 bytes at a time */
} static_field;

/* The code that a byte begins with. */
typedef struct huffman_code {
    uint8_t symbol, length; /* 0: it has more than 8 bits */
} huffman_code;

extern const huffman_code huffman_short[256];
extern const uint8_t huffman_symbols[182];
extern const uint8_t huffman_counts[HUFFMAN_LONGEST + 1];
/* That of index 1 first. */
extern const static_field static_fields[STATIC_FIELDS];

#endif
