/* Planted faults: see planted.h. The part that needs no sandbox also compiles natively (-DPICO_PLANTED_NATIVE): a test shows
 * what the same bug does there. */
#include <stdbool.h>
#include <stddef.h>

#include "planted.h"

static bool same(const uint8_t *at, uint32_t len, const char *word)
{
    uint32_t i = 0;
    while (i < len && word[i] != 0 && (at[i] == (uint8_t)word[i] || (at[i] | 0x20) == (uint8_t)word[i]))
        ++i;
    return i == len && word[i] == 0;
}

/* The classic bug: the value is copied into 16 bytes without a check of its length. */
__attribute__((noinline)) static void overflow(const uint8_t *value, uint32_t len)
{
    char kept[16];
    char *to = kept;
    while (len-- != 0)
        *to++ = (char)*value++;
    __asm__ volatile("" : : "r"(kept) : "memory");
}

/* Recurses without end; using the frame after the call prevents a tail call. */
__attribute__((noinline)) static uint32_t deep(uint32_t level)
{
    volatile uint8_t frame[256];
    frame[level % sizeof(frame)] = (uint8_t)level;
    return level == UINT32_MAX ? 0 : deep(level + 1) + frame[level % sizeof(frame)];
}

/* The fault to put into the reply. Set and cleared within one event. */
static enum { NOTHING, POSITIONS, COUNTS, CONSUMED, PROGRESS, STALL, LENGTHS } pending;

void planted_header(const uint8_t *name, uint32_t name_len, const uint8_t *value, uint32_t len)
{
    uint32_t word = 0;
    if (!same(name, name_len, "x-poison"))
        return;
    while (word < len && value[word] != ' ')
        ++word;
    if (same(value, word, "trap"))
        __builtin_trap();
    else if (same(value, word, "loop"))
        for (volatile uint32_t i = 0;; ++i)
            ;
    else if (same(value, word, "stack"))
        pending = deep(len) == 0 ? NOTHING : pending;
    else if (same(value, word, "store"))
        *(volatile uint32_t *)(uintptr_t)0xfffffff0u = len;
    else if (same(value, word, "overflow"))
        overflow(value, len);
    else if (same(value, word, "positions"))
        pending = POSITIONS;
    else if (same(value, word, "counts"))
        pending = COUNTS;
    else if (same(value, word, "consumed"))
        pending = CONSUMED;
    else if (same(value, word, "progress"))
        pending = PROGRESS;
    else if (same(value, word, "stall"))
        pending = STALL;
    else if (same(value, word, "lengths"))
        pending = LENGTHS;
}

#ifndef PICO_PLANTED_NATIVE

#include "state.h"

void planted_reply(const struct call *c, pico_result *result)
{
    pico_output *out = c->out;
    switch (pending) {
    case NOTHING:
        break;
    case POSITIONS: /* a text that wraps around the end of the address space */
        c->records[out->num_records - 1].end = UINT32_MAX;
        c->records[out->num_records - 1].text = UINT32_MAX - 3;
        break;
    case COUNTS:
        out->num_records = UINT32_MAX;
        out->num_pairs = UINT32_MAX / 16 + 1;
        break;
    case CONSUMED:
        result->consumed += 1u << 20;
        break;
    case PROGRESS:
        result->verdict = PICO_OUTPUT_FULL;
        result->skip = 0;
        result->consumed = 0;
        out->num_records = out->num_pairs = 0;
        break;
    case STALL: { /* a record and nothing consumed: presented again without end. For a connection's first request. */
        const pico_row *row = &c->rows[c->events[out->current_event].row];
        __builtin_memset((void *)row->block, 0, sizeof(row->block));
        uint8_t side = 0;
        while (out->num_records != 0 && c->records[out->num_records - 1].event == out->current_event)
            side = c->records[--out->num_records].side;
        c->records[out->num_records++] =
            (pico_record){.kind = PICO_RECORD_ERROR, .side = side, .code = PICO_ERROR_BAD_HEADER, .event = out->current_event};
        result->verdict = PICO_OUTPUT_FULL;
        result->skip = 0;
        result->consumed = 0;
        break;
    }
    case LENGTHS: /* a body longer than any stream */
        for (uint32_t i = 0; i < out->num_records; ++i)
            if (c->records[i].kind == PICO_RECORD_END)
                c->records[i].content_length = c->records[i].decoded = UINT64_MAX;
        break;
    }
    pending = NOTHING;
}

#endif
