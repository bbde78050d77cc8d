/* The host-memory way: the requests are in a memory that is not this module's, encoded as abi.h defines, and the reply goes to
 * another. C cannot address these memories, so two functions of the bridge (bridge.wat) copy; they are in this module's table,
 * at indexes that the bridge sets. */
#include "ways.h"

/* Copies `len` bytes from offset `from` of one memory to offset `to` of another, or traps. */
typedef void copy(uint32_t to, uint32_t from, uint32_t len);

static copy *from_input; /* host's input memory to ours */
static copy *to_output;  /* ours to the host's output memory */
static uint32_t input_bytes;

EXPORT("bridge_connect") void bridge_connect(copy *read, copy *write)
{
    from_input = read;
    to_output = write;
}

/* As in the library, but keeps the size. */
EXPORT("allocate_input_output_bufs") uint32_t allocate_for_bridge(uint32_t input, uint32_t output)
{
    uint32_t refused = allocate_input_output_bufs(input, output);
    if (refused == 0)
        input_bytes = input;
    return refused;
}

/* Copies a range of the reply to the same offset in the host's output memory. */
static void give(uint32_t offset, uint32_t len)
{
    to_output(offset, get_output_buf() + offset, len);
}

EXPORT("pico_parse_events") uint32_t parse_bridged(uint32_t num_events)
{
    uint32_t buffer = get_input_buf();
    if (!from_input || !to_output || buffer == 0)
        return 1;

    pico_input *input = at_address(buffer);
    from_input(buffer, 0, sizeof(*input));
    uint64_t len = (uint64_t)input->arena + input->arena_len;
    if (len < sizeof(*input) || len > input_bytes)
        return 1;
    from_input(buffer + (uint32_t)sizeof(*input), sizeof(*input), (uint32_t)len - (uint32_t)sizeof(*input));
    uint32_t refused = pico_parse_events(num_events);
    if (refused != 0)
        return refused;

    const pico_output *output = at_address(get_output_buf());
    give(0, sizeof(*output));
    give(input->results, output->events_done * (uint32_t)sizeof(pico_result));
    give(input->records, output->num_records * (uint32_t)sizeof(pico_record));
    give(input->pairs, output->num_pairs * (uint32_t)sizeof(pico_pair));
    return 0;
}
