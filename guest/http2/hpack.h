/* HPACK (RFC 7541): header blocks to fields. All that a decoder remembers is its dynamic table.
 *
 * What is not known is said to be unknown, and never guessed. Indices count from the newest entry, so the entries that were
 * added since the decoder joined resolve exactly, whatever was in the table before: the table here holds the newest entries of
 * the real one, in order, and any others are unknown. It may hold some that the real one has evicted, which no encoder names. */
#ifndef PICOTAP_HPACK_H
#define PICOTAP_HPACK_H

#include <stdbool.h>
#include <stdint.h>

/* The most bytes of decoded text of a block; what is beyond is unknown. Behind them is room for so many more, which are
 * overwritten. */
#define HPACK_TEXT 65520u
#define HPACK_SLACK 16u
/* The most fields of a block; more are decoded for the table only. */
#define HPACK_FIELDS 1000u
/* Size of the real table, as the encoder counts (RFC 7541, section 4.1): not known; that of a new connection. */
#define HPACK_SIZE_UNKNOWN UINT32_MAX
#define HPACK_SIZE_DEFAULT 4096u
/* As much is kept of a table of unknown size. An arbitrary number: few encoders use more. */
#define HPACK_SIZE_ASSUMED 8192u
/* The most entries, and bytes of their texts, that are kept. */
#define HPACK_ENTRIES 2048u
#define HPACK_RING 65536u

/* An entry: where its bytes are in the ring, name first. Bytes of an unknown text are not there. */
typedef struct slot {
    uint16_t at, name_len, value_len;
    uint8_t name_unknown, value_unknown;
} slot;

/* A dynamic table. Slots and bytes lie in rings: the newest at the end, where the oldest follow. */
typedef struct table {
    uint32_t max;   /* size of the real table, or HPACK_SIZE_UNKNOWN */
    uint32_t size;  /* of the entries here, as the encoder counts */
    uint32_t used;  /* bytes of the ring in use */
    uint32_t end;   /* position in the ring behind the newest entry */
    uint32_t next;  /* the slot of the entry that comes */
    uint32_t count; /* entries here */
    slot slots[HPACK_ENTRIES];
    uint8_t ring[HPACK_RING + HPACK_SLACK];
} table;

/* A decoded text: bytes of fields.text, unless it is unknown. */
typedef struct text {
    uint32_t at, len;
    bool known;
} text;

typedef struct field {
    text name, value;
} field;

/* A decoded block. */
typedef struct fields {
    uint8_t *text; /* given: HPACK_TEXT bytes and the slack */
    field list[HPACK_FIELDS + 1]; /* the last is for those that are not kept */
    uint32_t text_len, count;
    bool unknown; /* some text is not known */
    bool cut;     /* there are more fields, or more text */
} fields;

/* Empties a table. `max`: of the real one. */
void hpack_reset(table *t, uint32_t max);
/* Decodes a block. False: it is malformed from some field on; those before are right, and the table is unknown. */
bool hpack_decode(table *t, const uint8_t *block, uint32_t len, fields *out);

/* Bytes that a table takes when it is packed. */
uint32_t hpack_packed(const table *t);
/* At most what it takes then after a block. */
uint32_t hpack_packed_after(const table *t, const uint8_t *block, uint32_t len);
/* Drops old entries until a table is packed in so many bytes. */
void hpack_shrink(table *t, uint32_t bytes);
/* Packs a table: slots and bytes, oldest first. The end of what was written. */
uint8_t *hpack_pack(const table *t, uint8_t *out);
/* The reverse, for a table of `count` entries; its size is set before. The end of what was read, or NULL if that is not what was
 * packed. */
const uint8_t *hpack_unpack(table *t, uint32_t count, const uint8_t *from, const uint8_t *end);

#endif
