/* What the ways into the sandbox other than the daemon's have in common. Each is a small host inside the sandbox: it gets
 * requests in its own manner, encodes them as abi.h defines and calls the library, so that all ways contain the same
 * parser and give the same results.
 *
 * build.rs disables the parser's own exports by a macro that replaces export_name, since a way has its own
 * pico_parse_events; hence the spelling with underscores here. */
#ifndef PICOTAP_WAYS_H
#define PICOTAP_WAYS_H

#include "abi.h"

#define EXPORT(name) __attribute__((__export_name__(name)))

/* The parser's. */
uint32_t pico_parse_events(uint32_t num_events);
uint32_t allocate_input_output_bufs(uint32_t input_bytes, uint32_t output_bytes);
uint32_t get_input_buf(void);
uint32_t get_output_buf(void);

/* The limits of one call, as in src/parse/layout.rs. */
#define WAYS_MAX_EVENTS 1024u
#define WAYS_MAX_RECORDS (4u * WAYS_MAX_EVENTS)
#define WAYS_MAX_PAIRS (16u * WAYS_MAX_EVENTS)

static inline void *at_address(uint32_t address)
{
    return (void *)(uintptr_t)address;
}

/* An input header for `num_events` events, each the first of a connection of its own, with output areas for
 * `max_events`. The arena follows the rows. */
static inline pico_input ways_layout(uint32_t num_events, uint32_t max_events, uint32_t max_records, uint32_t max_pairs)
{
    uint32_t results = sizeof(pico_output);
    uint32_t records = results + max_events * (uint32_t)sizeof(pico_result);
    uint32_t rows = sizeof(pico_input) + num_events * (uint32_t)sizeof(pico_event);
    uint32_t arena = rows + num_events * (uint32_t)sizeof(pico_row);

    return (pico_input){
        .abi_version = PICO_ABI_VERSION,
        .num_events = num_events,
        .num_rows = num_events,
        .events = sizeof(pico_input),
        .rows = rows,
        .marks = arena,
        .arena = arena,
        .results = results,
        .records = records,
        .max_records = max_records,
        .pairs = records + max_records * (uint32_t)sizeof(pico_record),
        .max_pairs = max_pairs,
        .text = records + max_records * (uint32_t)sizeof(pico_record) + max_pairs * (uint32_t)sizeof(pico_pair),
        .max_text = PICO_MIN_TEXT,
    };
}

/* The bytes of an output buffer with this layout. */
static inline uint32_t ways_output_bytes(const pico_input *input)
{
    return input->text + input->max_text;
}

/* The rows of so many connections, each new. A request is all that there is: none opens a tunnel. */
static inline void ways_rows(void *at, uint32_t count)
{
    pico_row *rows = at;
    for (uint32_t i = 0; i < count; ++i)
        rows[i] = (pico_row){.depth = PICO_MAX_DEPTH};
}

/* The first event of connection `row`, sent by its client. */
static inline pico_event ways_event(uint32_t row, uint32_t data, uint32_t len)
{
    return (pico_event){
        .row = row,
        .kind = PICO_EVENT_BYTES,
        .flags = PICO_EVENT_SEGMENT,
        .peer_acked = PICO_UNKNOWN,
        .data = data,
        .len = len,
    };
}

#endif
