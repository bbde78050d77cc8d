/* The extra state: the open streams and the tables, packed and unpacked. */
#include <string.h>

#include "state.h"

/* Sizes that are asked for, one after the other. The first suffices for a few streams and short tables, the third for many
 * streams and tables of the usual 4 KiB. */
static const uint32_t sizes[] = {2048, 4096, 16384, PICO_MAX_EXTRA};
#define NUM_SIZES (sizeof(sizes) / sizeof(sizes[0]))

/* A bit of row.scratch: the extra state is unpacked. */
enum { SCRATCH_UNPACKED = SCRATCH_SEEN << 1 };

/* What the extra state begins with. Behind it lie the streams, and each side's table. */
typedef struct packed {
    uint32_t streams;
    struct {
        uint32_t max, count; /* see `table` */
    } tables[2];
    uint32_t reserved;
} packed;

/* Of the connection whose events are being answered. Nothing of another one is left in it that could be read. */
static extra unpacked;

/* Streams may take half of it. */
static uint32_t most_streams_of(uint32_t size)
{
    uint32_t most = size / 2 / (uint32_t)sizeof(stream);
    return most < MOST_STREAMS ? most : MOST_STREAMS;
}

static uint32_t packed_streams(const extra *x)
{
    return (uint32_t)sizeof(packed) + x->num_streams * (uint32_t)sizeof(stream);
}

static void begin(work *w)
{
    extra *x = w->extra;
    x->num_streams = 0;
    for (uint32_t side = 0; side < 2; ++side) {
        bool whole = w->block->sides[side].flags & SIDE_WHOLE;
        hpack_reset(&x->tables[side], whole ? HPACK_SIZE_DEFAULT : HPACK_SIZE_UNKNOWN);
    }
}

/* Whether what lies there is what was packed. */
static bool unpack(extra *x, const uint8_t *from, uint32_t used)
{
    const uint8_t *end = from + used;
    packed head;
    if (used < sizeof(head))
        return false;
    memcpy(&head, from, sizeof(head));
    from += sizeof(head);
    if (head.streams > x->most_streams || head.streams * sizeof(stream) > (uint32_t)(end - from))
        return false;
    x->num_streams = head.streams;
    memcpy(x->streams, from, head.streams * sizeof(stream));
    from += head.streams * sizeof(stream);
    for (uint32_t side = 0; side < 2 && from != NULL; ++side) {
        x->tables[side].max = head.tables[side].max;
        from = hpack_unpack(&x->tables[side], head.tables[side].count, from, end);
    }
    return from == end;
}

void open_extra(work *w)
{
    pico_row *row = w->row;
    w->extra = &unpacked;
    if (row->scratch & SCRATCH_UNPACKED)
        return;
    unpacked.most_streams = most_streams_of(row->extra_size);
    if (!unpack(&unpacked, w->call->states + row->extra, row->extra_used))
        begin(w);
    row->scratch |= SCRATCH_UNPACKED;
}

/* Drops old entries where the tables are too much, and no more is to be had: each may take half. */
static void shrink_tables(extra *x, uint32_t room)
{
    uint32_t second = hpack_packed(&x->tables[1]);
    if (second > room / 2)
        second = room / 2;
    hpack_shrink(&x->tables[0], room - second);
    hpack_shrink(&x->tables[1], room - hpack_packed(&x->tables[0]));
}

static void pack(work *w)
{
    extra *x = w->extra;
    uint8_t *front = w->call->states + w->row->extra, *at = front + sizeof(packed);
    packed head = {.streams = x->num_streams};
    shrink_tables(x, w->row->extra_size - packed_streams(x));
    memcpy(at, x->streams, x->num_streams * sizeof(stream));
    at += x->num_streams * sizeof(stream);
    for (uint32_t side = 0; side < 2; ++side) {
        head.tables[side].max = x->tables[side].max;
        head.tables[side].count = x->tables[side].count;
        at = hpack_pack(&x->tables[side], at);
    }
    memcpy(front, &head, sizeof(head));
    w->row->extra_used = (uint32_t)(at - front);
}

void close_extra(work *w, const pico_result *result)
{
    uint32_t next = w->index + 1;
    if (result->verdict == PICO_DONE && next < w->call->in->num_events && w->row->extra_size != 0) {
        const pico_event *e = &w->call->events[next];
        if (e->row == w->event->row && !(w->row->scratch & deferring(e->side)))
            return;
    }
    w->row->scratch &= ~(uint32_t)SCRATCH_UNPACKED;
    if (w->row->extra_size != 0)
        pack(w);
}

bool fits_extra(const work *w, const uint8_t *block, uint32_t len)
{
    const extra *x = w->extra;
    const table *mine = &x->tables[w->me], *other = &x->tables[w->me ^ 1u];
    uint32_t bytes = packed_streams(x) + (uint32_t)sizeof(stream) + hpack_packed(other);
    return has_stream(w) && bytes + hpack_packed_after(mine, block, len) <= w->row->extra_size;
}

bool wants_more(work *w)
{
    if (w->row->flags & PICO_ROW_NO_GROWTH)
        return false;
    for (uint32_t i = 0; i < NUM_SIZES; ++i)
        if (sizes[i] > w->row->extra_size) {
            w->row->grow = sizes[i];
            return true;
        }
    return false;
}
