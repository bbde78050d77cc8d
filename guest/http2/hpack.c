/* HPACK: see hpack.h. */
#include "hpack.h"

#include <string.h>

#include "tables.h"

/* What an entry counts for beside its texts (RFC 7541, section 4.1). */
#define ENTRY_OVERHEAD 32u
/* A larger number is malformed: no block is so long. */
#define LARGEST_NUMBER (1u << 28)

/* A block, as far as it was read. */
typedef struct reader {
    const uint8_t *at, *end;
    bool bad;
} reader;

/* ---- numbers and strings ----------------------------------------------------------------------------------------------- */

/* A number of which the first byte has `bits` (RFC 7541, section 5.1). */
static uint32_t read_number(reader *r, unsigned bits)
{
    uint32_t mask = (1u << bits) - 1, number;
    if (r->at == r->end) {
        r->bad = true;
        return 0;
    }
    number = *r->at++ & mask;
    if (number != mask)
        return number;
    for (unsigned shift = 0; shift <= 21 && r->at != r->end; shift += 7) {
        uint8_t byte = *r->at++;
        number += (uint32_t)(byte & 127) << shift;
        if (!(byte & 128)) {
            r->bad |= number > LARGEST_NUMBER;
            return number;
        }
    }
    r->bad = true;
    return 0;
}

/* Bits that were not decoded yet: the last `count` of `bits`. */
typedef struct bits {
    uint64_t bits;
    unsigned count;
} bits;

/* The length of the code of more than 8 bits that comes next, or 0: it is not whole, or none. */
static unsigned long_code(const bits *b, uint8_t *symbol)
{
    uint32_t first = 0xfe, index = 74; /* of the codes of 8 bits, and of their symbols, the end */
    for (unsigned length = 9; length <= HUFFMAN_LONGEST && length <= b->count; ++length) {
        uint32_t code = (uint32_t)(b->bits >> (b->count - length)) & ((1u << length) - 1);
        first <<= 1;
        if (code - first < huffman_counts[length]) {
            *symbol = huffman_symbols[index + code - first];
            return length;
        }
        first += huffman_counts[length];
        index += huffman_counts[length];
    }
    return 0;
}

/* The length of the code that comes next, or 0: it is not whole, or none. The first numbers of each length are those of
 * appendix B. */
static inline unsigned next_code(const bits *b, uint8_t *symbol)
{
    unsigned length;
    /* Padded with ones, as the last byte is. */
    uint32_t byte = b->count >= 8 ? (uint32_t)(b->bits >> (b->count - 8)) & 255
                                  : ((uint32_t)b->bits << (8 - b->count) & 255) | 255u >> b->count;
    if (byte < 0x50) {
        length = 5;
        *symbol = huffman_symbols[byte >> 3];
    } else if (byte < 0xb8) {
        length = 6;
        *symbol = huffman_symbols[10 + (byte >> 2) - 0x14];
    } else if (byte < 0xf8) {
        length = 7;
        *symbol = huffman_symbols[36 + (byte >> 1) - 0x5c];
    } else if (byte < 0xfe) {
        length = 8;
        *symbol = huffman_symbols[68 + byte - 0xf8];
    } else {
        return long_code(b, symbol);
    }
    return length <= b->count ? length : 0;
}

/* Decodes Huffman code to `out`, of which `room` bytes are free. Returns the length of the text, of which no more than `room`
 * bytes were written. */
static uint32_t decode_huffman(reader *r, uint32_t len, uint8_t *out, uint32_t room)
{
    const uint8_t *at = r->at, *end = r->at + len;
    uint32_t count = 0;
    bits b = {0, 0};
    for (;;) {
        uint8_t symbol = 0;
        while (b.count <= 48 && at != end) {
            b.bits = b.bits << 8 | *at++;
            b.count += 8;
        }
        unsigned length = b.count == 0 ? 0 : next_code(&b, &symbol);
        if (length == 0)
            break;
        b.count -= length;
        if (count < room)
            out[count] = symbol;
        ++count;
    }
    /* What is left is padding: less than a byte, all ones (RFC 7541, section 5.2). */
    uint32_t ones = (1u << (b.count & 31)) - 1;
    r->bad |= b.count >= 8 || ((uint32_t)b.bits & ones) != ones;
    r->at = end;
    return count;
}

static text read_string(reader *r, fields *out)
{
    bool huffman = r->at != r->end && *r->at & 128;
    uint32_t len = read_number(r, 7), room = HPACK_TEXT - out->text_len;
    text t = {.at = out->text_len, .len = len};
    if (r->bad || len > (uint32_t)(r->end - r->at)) {
        r->bad = true;
        return t;
    }
    if (huffman) {
        t.len = decode_huffman(r, len, out->text + t.at, room);
    } else {
        if (len <= room)
            memcpy(out->text + t.at, r->at, len);
        r->at += len;
    }
    t.known = t.len <= room;
    out->cut |= !t.known;
    out->text_len += t.known ? t.len : 0;
    return t;
}

