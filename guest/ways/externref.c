/* The externref way: pico_parse_events gets a reference to the host's batch and reads each event through it.
 *
 * A reference cannot be stored in linear memory, so it is kept in a table, at entry 0, for the time of the call. The host's
 * functions take the reference itself, not a number for it. */
#include <string.h>

#include "ways.h"

/* Length of event `index` of the batch in bytes; all ones if there is none. */
__attribute__((import_module("batch"), import_name("event_len"))) uint32_t event_len(__externref_t batch, uint32_t index);
/* Copies at most `len` bytes of event `index` to `to`. Returns how many. */
__attribute__((import_module("batch"), import_name("event_read"))) uint32_t event_read(__externref_t batch, uint32_t index, void *to,
                                                                                       uint32_t len);

static __externref_t kept[0];

static uint32_t input_bytes;

/* As in the library, but keeps the size. */
EXPORT("allocate_input_output_bufs") uint32_t allocate_for_batch(uint32_t input, uint32_t output)
{
    uint32_t refused = allocate_input_output_bufs(input, output);
    if (refused == 0)
        input_bytes = input;
    return refused;
}

EXPORT("pico_parse_events") uint32_t parse_batch(uint32_t num_events, __externref_t batch)
{
    if (__builtin_wasm_table_size(kept) == 0) {
        if (__builtin_wasm_table_grow(kept, batch, 1) < 0)
            return 1;
    } else {
        __builtin_wasm_table_set(kept, 0, batch);
    }
    if (get_input_buf() == 0 || num_events > WAYS_MAX_EVENTS)
        return 1;

    uint8_t *buffer = at_address(get_input_buf());
    pico_input input = ways_layout(num_events, WAYS_MAX_EVENTS, WAYS_MAX_RECORDS, WAYS_MAX_PAIRS);
    if (input.arena > input_bytes)
        return 1;
    pico_event *events = (pico_event *)(buffer + input.events);
    ways_rows(buffer + input.rows, num_events);
    for (uint32_t i = 0; i < num_events; ++i) {
        uint32_t len = event_len(__builtin_wasm_table_get(kept, 0), i);
        if (len > input_bytes - input.arena - input.arena_len)
            return 1;
        uint8_t *to = buffer + input.arena + input.arena_len;
        if (event_read(__builtin_wasm_table_get(kept, 0), i, to, len) != len)
            return 1;
        events[i] = ways_event(i, input.arena_len, len);
        input.arena_len += len;
    }
    memcpy(buffer, &input, sizeof(input));
    return pico_parse_events(num_events);
}
