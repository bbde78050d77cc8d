/* A module for tests of extra state: it asks for some, fills it with a pattern that only its connection has, and finds on
 * each call its own pattern, or zeros after a loss. Anything else is an error record.
 *
 * The first eight bytes of side 0 are the connection's number; each byte behind them is an order. Side 1 is passed over. */
#include "module.h"

#ifndef STATE_FORMAT
#define STATE_FORMAT 2000u
#endif

/* Codes of error records: what they stand for here. */
enum {
    SAID_MISMATCH = PICO_ERROR_BAD_START_LINE, /* the extra state is not what this connection left */
    SAID_LOST = PICO_ERROR_LOST_FRAMING,       /* it was dropped */
    SAID_REFUSED = PICO_ERROR_HEAD_TOO_LONG,   /* more was asked for, and is not to be had */
    SAID_GROWN = PICO_ERROR_TOO_MANY_HEADERS   /* it is larger */
};

enum { SMALL = 12u << 10, STEP = 16u << 10 };

typedef struct block {
    uint64_t number;
    uint32_t version;   /* how often the pattern was written */
    uint32_t used;      /* bytes of pattern */
    uint32_t size;      /* bytes of extra state */
    uint32_t wanted;    /* asked for, and not answered yet */
    uint8_t numbered;   /* the number was read */
    uint8_t empty;      /* the order was to use none */
    uint8_t lost;       /* to be said: it was dropped */
    uint8_t mismatch;   /* to be said */
    uint8_t reserved[PICO_BLOCK_SIZE - 28];
} block;

_Static_assert(sizeof(block) == PICO_BLOCK_SIZE, "the block is all there is");

const module_properties properties = {.protocol = {"http1"}, .state_format = STATE_FORMAT, .first_window = 4};

#define MOST_RECORDS 4u

static uint8_t pattern(const block *b, uint32_t at)
{
    uint64_t x = (b->number * UINT64_C(0x9e3779b97f4a7c15)) ^ ((uint64_t)b->version << 20) ^ at;
    return (uint8_t)((x * UINT64_C(0xbf58476d1ce4e5b9)) >> 56);
}

static void say(call *c, uint32_t index, unsigned code, uint32_t at)
{
    new_record(c, index, PICO_RECORD_ERROR, at, at)->code = (uint16_t)code;
}

/* Whether the extra state is what the last call left. */
static bool is_own(const block *b, const pico_row *row, const uint8_t *extra)
{
    if (row->extra_used != b->used || row->extra_size < b->size)
        return false;
    for (uint32_t i = 0; i < row->extra_size; ++i)
        if (extra[i] != (i < b->used ? pattern(b, i) : 0))
            return false;
    return true;
}

/* Checks the row, before anything is answered: what is to be said of it may have to wait for room. */
static void check(call *c, pico_row *row, block *b)
{
    const uint8_t *extra = c->states + row->extra;
    if (!is_first_look(row))
        return;
    if (row->flags & PICO_ROW_EXTRA_LOST) {
        b->used = 0;
        b->lost = 1;
    }
    b->mismatch |= !is_own(b, row, extra);
}

static void say_checked(call *c, uint32_t index, block *b)
{
    if (b->lost)
        say(c, index, SAID_LOST, 0);
    if (b->mismatch)
        say(c, index, SAID_MISMATCH, 0);
    b->lost = b->mismatch = 0;
}

static void fill(call *c, pico_row *row, block *b)
{
    uint8_t *extra = c->states + row->extra;
    b->size = row->extra_size;
    b->version += 1;
    b->used = b->empty || b->size == 0 ? 0 : b->size - b->version % 4 * 256;
    row->extra_used = b->used;
    for (uint32_t i = 0; i < b->size; ++i)
        extra[i] = i < b->used ? pattern(b, i) : 0;
}

/* Whether `bytes` of extra state are there, or were refused; if not, the event goes back for them. */
static bool has(call *c, uint32_t index, pico_row *row, pico_result *result, uint32_t bytes, uint32_t pos)
{
    if (row->extra_size >= bytes) {
        say(c, index, SAID_GROWN, pos);
        return true;
    }
    if (row->flags & PICO_ROW_NO_GROWTH) {
        say(c, index, SAID_REFUSED, pos);
        return true;
    }
    row->grow = bytes;
    result->verdict = PICO_GROW;
    result->consumed = pos;
    return false;
}

static bool obey(call *c, uint32_t index, pico_row *row, pico_result *result, block *b, uint8_t order, uint32_t pos)
{
    bool done = true;
    switch (order) {
    case 'g': /* as much as a small table takes */
        return has(c, index, row, result, SMALL, pos);
    case 'G': /* a quarter of all */
        b->wanted = b->wanted != 0 ? b->wanted : row->extra_size + STEP;
        if (b->wanted <= PICO_MAX_EXTRA)
            done = has(c, index, row, result, b->wanted, pos);
        b->wanted = done ? 0 : b->wanted;
        return done;
    case 'e': /* use none of it */
    case 'f': /* use it again */
        b->empty = order == 'e';
        return true;
    case '!':
        __builtin_trap();
    case '?': /* says that it uses more than there is */
        row->extra_used = row->extra_size + 1;
        return true;
    default:
        return true;
    }
}

bool answer(call *c, uint32_t index, pico_row *row, pico_result *result)
{
    const pico_event *e = &c->events[index];
    block *b = (block *)row->block;
    const uint8_t *bytes = c->arena + e->data;
    uint32_t pos = 0;
    bool broken = false;

    result->verdict = PICO_DONE;
    result->consumed = e->len;
    check(c, row, b);
    if (e->kind != PICO_EVENT_BYTES || e->side != 0)
        return true;
    if (!b->numbered) {
        if (e->len < 8) {
            result->verdict = PICO_NEED_MORE;
            result->consumed = 0;
            return true;
        }
        __builtin_memcpy(&b->number, bytes, 8);
        b->numbered = 1;
        pos = 8;
    }
    if (!has_records(c, MOST_RECORDS)) {
        result->verdict = PICO_OUTPUT_FULL;
        result->consumed = pos;
        return true;
    }
    say_checked(c, index, b);
    for (; pos < e->len; ++pos) {
        if (!has_records(c, MOST_RECORDS)) {
            result->verdict = PICO_OUTPUT_FULL;
            result->consumed = pos;
            break;
        }
        if (!obey(c, index, row, result, b, bytes[pos], pos))
            break;
        broken |= bytes[pos] == '?';
    }
    if (!broken)
        fill(c, row, b);
    return true;
}