/* ---- the table ------------------------------------------------------------------------------------------------------------ */

static uint32_t size_of(const slot *s)
{
    return ENTRY_OVERHEAD + s->name_len + s->value_len;
}

static uint32_t stored(const slot *s)
{
    return (s->name_unknown ? 0u : s->name_len) + (s->value_unknown ? 0u : s->value_len);
}

/* The entry that is `older` than so many others. */
static slot *entry(const table *t, uint32_t older)
{
    uint32_t newest = t->head->newest;
    return &t->slots[newest >= older ? newest - older : newest + t->num_slots - older];
}

static void evict(table *t)
{
    const slot *oldest = entry(t, --t->head->count);
    t->head->size -= size_of(oldest);
    t->head->used -= stored(oldest);
}

static void evict_to(table *t, uint32_t size)
{
    while (t->head->count != 0 && t->head->size > size)
        evict(t);
}

void hpack_reset(table *t, uint32_t max)
{
    *t->head = (table_head){.max = max};
}

static void write_ring(table *t, const uint8_t *bytes, uint32_t len)
{
    table_head *h = t->head;
    uint32_t first = t->ring_size - h->end < len ? t->ring_size - h->end : len;
    memcpy(t->ring + h->end, bytes, first);
    memcpy(t->ring, bytes + first, len - first);
    h->end = len - first != 0 ? len - first : h->end + first;
    h->used += len;
}

static void read_ring(const table *t, uint32_t at, uint32_t len, uint8_t *out)
{
    at = at >= t->ring_size ? at - t->ring_size : at;
    uint32_t first = t->ring_size - at < len ? t->ring_size - at : len;
    memcpy(out, t->ring + at, first);
    memcpy(out + first, t->ring, len - first);
}

static uint16_t capped(uint32_t len)
{
    return len < UINT16_MAX ? (uint16_t)len : UINT16_MAX;
}

/* Adds an entry (RFC 7541, section 4.4). One that is larger than the table empties it; where the table's size is not known it is
 * added, which does no harm: if the encoder has emptied its table, it names none of those before. */
static void insert(table *t, const uint8_t *bytes, text name, text value)
{
    table_head *h = t->head;
    slot s = {.name_len = capped(name.len), .value_len = capped(value.len), .name_unknown = !name.known,
              .value_unknown = !value.known};
    if (name.len > h->max || value.len > h->max || size_of(&s) > h->max) {
        hpack_reset(t, h->max);
        return;
    }
    if (stored(&s) > t->ring_size)
        s.name_unknown = s.value_unknown = 1;
    evict_to(t, h->max - size_of(&s));
    while (h->count != 0 && (h->count == t->num_slots || h->used + stored(&s) > t->ring_size))
        evict(t);
    if (h->end == t->ring_size)
        h->end = 0;
    s.at = (uint16_t)h->end;
    if (!s.name_unknown)
        write_ring(t, bytes + name.at, name.len);
    if (h->end == t->ring_size)
        h->end = 0;
    if (!s.value_unknown)
        write_ring(t, bytes + value.at, value.len);
    h->newest = h->newest + 1 == t->num_slots ? 0 : h->newest + 1;
    t->slots[h->newest] = s;
    h->size += size_of(&s);
    ++h->count;
}

/* A text that is copied from elsewhere. */
static text copied(fields *out, uint32_t len)
{
    text t = {.at = out->text_len, .len = len, .known = len <= HPACK_TEXT - out->text_len};
    out->cut |= !t.known;
    out->text_len += t.known ? len : 0;
    return t;
}

static text copy_constant(fields *out, const char *constant, uint32_t len)
{
    text t = copied(out, len);
    if (t.known)
        memcpy(out->text + t.at, constant, len);
    return t;
}

static text copy_entry(const table *t, fields *out, uint32_t at, uint32_t len, bool unknown)
{
    if (unknown)
        return (text){.len = len};
    text copy = copied(out, len);
    if (copy.known)
        read_ring(t, at, len, out->text + copy.at);
    return copy;
}

/* The field of an index, or its name alone. */
static field look_up(const table *t, reader *r, fields *out, uint32_t index, bool name_only)
{
    field f = {0};
    if (index == 0) {
        r->bad = true;
    } else if (index <= STATIC_FIELDS) {
        const static_field *s = &static_fields[index - 1];
        f.name = copy_constant(out, s->name, s->name_len);
        if (!name_only)
            f.value = copy_constant(out, s->value, s->value_len);
    } else if (index - STATIC_FIELDS - 1 < t->head->count) {
        const slot *s = entry(t, index - STATIC_FIELDS - 1);
        f.name = copy_entry(t, out, s->at, s->name_len, s->name_unknown);
        if (!name_only)
            f.value = copy_entry(t, out, s->at + (s->name_unknown ? 0u : s->name_len), s->value_len, s->value_unknown);
    }
    return f;
}

