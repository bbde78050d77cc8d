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
    uint32_t mask = (1u << bits) - 1, first;
    uint64_t number;
    if (r->at == r->end) {
        r->bad = true;
        return 0;
    }
    first = *r->at++ & mask;
    if (first != mask)
        return first;
    number = first;
    /* Five bytes follow at most: four would do, and whoever wants to be misread writes one of zeros more. Others read it. */
    for (unsigned shift = 0; shift <= 28 && r->at != r->end; shift += 7) {
        uint8_t byte = *r->at++;
        number += (uint64_t)(byte & 127) << shift;
        if (!(byte & 128)) {
            if (number <= LARGEST_NUMBER)
                return (uint32_t)number;
            break;
        }
    }
    r->bad = true;
    return 0;
}

/* Bits that were not decoded yet: the first `count`. The others are zero. */
typedef struct bits {
    uint64_t bits;
    unsigned count;
} bits;

/* Takes more bits in, as many as there are or at least 32. */
static inline void refill(bits *b, const uint8_t **at, const uint8_t *end)
{
    if (b->count <= 32 && end - *at >= 4) {
        const uint8_t *next = *at;
        uint32_t four = (uint32_t)next[0] << 24 | (uint32_t)next[1] << 16 | (uint32_t)next[2] << 8 | next[3];
        b->bits |= (uint64_t)four << (32 - b->count);
        b->count += 32;
        *at += 4;
    }
    for (; b->count < 32 && *at != end; b->count += 8)
        b->bits |= (uint64_t)*(*at)++ << (56 - b->count);
}

