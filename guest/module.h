/* Module: what every parser has, whatever its protocol. module.c has the exports and the loop over the events of a call; a
 * parser gives its name, its numbers and an answer to one event. */
#ifndef PICOTAP_MODULE_H
#define PICOTAP_MODULE_H

#include <stdbool.h>

#include "abi.h"

/* One call of pico_parse_events. */
typedef struct call {
    const pico_input *in;
    const pico_event *events;
    pico_row *rows;
    const uint32_t *marks;
    const pico_protocol_name *protocols;
    uint8_t *states;
    const uint8_t *arena;
    pico_output *out;
    pico_result *results;
    pico_record *records;
    pico_pair *pairs;
    uint8_t *text;
} call;

/* ---- given by each parser -------------------------------------------------------------------------------------------- */

/* Raise `state_format` with every change to the structures kept in block and extra state, or to their meanings. */
typedef struct module_properties {
    pico_protocol_name protocol;
    uint32_t state_format;
    uint32_t first_window;
} module_properties;

extern const module_properties properties;

/* Answers event number `index`: fills the result, which is zero, and adds records. False if the event contradicts the
 * connection's state: the host's mistake. */
bool answer(call *c, uint32_t index, pico_row *row, pico_result *result);

/* ---- for parsers ------------------------------------------------------------------------------------------------------ */

/* Bits of row.scratch: what happened to the connection earlier in the call. The first two are module.c's. */
enum scratch { SCRATCH_WAITS = 1 /* << side */, SCRATCH_DEFERS = 4, SCRATCH_SEEN = 8 };

/* Whether the call looks at a row for the first time: then what its flags say is taken in. */
static inline bool is_first_look(pico_row *row)
{
    bool first = !(row->scratch & SCRATCH_SEEN);
    row->scratch |= SCRATCH_SEEN;
    return first;
}

/* The bits of row.scratch of which any defers an event of this side. */
static inline uint32_t deferring(uint8_t side)
{
    return (uint32_t)SCRATCH_DEFERS | (uint32_t)SCRATCH_WAITS << side;
}

/* Where the next segment of an event starts, from `pos` on; its length: nowhere. Marks before `*next_mark` lie before pos. */
static inline uint32_t segment_from(const call *c, const pico_event *e, uint32_t pos, uint32_t *next_mark)
{
    const uint32_t *marks = c->marks + e->marks;
    if (pos == 0 && e->flags & PICO_EVENT_SEGMENT)
        return 0;
    while (*next_mark < e->num_marks && marks[*next_mark] < pos)
        ++*next_mark;
    return *next_mark < e->num_marks ? marks[*next_mark] : e->len;
}

/* A new record about an event, zero but for kind, side, event and position. The caller has asked for room. */
static inline pico_record *new_record(call *c, uint32_t event, unsigned kind, uint32_t start, uint32_t end)
{
    pico_record *record = &c->records[c->out->num_records++];
    *record = (pico_record){.kind = (uint8_t)kind, .side = c->events[event].side, .event = event, .start = start, .end = end};
    return record;
}

static inline bool has_records(const call *c, uint32_t count)
{
    return c->in->max_records - c->out->num_records >= count;
}

static inline bool has_text(const call *c, uint32_t bytes)
{
    return c->in->max_text - c->out->text_len >= bytes;
}

/* Appends a byte to the text area: there is room. */
static inline void put_text(call *c, uint8_t byte)
{
    c->text[c->out->text_len++] = byte;
}

/* The position of what is appended to the text area next. */
static inline uint32_t text_here(const call *c)
{
    return c->out->text_len | PICO_TEXT;
}

/* Index of a protocol that connections can be handed over to, or -1. `name` is padded with zeros. */
int protocol_index(const call *c, const pico_protocol_name *name);

#endif
