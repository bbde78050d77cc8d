/* The exports of a module, and the loop over the events of a call. */
#include "module.h"

/* Reasons to refuse a call: each is the host's mistake. */
enum refusal { REFUSED_NONE = 0, REFUSED_NO_BUFFERS, REFUSED_VERSION, REFUSED_LAYOUT, REFUSED_EVENT };

#define EXPORT(name) __attribute__((export_name(#name), visibility("default"))) name

extern unsigned char __heap_base;
/* Made by the linker, and empty. Unless a module calls it, the linker makes every export run it first, and libc's
 * destructors last. */
extern void __wasm_call_ctors(void);

/* Where the buffers are: the one thing that lasts, and nothing that was parsed can change it. */
static struct {
    uint32_t input, input_bytes, output, output_bytes;
} buffers;

static uint64_t align64(uint64_t address)
{
    return (address + 63) & ~UINT64_C(63);
}

uint32_t EXPORT(pico_abi_version)(void)
{
    return PICO_ABI_VERSION;
}

uint32_t EXPORT(pico_state_format)(void)
{
    return properties.state_format;
}

uint32_t EXPORT(pico_protocol)(void)
{
    return (uint32_t)(uintptr_t)&properties.protocol;
}

uint32_t EXPORT(pico_first_window)(void)
{
    return properties.first_window;
}

uint32_t EXPORT(allocate_input_output_bufs)(uint32_t input_bytes, uint32_t output_bytes)
{
    uint64_t input = align64((uintptr_t)&__heap_base);
    uint64_t output = align64(input + input_bytes);
    uint64_t memory = (uint64_t)__builtin_wasm_memory_size(0) << 16;
    if (input_bytes < sizeof(pico_input) || output_bytes < sizeof(pico_output) || output + output_bytes > memory)
        return 1;
    __wasm_call_ctors();
    buffers.input = (uint32_t)input;
    buffers.input_bytes = input_bytes;
    buffers.output = (uint32_t)output;
    buffers.output_bytes = output_bytes;
    return 0;
}

void EXPORT(free_input_output_bufs)(void)
{
    buffers.input = buffers.input_bytes = buffers.output = buffers.output_bytes = 0;
}

uint32_t EXPORT(get_input_buf)(void)
{
    return buffers.input;
}

uint32_t EXPORT(get_output_buf)(void)
{
    return buffers.output;
}

uint32_t EXPORT(get_output_item_count)(void)
{
    return buffers.output == 0 ? 0 : ((const pico_output *)(uintptr_t)buffers.output)->num_records;
}

uint32_t EXPORT(get_output_item_size)(void)
{
    return sizeof(pico_record);
}

/* Whether `count` things of `size` bytes at `offset` lie in a buffer, each at its alignment. */
static bool lies_in(uint32_t offset, uint64_t count, uint32_t size, uint32_t align, uint32_t bytes)
{
    return offset % align == 0 && offset <= bytes && count * size <= bytes - offset;
}

static enum refusal open_call(call *c, uint32_t num_events)
{
    if (buffers.input == 0)
        return REFUSED_NO_BUFFERS;
    const uint8_t *input = (const uint8_t *)(uintptr_t)buffers.input;
    uint8_t *output = (uint8_t *)(uintptr_t)buffers.output;
    const pico_input *in = (const pico_input *)input;
    uint32_t ins = buffers.input_bytes, outs = buffers.output_bytes;