/* The length of the code of more than 8 bits that comes next, or 0: it is not whole, or none. */
static unsigned long_code(const bits *b, uint8_t *symbol)
{
    uint32_t first = 0xfe, index = 0; /* of the codes of 8 bits, the end */
    for (unsigned length = 9; length <= HUFFMAN_LONGEST && length <= b->count; ++length) {
        uint32_t code = (uint32_t)(b->bits >> (64 - length));
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

/* Takes a code of at most 8 bits, if such a one comes next: 8 bits are there. */
static inline bool take_short(bits *b, uint8_t *symbol)
{
    huffman_code code = huffman_short[b->bits >> 56];
    *symbol = code.symbol;
    b->bits <<= code.length;
    b->count -= code.length;
    return code.length != 0;
}

/* Takes at most four such codes, of the 32 bits that are there. */
static inline uint32_t take_four(bits *b, uint8_t *out)
{
    return !take_short(b, out) ? 0 : !take_short(b, out + 1) ? 1 : !take_short(b, out + 2) ? 2 : !take_short(b, out + 3) ? 3 : 4;
}

/* Decodes Huffman code to `out`, of which `room` bytes are free. Returns the length of the text, of which no more than `room`
 * bytes were written. A function of its own has registers for all that it needs. */
__attribute__((noinline)) static uint32_t decode_huffman(reader *r, uint32_t len, uint8_t *out, uint32_t room)
{
    const uint8_t *at = r->at, *end = r->at + len;
    uint32_t count = 0;
    bits b = {0, 0};
    for (;;) {
        if (b.count < 32)
            refill(&b, &at, end);
        if (b.count >= 32 && count < room && room - count >= 4) {
            uint32_t taken = take_four(&b, out + count);
            count += taken;
            if (taken != 0)
                continue;
        }
        /* Padded with ones, as the last byte is. */
        uint32_t byte = (uint32_t)(b.bits >> 56) | (b.count < 8 ? 255u >> b.count : 0);
        huffman_code code = huffman_short[byte];
        unsigned length = code.length;
        uint8_t symbol = code.symbol;
        if (length == 0)
            length = long_code(&b, &symbol);
        if (length == 0 || length > b.count)
            break;
        b.bits <<= length;
        b.count -= length;
        if (count < room)
            out[count] = symbol;
        ++count;
    }
    /* What is left is padding: less than a byte, all ones (RFC 7541, section 5.2). */
    r->bad |= b.count >= 8 || (uint32_t)(b.bits >> 56) != (255u >> b.count ^ 255u);
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
static const slot *entry(const table *t, uint32_t older)
{
    return &t->slots[(t->next - 1 - older) % HPACK_ENTRIES];
}

static void evict(table *t)
{
    const slot *oldest = entry(t, --t->count);
    t->size -= size_of(oldest);
    t->used -= stored(oldest);
}

static void evict_to(table *t, uint32_t size)
{
    while (t->count != 0 && t->size > size)
        evict(t);
}

void hpack_reset(table *t, uint32_t max)
{
    t->max = max;
    t->size = t->used = t->end = t->next = t->count = 0;
}

static void write_ring(table *t, const uint8_t *bytes, uint32_t len)
{
    uint32_t first = HPACK_RING - t->end < len ? HPACK_RING - t->end : len;
    memcpy(t->ring + t->end, bytes, first);
    if (first != len)
        memcpy(t->ring, bytes + first, len - first);
    t->end = (t->end + len) % HPACK_RING;
    t->used += len;
}

/* Copies 16 bytes at a time: as many bytes behind `from` and `to` are read and written. */
static inline void copy_text(uint8_t *to, const uint8_t *from, uint32_t len)
{
    for (uint32_t i = 0; i < len; i += HPACK_SLACK) {
        __builtin_memcpy(to + i, from + i, HPACK_SLACK);
        __asm__ volatile(""); /* or it becomes a call of memcpy, which takes longer for short texts */
    }
}

static void read_ring(const table *t, uint32_t at, uint32_t len, uint8_t *out)
{
    at %= HPACK_RING;
    if (len <= HPACK_RING - at) {
        copy_text(out, t->ring + at, len);
        return;
    }
    memcpy(out, t->ring + at, HPACK_RING - at);
    memcpy(out + HPACK_RING - at, t->ring, len - (HPACK_RING - at));
}

static uint16_t capped(uint32_t len)
{
    return len < UINT16_MAX ? (uint16_t)len : UINT16_MAX;
}

/* As much is kept of a table, as its encoder counts. */
static uint32_t kept_of(uint32_t max)
{
    return max == HPACK_SIZE_UNKNOWN ? HPACK_SIZE_ASSUMED : max;
}

/* Adds an entry (RFC 7541, section 4.4). One that is larger than the table empties it; where the table's size is not known it is
 * added, which does no harm: if the encoder has emptied its table, it names none of those before. */
static void insert(table *t, const uint8_t *bytes, const field *f)
{
    const text *name = &f->name, *value = &f->value;
    slot s = {.name_len = capped(name->len), .value_len = capped(value->len), .name_unknown = !name->known, .value_unknown = !value->known};
    uint32_t kept = kept_of(t->max), size = size_of(&s);
    if (name->len > t->max || value->len > t->max || size > t->max) {
        hpack_reset(t, t->max);
        return;
    }
    if (stored(&s) > kept || stored(&s) > HPACK_RING)
        s.name_unknown = s.value_unknown = 1;
    evict_to(t, size < kept ? kept - size : 0);
    while (t->count != 0 && (t->count == HPACK_ENTRIES || t->used + stored(&s) > HPACK_RING))
        evict(t);
    s.at = (uint16_t)t->end;
    if (!s.name_unknown)
        write_ring(t, bytes + name->at, name->len);
    if (!s.value_unknown)
        write_ring(t, bytes + value->at, value->len);
    t->slots[t->next] = s;
    t->next = (t->next + 1) % HPACK_ENTRIES;
    t->size += size;
    ++t->count;
}

/* Whether there is room for so much text. */
static bool has_text(fields *out, uint32_t len)
{
    bool fits = len <= HPACK_TEXT - out->text_len;
    out->cut |= !fits;
    return fits;
}

static void copy_constant(const static_field *s, fields *out, field *f, bool name_only)
{
    uint32_t at = out->text_len, len = s->name_len + (name_only ? 0u : s->value_len);
    bool fits = has_text(out, len);
    f->name = (text){.at = at, .len = s->name_len, .known = fits};
    f->value = (text){.at = at + s->name_len, .len = s->value_len, .known = fits && !name_only};
    if (!fits)
        return;
    copy_text(out->text + at, s->texts, len);
    out->text_len += len;
}

static void copy_entry(const table *t, const slot *s, fields *out, field *f, bool name_only)
{
    bool has_name = !s->name_unknown, has_value = !s->value_unknown && !name_only;
    uint32_t at = out->text_len, name_len = has_name ? s->name_len : 0, len = name_len + (has_value ? s->value_len : 0u);
    bool fits = has_text(out, len);
    f->name = (text){.at = at, .len = s->name_len, .known = fits && has_name};
    f->value = (text){.at = at + name_len, .len = s->value_len, .known = fits && has_value};
    if (!fits)
        return;
    read_ring(t, s->at, len, out->text + at);
    out->text_len += len;
}

/* The field of an index, or its name alone. */
static void look_up(const table *t, reader *r, fields *out, uint32_t index, field *f, bool name_only)
{
    *f = (field){0};
    if (index == 0)
        r->bad = true;
    else if (index <= STATIC_FIELDS)
        copy_constant(&static_fields[index - 1], out, f, name_only);
    else if (index - STATIC_FIELDS - 1 < t->count)
        copy_entry(t, entry(t, index - STATIC_FIELDS - 1), out, f, name_only);
}

/* ---- packed ----------------------------------------------------------------------------------------------------------------- */

uint32_t hpack_packed(const table *t)
{
    return t->count * (uint32_t)sizeof(slot) + t->used;
}

/* Copies many bytes, 64 at a time. */
static inline void copy_bytes(void *to, const void *from, uint32_t len)
{
    uint8_t *out = to;
    const uint8_t *in = from;
    for (; len >= 64; len -= 64, in += 64, out += 64)
        __builtin_memcpy(out, in, 64);
    if (len != 0)
        memcpy(out, in, len);
}

void hpack_shrink(table *t, uint32_t bytes)
{
    while (t->count != 0 && hpack_packed(t) > bytes)
        evict(t);
}

uint8_t *hpack_pack(const table *t, uint8_t *out)
{
    uint32_t first = (t->next - t->count) % HPACK_ENTRIES, at = (t->end - t->used) % HPACK_RING;
    uint32_t behind = t->count < HPACK_ENTRIES - first ? t->count : HPACK_ENTRIES - first;
    copy_bytes(out, t->slots + first, behind * sizeof(slot));
    out += behind * sizeof(slot);
    copy_bytes(out, t->slots, (t->count - behind) * sizeof(slot));
    out += (t->count - behind) * sizeof(slot);
    behind = t->used < HPACK_RING - at ? t->used : HPACK_RING - at;
    copy_bytes(out, t->ring + at, behind);
    copy_bytes(out + behind, t->ring, t->used - behind);
    return out + t->used;
}

const uint8_t *hpack_unpack(table *t, uint32_t count, const uint8_t *from, const uint8_t *end)
{
    uint32_t used = 0, size = 0;
    if (count > HPACK_ENTRIES || count * sizeof(slot) > (uint32_t)(end - from))
        return NULL;
    copy_bytes(t->slots, from, count * sizeof(slot));
    from += count * sizeof(slot);
    for (uint32_t i = 0; i < count; ++i) {
        slot *s = &t->slots[i];
        s->at = (uint16_t)used;
        used += stored(s);
        size += size_of(s);
    }
    if (used > HPACK_RING || used > (uint32_t)(end - from))
        return NULL;
    copy_bytes(t->ring, from, used);
    t->size = size;
    t->used = used;
    t->end = used % HPACK_RING;
    t->next = count % HPACK_ENTRIES;
    t->count = count;
    return from + used;
}

/* ---- blocks ----------------------------------------------------------------------------------------------------------------- */

/* How a field is represented (RFC 7541, section 6): what its first byte says, and how many bits of it are a number. */
enum form { FORM_INDEXED, FORM_ADDED, FORM_SIZE, FORM_PLAIN };

static enum form form_of(uint8_t byte, unsigned *number_bits)
{
    *number_bits = byte & 128 ? 7 : byte & 64 ? 6 : byte & 32 ? 5 : 4;
    return byte & 128 ? FORM_INDEXED : byte & 64 ? FORM_ADDED : byte & 32 ? FORM_SIZE : FORM_PLAIN;
}

static void decode_field(table *t, reader *r, fields *out)
{
    unsigned number_bits;
    enum form form = form_of(*r->at, &number_bits);
    uint32_t number = read_number(r, number_bits);
    field *f = &out->list[out->count];

    if (r->bad)
        return;
    if (form == FORM_SIZE) {
        t->max = number;
        evict_to(t, number);
        return;
    }
    if (form == FORM_INDEXED) {
        look_up(t, r, out, number, f, false);
    } else {
        if (number == 0)
            f->name = read_string(r, out);
        else
            look_up(t, r, out, number, f, true);
        f->value = read_string(r, out);
    }
    if (r->bad)
        return;
    if (form == FORM_ADDED)
        insert(t, out->text, f);
    out->unknown |= !f->name.known || !f->value.known;
    if (out->count == HPACK_FIELDS)
        out->cut = true;
    else
        ++out->count;
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
    return older < added ? longest : older - added < t->count ? entry(t, older - added)->name_len : 0;
}

uint32_t hpack_packed_after(const table *t, const uint8_t *block, uint32_t len)
{
    reader r = {.at = block, .end = block + len};
    uint32_t added = 0, bytes = hpack_packed(t), longest = 0, most = kept_of(t->max);

    while (r.at != r.end && !r.bad) {
        if (*r.at >= 0x80 && *r.at != 0xff) { /* an index of one byte: most fields are no more */
            ++r.at;
            continue;
        }
        unsigned number_bits;
        enum form form = form_of(*r.at, &number_bits);
        uint32_t number = read_number(&r, number_bits);
        if (form == FORM_SIZE && number > most)
            most = number;
        if (form == FORM_INDEXED || form == FORM_SIZE || r.bad)
            continue;
        uint32_t name = number == 0 ? pass_string(&r) : name_length(t, number, added, longest);
        uint32_t value = pass_string(&r);
        if (form != FORM_ADDED)
            continue;
        longest = name > longest ? name : longest;
        bytes += (uint32_t)sizeof(slot) + name + value;
        ++added;
    }
    return bytes < most ? bytes : most;
}