/* ---- blocks ----------------------------------------------------------------------------------------------------------------- */

/* How a field is represented (RFC 7541, section 6): what its first byte says, and how many bits of it are a number. */
enum form { FORM_INDEXED, FORM_ADDED, FORM_SIZE, FORM_PLAIN };

static enum form form_of(uint8_t byte, unsigned *number_bits)
{
    *number_bits = byte & 128 ? 7 : byte & 64 ? 6 : byte & 32 ? 5 : 4;
    return byte & 128 ? FORM_INDEXED : byte & 64 ? FORM_ADDED : byte & 32 ? FORM_SIZE : FORM_PLAIN;
}

static void keep(fields *out, const field *f)
{
    out->unknown |= !f->name.known || !f->value.known;
    if (out->count == HPACK_FIELDS)
        out->cut = true;
    else
        out->list[out->count++] = *f;
}

static void decode_field(table *t, reader *r, fields *out)
{
    unsigned number_bits;
    enum form form = form_of(*r->at, &number_bits);
    uint32_t number = read_number(r, number_bits);
    field f = {0};

    if (r->bad)
        return;
    if (form == FORM_SIZE) {
        t->head->max = number;
        evict_to(t, number);
        return;
    }
    if (form == FORM_INDEXED) {
        f = look_up(t, r, out, number, false);
    } else {
        f.name = number == 0 ? read_string(r, out) : look_up(t, r, out, number, true).name;
        f.value = read_string(r, out);
    }
    if (r->bad)
        return;
    if (form == FORM_ADDED)
        insert(t, out->text, f.name, f.value);
    keep(out, &f);
}

bool hpack_decode(table *t, const uint8_t *block, uint32_t len, fields *out)
{
    reader r = {.at = block, .end = block + len};
    out->text_len = out->count = 0;
    out->unknown = out->cut = false;
    while (r.at != r.end && !r.bad)
        decode_field(t, &r, out);
    if (r.bad)
        hpack_reset(t, HPACK_SIZE_UNKNOWN);
    return !r.bad;
}

/* At most the length of the text that a string decodes to: the shortest code has five bits. */
static uint32_t pass_string(reader *r)
{
    bool huffman = r->at != r->end && *r->at & 128;
    uint32_t len = read_number(r, 7);
    if (r->bad || len > (uint32_t)(r->end - r->at)) {
        r->bad = true;
        return 0;
    }
    r->at += len;
    return huffman ? len * 8 / 5 : len;
}

/* At most the length of a name that a literal takes from an entry, when `added` entries were added before it in the block. */
static uint32_t name_length(const table *t, uint32_t index, uint32_t added, uint32_t longest)
{
    if (index <= STATIC_FIELDS)
        return static_fields[index - 1].name_len;
    uint32_t older = index - STATIC_FIELDS - 1;
    return older < added ? longest : older - added < t->head->count ? entry(t, older - added)->name_len : 0;
}

bool hpack_fits(const table *t, const uint8_t *block, uint32_t len)
{
    reader r = {.at = block, .end = block + len};
    uint32_t added = 0, bytes = 0, longest = 0, max = t->head->max;
    bool resized = len != 0 && (block[0] & 0xe0) == 0x20;

    if (!resized && t->ring_size >= HPACK_SIZE_DEFAULT && (max == HPACK_SIZE_UNKNOWN || max <= HPACK_SIZE_DEFAULT))
        return true; /* the usual case */

    while (r.at != r.end && !r.bad) {
        unsigned number_bits;
        enum form form = form_of(*r.at, &number_bits);
        uint32_t number = read_number(&r, number_bits);
        if (form == FORM_SIZE)
            max = number;
        if (form == FORM_INDEXED || form == FORM_SIZE || r.bad)
            continue;
        uint32_t name = number == 0 ? pass_string(&r) : name_length(t, number, added, longest);
        uint32_t value = pass_string(&r);
        if (form != FORM_ADDED)
            continue;
        longest = name > longest ? name : longest;
        bytes += name + value;
        ++added;
    }
    max = max == HPACK_SIZE_UNKNOWN ? HPACK_SIZE_DEFAULT : max;
    bool bytes_fit = t->ring_size >= max || bytes <= t->ring_size - t->head->used;
    bool slots_fit = t->num_slots >= max / ENTRY_OVERHEAD || added <= t->num_slots - t->head->count;
    return r.bad || (bytes_fit && slots_fit);
}

void hpack_copy(table *to, const table *from)
{
    static uint8_t bytes[2 * UINT16_MAX];
    hpack_reset(to, from->head->max);
    for (uint32_t older = from->head->count; older-- != 0;) {
        const slot *s = entry(from, older);
        text name = {.at = 0, .len = s->name_len, .known = !s->name_unknown};
        text value = {.at = s->name_unknown ? 0u : s->name_len, .len = s->value_len, .known = !s->value_unknown};
        read_ring(from, s->at, stored(s), bytes);
        insert(to, bytes, name, value);
    }
}
