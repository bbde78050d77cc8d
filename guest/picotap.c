/* picotap's parser for HTTP/1.x: the exports, and the loop over the events of a call.
 *
 * Bytes of a stream go through steps, each of which reads one unit (a head, a chunk-size line, a stretch of a body) and leaves
 * the connection's block true for exactly the bytes consumed so far. So a call may stop between any two units. */
#include "planted.h"
#include "state.h"

/* Reasons to refuse a call: each is the host's mistake. */
enum refusal { REFUSED_NONE = 0, REFUSED_NO_BUFFERS, REFUSED_VERSION, REFUSED_LAYOUT, REFUSED_EVENT };

#define EXPORT(name) __attribute__((export_name(#name), visibility("default"))) name

/* ---- buffers -------------------------------------------------------------------------------------------------------- */

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
    return STATE_FORMAT;
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
    if (in->num_events != num_events || in->max_records < 8 || in->max_pairs < PICO_MAX_HEADERS ||
        !lies_in(in->events, num_events, sizeof(pico_event), 8, ins) ||
        !lies_in(in->rows, in->num_rows, sizeof(pico_row), 8, ins) || !lies_in(in->marks, in->num_marks, 4, 4, ins) ||
        !lies_in(in->arena, in->arena_len, 1, 1, ins) || !lies_in(in->results, num_events, sizeof(pico_result), 8, outs) ||
        !lies_in(in->records, in->max_records, sizeof(pico_record), 8, outs) ||
        !lies_in(in->pairs, in->max_pairs, sizeof(pico_pair), 4, outs))
        return REFUSED_LAYOUT;
    c->in = in;
    c->events = (const pico_event *)(input + in->events);
    c->rows = (pico_row *)(uintptr_t)(buffers.input + in->rows);
    c->marks = (const uint32_t *)(input + in->marks);
    c->arena = input + in->arena;
    c->out = (pico_output *)output;
    c->results = (pico_result *)(output + in->results);
    c->records = (pico_record *)(output + in->records);
    c->pairs = (pico_pair *)(output + in->pairs);
    return REFUSED_NONE;
}

/* ---- one event ------------------------------------------------------------------------------------------------------ */

static bool event_holds(const call *c, const pico_event *e)
{
    return e->row < c->in->num_rows && e->side < 2 && e->kind >= PICO_EVENT_BYTES && e->kind <= PICO_EVENT_END &&
           e->data <= c->in->arena_len && e->len <= c->in->arena_len - e->data && e->marks <= c->in->num_marks &&
           e->num_marks <= c->in->num_marks - e->marks && (e->len == 0 || e->kind == PICO_EVENT_BYTES) &&
           e->offset >= ((const block *)c->rows[e->row].block)->sides[e->side].expected;
}

/* A stretch of the stream that was not shown: `count` bytes, of which `lost` were never seen by anyone. */
static void pass_unseen(work *w, uint64_t count, uint64_t lost)
{
    side_state *side = w->side;
    while (count != 0) {
        unsigned phase = *phase_of(w);
        bool sized = phase == PHASE_LENGTH || phase == PHASE_CHUNK_DATA;
        uint64_t part = sized && count > side->remaining ? side->remaining : count;
        uint64_t part_lost = lost < part ? lost : part;

        side->expected += part;
        count -= part;
        lost -= part_lost;
        switch (phase) {
        case PHASE_LENGTH:
        case PHASE_CHUNK_DATA:
        case PHASE_CLOSE:
            side->decoded += part;
            side->lost += part_lost;
            if (part_lost != 0)
                *flags_of(w) |= SIDE_GAP;
            if (part_lost != 0 && *flags_of(w) & SIDE_ASSUMED) /* if the body is none, this may have been answers */
                become_unsure(w->block);
            if (!sized)
                break;
            side->remaining -= part;
            if (side->remaining == 0 && phase == PHASE_LENGTH)
                end_message(w, open_number(w), 0, side->expected, 0, 0);
            else if (side->remaining == 0)
                *phase_of(w) = PHASE_CHUNK_CRLF;
            break;
        case PHASE_CHUNK_SIZE:
        case PHASE_CHUNK_CRLF:
        case PHASE_TRAILER:
        case PHASE_BROKEN:
            end_message(w, open_number(w), PICO_F_TRUNCATED | PICO_F_GAP, side->expected, 0, 0);
            add_error(w, PICO_ERROR_LOST_FRAMING, 0, 0);
            enter_resync(w);
            break;
        case PHASE_START:
            if (!w->midstream || (*flags_of(w) & SIDE_SPOKE))
                add_error(w, PICO_ERROR_LOST_HEAD, 0, 0);
            if (is_client(w->block, w->me) && part_lost >= SHORTEST_HEAD)
                w->block->shared |= SHARED_HOLE;
            enter_resync(w);
            break;
        case PHASE_RESYNC:
            side->candidate = PICO_FOREVER;
            side->searched = 0;
            *flags_of(w) &= (uint8_t)~SIDE_LINE_OK;
            break;
        case PHASE_CONNECT:
            *phase_of(w) = PHASE_GUESS;
            break;
        default: /* nothing there is looked at */
            break;
        }
    }
}

