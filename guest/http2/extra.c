/* The extra state: its layout, for each size that it may have. */
#include <string.h>

#include "state.h"

/* Sizes that are asked for, one after the other. The first suffices for a few streams and short tables; the second has all of
 * a table of the usual 4 KiB; the last ones have more streams, and more of larger tables. Each part grows with the whole. */
static const uint32_t sizes[] = {4096, 16384, 32768, 65536};
static const uint32_t streams_of[] = {12, 64, 192, 256};
#define NUM_SIZES (sizeof(sizes) / sizeof(sizes[0]))

/* Where there is no extra state, nothing is remembered: this is as new for each event. */
static _Alignas(64) uint8_t none[4096];
/* What was in the extra state before it grew. */
static _Alignas(64) uint8_t before[PICO_MAX_EXTRA];

static void lay_out(extra *x, uint8_t *at, uint32_t size)
{
    uint32_t class = 0;
    while (class + 1 < NUM_SIZES && sizes[class + 1] <= size)
        ++class;
    uint32_t streams = sizeof(extra_head) + streams_of[class] * sizeof(stream);
    uint32_t bytes = (size - streams) / 2 & ~(uint32_t)7;
    x->head = (extra_head *)at;
    x->streams = (stream *)(at + sizeof(extra_head));
    x->num_streams = streams_of[class];
    for (uint32_t side = 0; side < 2; ++side) {
        table *t = &x->tables[side];
        uint8_t *front = at + streams + side * bytes;
        t->head = &x->head->tables[side];
        t->num_slots = bytes / 40;
        t->slots = (slot *)front;
        t->ring = front + t->num_slots * sizeof(slot);
        t->ring_size = bytes - t->num_slots * (uint32_t)sizeof(slot);
    }
}

/* Extra state that is new: it is all zero. */
static void begin(work *w, uint32_t size)
{
    extra *x = &w->extra;
    x->head->size = size;
    for (uint32_t side = 0; side < 2; ++side) {
        bool whole = w->block->sides[side].flags & SIDE_WHOLE;
        hpack_reset(&x->tables[side], whole ? HPACK_SIZE_DEFAULT : HPACK_SIZE_UNKNOWN);
    }
}

/* Extra state that has grown: what was at its front is laid out for the new size. */
static void move(work *w, uint8_t *at, uint32_t size, uint32_t had)
{
    extra old, *x = &w->extra;
    memcpy(before, at, had);
    memset(at, 0, had);
    lay_out(&old, before, had);
    x->head->size = size;
    x->head->streams = old.head->streams;
    memcpy(x->streams, old.streams, old.num_streams * sizeof(stream));
    for (uint32_t side = 0; side < 2; ++side)
        hpack_copy(&x->tables[side], &old.tables[side]);
}

void open_extra(work *w)
{
    pico_row *row = w->row;
    uint32_t size = row->extra_size;
    if (size < sizes[0]) {
        memset(none, 0, sizeof(none));
        lay_out(&w->extra, none, sizeof(none));
        begin(w, sizeof(none));
        return;
    }
    uint8_t *at = w->call->states + row->extra;
    uint32_t had = ((extra_head *)at)->size;
    lay_out(&w->extra, at, size);
    if (had == 0)
        begin(w, size);
    else if (had < size)
        move(w, at, size, had);
    row->extra_used = size;
}

bool wants_more(work *w)
{
    if (w->row->flags & PICO_ROW_NO_GROWTH)
        return false;
    for (uint32_t class = 0; class < NUM_SIZES; ++class)
        if (sizes[class] > w->row->extra_size) {
            w->row->grow = sizes[class];
            return true;
        }
    return false;
}