    if (in->abi_version != PICO_ABI_VERSION)
        return REFUSED_VERSION;
    if (in->num_events != num_events || in->max_records < 8 || in->max_pairs < PICO_MAX_PAIRS || in->max_text < PICO_MIN_TEXT ||
        in->num_protocols > PICO_MAX_PROTOCOLS || !lies_in(in->events, num_events, sizeof(pico_event), 8, ins) ||
        !lies_in(in->rows, in->num_rows, sizeof(pico_row), 8, ins) || !lies_in(in->marks, in->num_marks, 4, 4, ins) ||
        !lies_in(in->protocols, in->num_protocols, sizeof(pico_protocol_name), 1, ins) ||
        !lies_in(in->states, in->states_len, 1, 64, ins) || !lies_in(in->arena, in->arena_len, 1, 1, ins) ||
        !lies_in(in->results, num_events, sizeof(pico_result), 8, outs) ||
        !lies_in(in->records, in->max_records, sizeof(pico_record), 8, outs) ||
        !lies_in(in->pairs, in->max_pairs, sizeof(pico_pair), 4, outs) || !lies_in(in->text, in->max_text, 1, 1, outs))
        return REFUSED_LAYOUT;
    c->in = in;
    c->events = (const pico_event *)(input + in->events);
    c->rows = (pico_row *)(uintptr_t)(buffers.input + in->rows);
    c->marks = (const uint32_t *)(input + in->marks);
    c->protocols = (const pico_protocol_name *)(input + in->protocols);
    c->states = (uint8_t *)(uintptr_t)(buffers.input + in->states);
    c->arena = input + in->arena;
    c->out = (pico_output *)output;
    c->results = (pico_result *)(output + in->results);
    c->records = (pico_record *)(output + in->records);
    c->pairs = (pico_pair *)(output + in->pairs);
    c->text = output + in->text;
    return REFUSED_NONE;
}

static bool event_holds(const call *c, const pico_event *e)
{
    return e->row < c->in->num_rows && e->side < 2 && e->kind >= PICO_EVENT_BYTES && e->kind <= PICO_EVENT_END &&
           e->data <= c->in->arena_len && e->len <= c->in->arena_len - e->data && e->marks <= c->in->num_marks &&
           e->num_marks <= c->in->num_marks - e->marks && (e->len == 0 || e->kind == PICO_EVENT_BYTES);
}

static bool row_holds(const call *c, const pico_row *row)
{
    return row->extra_used <= row->extra_size && (row->extra_size == 0 || lies_in(row->extra, row->extra_size, 1, 64, c->in->states_len));
}

/* What an answer means for later events of its row. */
static uint32_t bits_after(const pico_result *result, const pico_event *e)
{
    if (result->verdict == PICO_NEED_MORE)
        return (uint32_t)SCRATCH_WAITS << e->side;
    return result->verdict >= PICO_GROW ? SCRATCH_DEFERS : 0;
}

uint32_t EXPORT(pico_parse_events)(uint32_t num_events)
{
    call c;
    enum refusal refusal = open_call(&c, num_events);
    if (refusal != REFUSED_NONE)
        return refusal;
    *c.out = (pico_output){.abi_version = PICO_ABI_VERSION};

    for (uint32_t i = 0; i < num_events; ++i) {
        const pico_event *e = &c.events[i];
        pico_result *result = &c.results[i];
        c.out->current_event = i;
        if (!event_holds(&c, e))
            return REFUSED_EVENT;
        pico_row *row = &c.rows[e->row];
        if (!row_holds(&c, row))
            return REFUSED_EVENT;
        *result = (pico_result){0};
        if (row->scratch & deferring(e->side)) {
            row->scratch |= SCRATCH_DEFERS;
            result->verdict = PICO_DEFERRED;
            c.out->events_done = i + 1;
            continue;
        }
        if (!answer(&c, i, row, result))
            return REFUSED_EVENT;
        row->scratch |= bits_after(result, e);
        c.out->events_done = i + 1;
        if (result->verdict == PICO_OUTPUT_FULL)
            break;
    }
    return 0;
}

int protocol_index(const call *c, const pico_protocol_name *name)
{
    for (uint32_t i = 0; i < c->in->num_protocols; ++i)
        if (__builtin_memcmp(&c->protocols[i], name, sizeof(*name)) == 0)
            return (int)i;
    return -1;
}