/* The side's stream is at its end. */
static void end_side(work *w)
{
    unsigned phase = *phase_of(w);
    if (in_body(phase)) {
        bool whole = phase == PHASE_CLOSE && w->event->reason == PICO_END_FIN;
        end_message(w, open_number(w), whole ? 0 : PICO_F_TRUNCATED, w->event->offset, 0, 0);
    }
    *phase_of(w) = PHASE_ENDED;
}

/* Where the next segment starts behind w->pos. */
static uint32_t next_segment_behind(work *w)
{
    uint32_t pos = w->pos++;
    uint32_t next = next_segment(w);
    w->pos = pos;
    return next;
}

/* Bytes of a body of which nothing but their number matters. */
static enum step step_data(work *w)
{
    side_state *side = w->side;
    unsigned phase = *phase_of(w);
    uint32_t count = w->len - w->pos, start = w->body;

    if (*flags_of(w) & SIDE_ASSUMED)
        count = next_segment_behind(w) - w->pos;
    if (phase != PHASE_CLOSE && count > side->remaining)
        count = (uint32_t)side->remaining;
    w->pos += count;
    side->decoded += count;
    if (phase == PHASE_CLOSE)
        return STEP_ON;
    side->remaining -= count;
    if (side->remaining == 0 && phase == PHASE_LENGTH)
        end_message(w, open_number(w), 0, offset_at(w, w->pos), start, w->pos);
    else if (side->remaining == 0)
        *phase_of(w) = PHASE_CHUNK_CRLF;
    return STEP_ON;
}

/* After CONNECT the client has nothing to say before it is answered, and what it says may belong to HTTP (refused) or not
 * (accepted): let it wait for the answer. What can wait no longer is taken for the tunnel's: an eager client's. So is TLS at
 * once, which is never HTTP. */
static enum step step_connect(work *w)
{
    const uint8_t *at = w->bytes + w->pos;
    uint32_t have = w->len - w->pos;
    bool tls = have >= 2 && at[0] == 0x16 && at[1] == 3;
    if (!tls && !w->final && have < UNIT_LIMIT)
        return STEP_MORE;
    *phase_of(w) = PHASE_GUESS;
    return STEP_ON;
}

static enum step step(work *w)
{
    if (*flags_of(w) & SIDE_ASSUMED) {
        enum step result = look_for_head(w);
        if (result != STEP_ON)
            return result;
    }
    switch (*phase_of(w)) {
    case PHASE_START:
        return step_start(w);
    case PHASE_LENGTH:
    case PHASE_CLOSE:
    case PHASE_CHUNK_DATA:
        return step_data(w);
    case PHASE_CHUNK_SIZE:
        return step_chunk_size(w);
    case PHASE_CHUNK_CRLF:
        return step_chunk_crlf(w);
    case PHASE_TRAILER:
        return step_trailer(w);
    case PHASE_RESYNC:
        return step_resync(w);
    case PHASE_CONNECT:
        return step_connect(w);
    case PHASE_BROKEN: /* neither a gap nor the end: the host's mistake, made good as a gap */
        end_message(w, open_number(w), PICO_F_TRUNCATED | PICO_F_GAP, offset_at(w, w->pos), 0, 0);
        add_error(w, PICO_ERROR_LOST_FRAMING, 0, 0);
        enter_resync(w);
        return STEP_ON;
    default: /* a tunnel, a side given up or ended */
        w->pos = w->len;
        return STEP_ON;
    }
}

