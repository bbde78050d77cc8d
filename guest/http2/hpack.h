/* HPACK (RFC 7541): header blocks to fields. All that a decoder remembers is its dynamic table, which lies flat in the
 * connection's extra state.
 *
 * What is not known is said to be unknown, and never guessed. Indices count from the newest entry, so the entries that were
 * added since the decoder joined resolve exactly, whatever was in the table before: the table here holds the newest entries of
 * the real one, in order, and any others are unknown. It may hold some that the real one has evicted, which no encoder names. */
#ifndef PICOTAP_HPACK_H
#define PICOTAP_HPACK_H

#include <stdbool.h>
#include <stdint.h>

/* The most bytes of decoded text of a block; what is beyond is unknown. */
#define HPACK_TEXT 65535u
/* The most fields of a block; more are decoded for the table only. */
#define HPACK_FIELDS 1000u
/* Size of the real table, as the encoder counts (RFC 7541, section 4.1): not known; that of a new connection. */
#define HPACK_SIZE_UNKNOWN UINT32_MAX
#define HPACK_SIZE_DEFAULT 4096u

/* An entry: where its bytes are in the ring, name first. Bytes of an unknown text are not there. */
typedef struct slot {
    uint16_t at, name_len, value_len;
    uint8_t name_unknown, value_unknown;
} slot;

typedef struct table_head {
    uint32_t max;    /* size of the real table, or HPACK_SIZE_UNKNOWN */
    uint32_t size;   /* of the entries here, as the encoder counts */
    uint32_t used;   /* bytes of the ring in use */
    uint32_t end;    /* position in the ring behind the newest entry */
    uint32_t newest; /* its slot */
    uint32_t count;  /* entries here */
} table_head;

/* A dynamic table, and where its parts lie. */
typedef struct table {
    table_head *head;
    slot *slots;
    uint8_t *ring;
    uint32_t num_slots, ring_size;
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
    uint8_t text[HPACK_TEXT];
    field list[HPACK_FIELDS];
    uint32_t text_len, count;
    bool unknown; /* some text is not known */
    bool cut;     /* there are more fields, or more text */
} fields;

/* Empties a table. `max`: of the real one. */
void hpack_reset(table *t, uint32_t max);
/* Decodes a block. False: it is malformed from some field on; those before are right, and the table is unknown. */
bool hpack_decode(table *t, const uint8_t *block, uint32_t len, fields *out);
/* Whether all that a block adds to the table finds room in it, for as long as the real table holds it. */
bool hpack_fits(const table *t, const uint8_t *block, uint32_t len);
/* Copies the entries of a table, oldest first. */
void hpack_copy(table *to, const table *from);

#endif