static enum step read_bytes(work *w)
{
    while (w->pos < w->len) {
        if (!has_room(w))
            return STEP_FULL;
        enum step result = step(w);
        if (result != STEP_ON)
            return result;
    }
    return STEP_ON;
}

/* Up to where the side holds nothing of interest. */
static uint64_t skip_of(work *w)
{
    const side_state *side = w->side;
    uint64_t to;
    if (*flags_of(w) & SIDE_ASSUMED) /* a body that may be none holds heads */
        return 0;
    switch (*phase_of(w)) {
    case PHASE_LENGTH:
    case PHASE_CHUNK_DATA:
        return __builtin_add_overflow(side->expected, side->remaining, &to) ? PICO_FOREVER : to;
    case PHASE_CLOSE:
    case PHASE_TUNNEL:
    case PHASE_OVER:
        return PICO_FOREVER;
    default:
        return 0;
    }
}

/* ---- the call ------------------------------------------------------------------------------------------------------- */

/* Bits of row.scratch: what happened to the connection earlier in the call. */
enum { SCRATCH_WAITS = 1 /* << side */, SCRATCH_DEFERS = 4 };

static void answer(work *w, pico_row *row, pico_result *result)
{
    const pico_event *e = w->event;
    enum step done = STEP_ON;

    if (!has_room(w)) {
        done = STEP_FULL;
    } else {
        if (e->offset > w->side->expected)
            pass_unseen(w, e->offset - w->side->expected, e->offset - w->side->expected);
        if (e->kind == PICO_EVENT_BYTES)
            done = read_bytes(w);
        else if (e->kind == PICO_EVENT_VOID)
            pass_unseen(w, e->length, e->lost);
        else
            end_side(w);
        if (e->kind != PICO_EVENT_VOID)
            w->side->expected = e->offset + w->pos;
    }
    result->consumed = w->pos;
    *flags_of(w) &= (uint8_t)~SIDE_WAITS;
    if (done == STEP_FULL) {
        result->verdict = PICO_OUTPUT_FULL;
    } else if (done == STEP_ON) {
        result->verdict = PICO_DONE;
        result->skip = skip_of(w);
    } else {
        result->verdict = PICO_NEED_MORE;
        result->wake = done == STEP_MORE_LF;
        result->wake_byte = done == STEP_MORE_LF ? '\n' : 0;
        row->scratch |= (uint32_t)SCRATCH_WAITS << w->me;
        *flags_of(w) |= SIDE_WAITS;
    }
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
        *result = (pico_result){0};
        if (row->scratch & ((uint32_t)SCRATCH_DEFERS | (uint32_t)SCRATCH_WAITS << e->side)) {
            row->scratch |= SCRATCH_DEFERS;
            result->verdict = PICO_DEFERRED;
            c.out->events_done = i + 1;
            continue;
        }
        block *b = (block *)row->block;
        work w = {.call = &c, .event = e, .block = b, .side = &b->sides[e->side], .bytes = c.arena + e->data, .len = e->len,
                  .index = i, .me = e->side, .midstream = (row->flags & PICO_ROW_MIDSTREAM) != 0,
                  .final = (e->flags & PICO_EVENT_FINAL) != 0};
        answer(&w, row, result);
        planted_reply(&c, result);
        c.out->events_done = i + 1;
        if (result->verdict == PICO_OUTPUT_FULL)
            break;
    }
    return 0;
}
