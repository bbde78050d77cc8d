/* The host's side of calls: lays them out in the guest's memory, and commits what a checked reply says. Names of the parts are
 * those of src/sandbox/driver. */
#include "host.h"

#include <sanitizer/asan_interface.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "module.h"

/* Between all parts of a call lie so many bytes at least that nobody may touch. */
#define GAP 64u
#define PAGE 65536u
#define MEMORY_BYTES (64 * PAGE)
#define INPUT_BYTES (40 * PAGE)
#define OUTPUT_BYTES (16 * PAGE)
/* As src/sandbox/call.rs and driver/join.rs have it. */
#define ARENA_BYTES (512u << 10)
#define MOST_JOINED (128u << 10)
#define MOST_STALLS 64u

/* The guest's memory. In WebAssembly the linker says where it begins. */
unsigned char __heap_base[MEMORY_BYTES] __attribute__((aligned(PAGE)));
unsigned long native_memory_size(void);
void __wasm_call_ctors(void);
uint32_t pico_abi_version(void), pico_state_format(void), pico_protocol(void), pico_first_window(void);
uint32_t allocate_input_output_bufs(uint32_t input_bytes, uint32_t output_bytes), get_input_buf(void), get_output_buf(void);
uint32_t get_output_item_count(void), get_output_item_size(void), pico_parse_events(uint32_t num_events);

static const pico_protocol_name known[] = {{"http1"}, {"http2"}, {"resp"}};
#define NUM_KNOWN ((uint32_t)(sizeof(known) / sizeof(*known)))

unsigned long native_memory_size(void)
{
    return ((uintptr_t)__heap_base + sizeof(__heap_base)) / PAGE;
}

void __wasm_call_ctors(void)
{
}

void fail(const char *rule, uint64_t item, uint64_t value)
{
    fprintf(stderr, "the host would refuse this reply: item %llu, value %llu: not %s\n", (unsigned long long)item,
            (unsigned long long)value, rule);
    abort();
}

uint32_t host_protocol(void)
{
    uint32_t index = 0;
    while (index < NUM_KNOWN && memcmp(&known[index], (const void *)(uintptr_t)pico_protocol(), sizeof(*known)) != 0)
        ++index;
    return index;
}

void host_start(void)
{
    uint32_t window = pico_first_window();
    if (pico_abi_version() != PICO_ABI_VERSION || window == 0 || window > 64 || host_protocol() == NUM_KNOWN ||
        get_output_item_size() != sizeof(pico_record) || allocate_input_output_bufs(INPUT_BYTES, OUTPUT_BYTES) != 0)
        fail("a module that the host starts", 0, window);
    __asan_poison_memory_region(__heap_base, sizeof(__heap_base));
}

void host_open(connection *c)
{
    memset(c->block, 0, sizeof(c->block));
    for (unsigned side = 0; side < 2; ++side) {
        half *h = &c->halves[side];
        h->waiting.any = false;
        h->skipped = (skipped){0};
        h->next = h->skip = h->base = h->stalls = 0;
    }
    c->first = NULL;
    c->end = &c->first;
    c->depth = c->handed_by = c->hand_overs = 0;
    c->gone = c->unseen = c->unconsumed = c->extra_lost = c->refused = false;
    c->growths = c->extra_size = c->extra_used = 0;
    c->window = pico_first_window();
}

/* ---- what needs no call ----------------------------------------------------------------------------------------------- */

static void advance(connection *c)
{
    c->first = c->first->next;
    if (c->first == NULL)
        c->end = &c->first;
}

static uint64_t least(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* The offset of a piece in the stream that is parsed: inside a tunnel its own. */
static uint64_t inside(const half *h, uint64_t offset)
{
    return offset - h->base;
}

static uint64_t acked_inside(const connection *c, const piece *p)
{
    uint64_t base = c->halves[p->side ^ 1].base;
    return p->acked == PICO_UNKNOWN ? PICO_UNKNOWN : p->acked < base ? 0 : p->acked - base;
}

static void extend_skipped(connection *c, const piece *p, uint64_t length, uint64_t lost)
{
    half *h = &c->halves[p->side];
    skipped *s = &h->skipped;
    if (!s->any)
        *s = (skipped){.any = true, .offset = h->next, .acked = acked_inside(c, p)};
    s->length += length;
    s->lost += lost;
    s->inexact |= p->flags & PICO_EVENT_INEXACT && lost != 0;
    if (length > lost)
        s->acked = acked_inside(c, p);
    h->next += length;
    s->ready = h->next >= h->skip;
}

static void skip_bytes(connection *c)
{
    piece *p = c->first;
    half *h = &c->halves[p->side];
    uint64_t offset = inside(h, p->offset);
    uint64_t gap = least(offset > h->next ? offset : h->next, h->skip) - h->next;
    uint32_t taken = (uint32_t)least(p->len, h->skip > offset ? h->skip - offset : 0);
    extend_skipped(c, p, gap + taken, p->flags & PICO_EVENT_SHED ? 0 : gap);
    p->bytes += taken;
    p->len -= taken;
    p->offset += taken;
    if (taken != 0)
        p->flags = 0;
    if (p->len == 0)
        advance(c);
}

static void skip_range(connection *c)
{
    piece *p = c->first;
    half *h = &c->halves[p->side];
    uint64_t offset = inside(h, p->offset), end = offset + p->length;
    uint64_t gap = offset > h->next ? offset - h->next : 0, lost = p->lost;
    if (end > h->skip) { /* nobody has asked for it: all of it was cut off */
        h->skip = end;
        lost = p->length;
    }
    uint64_t asked = least(h->skip > h->next ? h->skip - h->next : 0, gap + p->length);
    if (asked != 0)
        extend_skipped(c, p, asked, least(gap + lost, asked));
    advance(c);
}

static void skip_rest(connection *c)
{
    piece *p = c->first;
    half *h = &c->halves[p->side];
    uint64_t upto = least(inside(h, p->offset), h->skip), lost = upto > h->next ? upto - h->next : 0;
    h->skip = h->next + lost;
    if (lost != 0 || h->skipped.any)
        extend_skipped(c, p, lost, lost);
}

/* ---- marks and bytes --------------------------------------------------------------------------------------------------- */

/* Positions at which segments start in an event, but for its first byte. */
static uint32_t marks_of(const encoded *e, uint32_t *to)
{
    uint32_t num = 0, at = 0;
    const piece *p = e->pieces;
    if (e->waits != NULL) {
        memcpy(to, e->waits->marks, e->waits->num_marks * sizeof(*to));
        num = e->waits->num_marks;
        at = e->waits->len;
    }
    for (unsigned i = 0; i < e->num_pieces; ++i, p = p->next) {
        if (at != 0 && p->flags & PICO_EVENT_SEGMENT && num < MOST_MARKS)
            to[num++] = at;
        at += p->len;
    }
    return num;
}

static void copy_bytes(const encoded *e, uint8_t *to)
{
    const piece *p = e->pieces;
    if (e->waits != NULL) {
        memcpy(to, e->waits->bytes, e->waits->len);
        to += e->waits->len;
    }
    for (unsigned i = 0; i < e->num_pieces; ++i, p = p->next) {
        memcpy(to, p->bytes, p->len);
        to += p->len;
    }
}

/* ---- encoding ---------------------------------------------------------------------------------------------------------- */

/* One connection while its next events are encoded. */
typedef struct encoder {
    host_call *call;
    connection *c;
    const manner *how;
    piece *cursor;
    uint32_t *arena;
    unsigned shown[2];
    uint64_t shown_end[2];
    bool waiting_encoded[2], skipped_encoded[2];
    bool first;
} encoder;

static bool push(encoder *n, encoded e)
{
    uint32_t bytes = (e.event.len + GAP + 15) & ~15u;
    if (n->call->num_events == MOST_EVENTS || *n->arena + bytes > ARENA_BYTES)
        return false;
    if (n->first)
        n->call->of_row[n->call->num_rows++] = n->c;
    e.of = n->c;
    e.row = e.event.row = n->call->num_rows - 1;
    e.first_of_row = n->first;
    n->first = false;
    n->cursor = e.after;
    n->call->events[n->call->num_events++] = e;
    *n->arena += bytes;
    ++n->shown[e.event.side];
    n->shown_end[e.event.side] = e.event.offset + e.event.len + e.event.length;
    return true;
}

static bool push_waiting(encoder *n, uint8_t side, bool last, piece *pieces, unsigned num_pieces, uint32_t len, piece *after)
{
    waiting *w = &n->c->halves[side].waiting;
    uint8_t flags = (uint8_t)((w->segment ? PICO_EVENT_SEGMENT : 0) | (last ? PICO_EVENT_FINAL : 0));
    pico_event event = {.side = side,
                        .kind = PICO_EVENT_BYTES,
                        .flags = flags,
                        .offset = w->offset,
                        .peer_acked = w->acked,
                        .len = w->len + len,
                        .seen = w->seen};
    bool pushed = push(n, (encoded){.event = event, .waits = w, .pieces = pieces, .num_pieces = num_pieces, .after = after});
    n->waiting_encoded[side] |= pushed;
    return pushed;
}

/* Appends the pieces to what waits: they cannot wake it. */
static void append(connection *c, uint8_t side, unsigned num_pieces)
{
    half *h = &c->halves[side];
    waiting *w = &h->waiting;
    for (; num_pieces != 0; --num_pieces, advance(c)) {
        piece *p = c->first;
        if (p->flags & PICO_EVENT_SEGMENT) {
            w->num_marks -= w->num_marks == MOST_MARKS;
            w->marks[w->num_marks++] = w->len;
        }
        memcpy(w->bytes + w->len, p->bytes, p->len);
        w->len += p->len;
    }
    h->next = w->offset + w->len;
}

/* What waits, with the pieces that follow it without a gap. Whether to go on. */
static bool join(encoder *n, uint8_t side)
{
    half *h = &n->c->halves[side];
    waiting *w = &h->waiting;
    uint64_t end = w->offset + w->len;
    uint32_t len = 0;
    unsigned num = 0;
    bool wake = !w->wakes || !n->how->wakes;
    piece *p = n->cursor;
    for (; p != NULL && p->kind == PICO_EVENT_BYTES && p->side == side && inside(h, p->offset) == end; p = p->next, ++num) {
        if (num != 0 && len + p->len > MOST_JOINED)
            break;
        wake = wake || memchr(p->bytes, w->wake, p->len) != NULL;
        len += p->len;
        end += p->len;
    }
    if (wake || w->len + len > PICO_MAX_WAITING)
        return push_waiting(n, side, false, n->cursor, num, len, p);
    if (!n->first)
        return false;
    append(n->c, side, num);
    n->cursor = n->c->first;
    return true;
}

static uint8_t inexact(bool is)
{
    return is ? PICO_EVENT_INEXACT : 0;
}

static bool push_skipped(encoder *n, uint8_t side)
{
    const skipped *s = &n->c->halves[side].skipped;
    pico_event event = {.side = side,
                        .kind = PICO_EVENT_VOID,
                        .flags = inexact(s->inexact),
                        .offset = s->offset,
                        .peer_acked = s->acked,
                        .length = s->length,
                        .lost = s->lost};
    n->skipped_encoded[side] = push(n, (encoded){.event = event, .after = n->cursor});
    return n->skipped_encoded[side];
}

static bool push_piece(encoder *n, piece *p)
{
    pico_event event = {.side = p->side,
                        .kind = p->kind,
                        .flags = p->flags,
                        .reason = p->reason,
                        .offset = inside(&n->c->halves[p->side], p->offset),
                        .peer_acked = acked_inside(n->c, p),
                        .len = p->len};
    return push(n, (encoded){.event = event, .pieces = p, .num_pieces = p->kind == PICO_EVENT_BYTES, .after = p->next});
}

/* Encodes or absorbs what comes next. Whether there may be more. */
static bool encode_next(encoder *n)
{
    connection *c = n->c;
    for (uint8_t side = 0; side < 2; ++side) {
        half *h = &c->halves[side];
        if (h->waiting.any && h->waiting.again && !n->waiting_encoded[side])
            return push_waiting(n, side, h->waiting.last, NULL, 0, 0, n->cursor);
        if (h->skipped.any && h->skipped.ready && !n->skipped_encoded[side])
            return push_skipped(n, side);
    }
    piece *p = n->cursor;
    if (p == NULL)
        return false;
    half *h = &c->halves[p->side];
    uint64_t offset = inside(h, p->offset);
    if (n->how->strict && n->shown[p->side] != 0 &&
        (offset != n->shown_end[p->side] || (n->shown[p->side] >= c->window && p->kind == PICO_EVENT_BYTES)))
        return false;
    bool skips = h->skip > h->next && n->shown[p->side] == 0;
    bool waits = h->waiting.any && !n->waiting_encoded[p->side];
    if (waits && p->kind == PICO_EVENT_BYTES && !skips && offset == h->waiting.offset + h->waiting.len)
        return join(n, p->side);
    if (waits && !(skips && p->kind == PICO_EVENT_BYTES))
        return push_waiting(n, p->side, true, NULL, 0, 0, n->cursor);
    if (p->kind != PICO_EVENT_VOID && !skips)
        return push_piece(n, p);
    if (!n->first) /* what needs no call waits for the next one */
        return false;
    if (p->kind == PICO_EVENT_BYTES)
        skip_bytes(c);
    else if (p->kind == PICO_EVENT_VOID)
        skip_range(c);
    else
        skip_rest(c);
    n->cursor = c->first;
    return true;
}

/* ---- laying out -------------------------------------------------------------------------------------------------------- */

/* Takes bytes of a buffer into use. Gives their address. */
static void *place(uint32_t buffer, uint32_t *at, uint32_t bytes, uint32_t align)
{
    uint32_t start = (*at + GAP + align - 1) & ~(align - 1);
    uint8_t *address = (uint8_t *)(uintptr_t)(buffer + start);
    __asan_unpoison_memory_region(address, bytes);
    *at = start + bytes;
    return address;
}

static uint32_t in_buffer(const void *address, uint32_t buffer)
{
    return (uint32_t)(uintptr_t)address - buffer;
}

static void put_row(const connection *c, pico_row *row, uint32_t extra, uint32_t bodies)
{
    bool may_grow = !c->refused && c->growths < PICO_MAX_GROWTHS && c->extra_size < PICO_MAX_EXTRA;
    *row = (pico_row){.opener = c->opener,
                      .depth = c->depth,
                      .extra = extra,
                      .extra_size = c->extra_size,
                      .extra_used = c->extra_used,
                      .handed_by = c->handed_by,
                      .bodies = bodies};
    row->flags = (uint8_t)((c->midstream ? PICO_ROW_MIDSTREAM : 0) | (c->extra_lost ? PICO_ROW_EXTRA_LOST : 0) |
                           (may_grow ? 0 : PICO_ROW_NO_GROWTH) | (c->unseen ? PICO_ROW_HANDED_OVER : 0));
    memcpy(row->block, c->block, sizeof(row->block));
}

/* Gives the bytes that it takes. */
static uint32_t lay_out_input(host_call *call, const manner *how, pico_input *in, uint32_t buffer)
{
    static uint32_t marks[MOST_EVENTS * MOST_MARKS];
    uint32_t at = sizeof(*in), num_marks = 0, states = 0;
    pico_row *rows = place(buffer, &at, call->num_rows * (uint32_t)sizeof(pico_row), 8);
    uint8_t *protocols = place(buffer, &at, call->num_protocols * (uint32_t)sizeof(*known), 8);
    memcpy(protocols, how->alone ? &known[host_protocol()] : known, call->num_protocols * sizeof(*known));
    for (unsigned i = 0; i < call->num_rows; ++i) {
        const connection *c = call->of_row[i];
        uint8_t *extra = place(buffer, &at, c->extra_size, 64);
        states = i == 0 ? in_buffer(extra, buffer) : states;
        put_row(c, &rows[i], in_buffer(extra, buffer) - states, how->bodies);
        memcpy(extra, c->extra, c->extra_used);
        memset(extra + c->extra_used, 0, c->extra_size - c->extra_used);
    }
    in->states = states;
    in->states_len = at - states;
    in->arena = (at + 127) & ~63u;
    for (unsigned i = 0; i < call->num_events; ++i) {
        encoded *e = &call->events[i];
        uint8_t *bytes = place(buffer, &at, e->event.len, 8);
        e->event.data = in_buffer(bytes, buffer) - in->arena;
        copy_bytes(e, bytes);
        e->event.marks = num_marks;
        if (e->event.kind == PICO_EVENT_BYTES)
            e->event.num_marks = marks_of(e, marks + num_marks);
        num_marks += e->event.num_marks;
    }
    in->arena_len = at - in->arena;
    uint32_t *marks_at = place(buffer, &at, num_marks * 4, 8);
    memcpy(marks_at, marks, num_marks * sizeof(*marks));
    pico_event *events = place(buffer, &at, call->num_events * (uint32_t)sizeof(pico_event), 8);
    for (unsigned i = 0; i < call->num_events; ++i)
        events[i] = call->events[i].event;
    in->num_marks = num_marks;
    in->events = in_buffer(events, buffer);
    in->rows = in_buffer(rows, buffer);
    in->marks = in_buffer(marks_at, buffer);
    in->protocols = in_buffer(protocols, buffer);
    call->rows = rows;
    call->marks = marks_at;
    call->arena = (const uint8_t *)(uintptr_t)(buffer + in->arena);
    return at;
}

static void lay_out(host_call *call, const manner *how)
{
    static uint32_t input_used, output_used;
    uint32_t input = get_input_buf(), output = get_output_buf(), at = sizeof(pico_output);
    pico_input *in = (pico_input *)(uintptr_t)input;
    pico_output *out = (pico_output *)(uintptr_t)output;
    /* Whatever an earlier call used is out of bounds again. */
    __asan_poison_memory_region(in, input_used);
    __asan_poison_memory_region(out, output_used);
    __asan_unpoison_memory_region(in, sizeof(*in));
    __asan_unpoison_memory_region(out, sizeof(*out));
    call->num_protocols = how->alone ? 1 : NUM_KNOWN;
    call->own_protocol = how->alone ? 0 : host_protocol();
    *in = (pico_input){.abi_version = PICO_ABI_VERSION,
                       .num_events = call->num_events,
                       .num_rows = call->num_rows,
                       .max_records = how->max_records,
                       .max_pairs = PICO_MAX_PAIRS,
                       .max_text = PICO_MIN_TEXT,
                       .num_protocols = call->num_protocols};
    input_used = lay_out_input(call, how, in, input);
    *out = (pico_output){0};
    call->in = in;
    call->out = out;
    call->results = place(output, &at, call->num_events * (uint32_t)sizeof(pico_result), 8);
    call->records = place(output, &at, in->max_records * (uint32_t)sizeof(pico_record), 8);
    call->pairs = place(output, &at, in->max_pairs * (uint32_t)sizeof(pico_pair), 8);
    const uint8_t *text = place(output, &at, in->max_text, 8);
    output_used = at;
    in->results = in_buffer(call->results, output);
    in->records = in_buffer(call->records, output);
    in->pairs = in_buffer(call->pairs, output);
    in->text = in_buffer(text, output);
}

/* ---- committing -------------------------------------------------------------------------------------------------------- */

/* Keeps the unconsumed rest of an event. */
static void hold(const host_call *call, const encoded *e, const pico_result *r, waiting *w)
{
    const uint32_t *marks = call->marks + e->event.marks;
    uint32_t rest = e->event.len - r->consumed, num = 0;
    bool needs = r->verdict == PICO_NEED_MORE;
    w->any = true;
    w->segment = r->consumed == 0 && e->event.flags & PICO_EVENT_SEGMENT;
    for (uint32_t i = 0; i < e->event.num_marks; ++i) {
        w->segment |= marks[i] == r->consumed;
        if (marks[i] > r->consumed)
            w->marks[num++] = marks[i] - r->consumed;
    }
    w->num_marks = num;
    memmove(w->bytes, call->arena + e->event.data + r->consumed, rest);
    w->len = rest;
    w->offset = e->event.offset + r->consumed;
    w->acked = e->event.peer_acked;
    w->seen = needs ? rest : 0;
    w->wakes = needs && r->wake;
    w->wake = r->wake_byte;
    w->again = !needs;
    w->last = !needs && e->event.flags & PICO_EVENT_FINAL;
}

/* What is kept of a side was for another module. */
static void present_anew(half *h)
{
    h->skipped.any = false;
    h->skip = 0;
    h->stalls = 0;
    h->waiting.seen = 0;
    h->waiting.wakes = false;
    h->waiting.again = true;
}

/* What follows is a stream of its own, which starts with the first protocol. */
static void enter_tunnel(connection *c)
{
    c->gone = host_protocol() != 0;
    memset(c->block, 0, sizeof(c->block));
    c->extra_size = c->extra_used = c->growths = 0;
    c->extra_lost = c->refused = c->unseen = c->unconsumed = c->midstream = false;
    c->hand_overs = c->handed_by = 0;
    c->window = pico_first_window();
    ++c->depth;
    for (unsigned side = 0; side < 2; ++side) {
        half *h = &c->halves[side];
        uint64_t start = h->waiting.any ? h->waiting.offset : h->next;
        present_anew(h);
        h->base += start;
        h->next -= start;
        h->waiting.offset = 0;
        h->waiting.acked = PICO_UNKNOWN;
    }
}

static void grow(connection *c, uint32_t size, const manner *how)
{
    ++c->growths;
    c->refused = size > how->most_extra;
    if (!c->refused)
        c->extra_size = size;
}

static void take_state(const host_call *call, const encoded *e)
{
    connection *c = e->of;
    const pico_row *row = &call->rows[e->row];
    memcpy(c->block, row->block, sizeof(c->block));
    c->unseen = c->extra_lost = false;
    c->extra_used = row->extra_used;
    memcpy(c->extra, (const uint8_t *)call->in + call->in->states + row->extra, c->extra_used);
}

static void commit(const host_call *call, const encoded *e, const pico_result *r, const manner *how)
{
    connection *c = e->of;
    half *h = &c->halves[e->event.side];
    uint64_t end = e->event.offset + e->event.len + e->event.length;

    if (r->verdict == PICO_DEFERRED) {
        c->window = pico_first_window();
        return;
    }
    c->window += 2;
    if (e->first_of_row)
        take_state(call, e);
    c->unconsumed &= r->consumed == 0;
    if (r->verdict == PICO_OUTPUT_FULL && e->event.kind != PICO_EVENT_BYTES)
        return;
    while (c->first != e->after)
        advance(c);
    if (r->verdict != PICO_OUTPUT_FULL || r->consumed != 0)
        h->stalls = 0;
    h->next = h->next > end ? h->next : end;
    if (e->event.kind == PICO_EVENT_VOID)
        h->skipped.any = false;
    if (e->waits != NULL)
        h->waiting.any = false;
    if (r->consumed < e->event.len)
        hold(call, e, r, &h->waiting);
    if (!how->strict) /* an answer about what is behind a gap counts more than the one before */
        h->skip = 0;
    if (how->skips && r->skip > h->skip)
        h->skip = r->skip;
    if (r->verdict == PICO_GROW)
        grow(c, call->rows[e->row].grow, how);
    c->gone |= r->verdict == PICO_HAND_OVER;
    if (r->verdict == PICO_INNER)
        enter_tunnel(c);
}

/* An event is shown only so many times without progress. */
static void count_stall(const host_call *call)
{
    const encoded *e = &call->events[0];
    half *h = &e->of->halves[e->event.side];
    const pico_result *r = &call->results[0];
    if (call->out->events_done == 1 && r->verdict == PICO_OUTPUT_FULL && r->consumed == 0 && ++h->stalls > MOST_STALLS)
        fail("progress", 0, h->stalls);
}

void host_run(connection *connections, unsigned count, const manner *how)
{
    for (;;) {
        static host_call call;
        uint32_t arena = 0;
        call.num_events = call.num_rows = 0;
        for (unsigned i = 0; i < count; ++i) {
            connection *c = &connections[i];
            encoder n = {.call = &call, .c = c, .how = how, .cursor = c->first, .arena = &arena, .first = true};
            while (!c->gone && encode_next(&n))
                continue;
        }
        if (call.num_events == 0)
            return;
        lay_out(&call, how);
        uint32_t refused = pico_parse_events(call.num_events);
        if (refused != 0)
            fail("accepted by the guest", call.out->current_event, refused);
        check_reply(&call);
        if (get_output_item_count() != call.out->num_records)
            fail("the number of records", 0, get_output_item_count());
        count_stall(&call);
        for (uint32_t i = 0; i < call.out->events_done; ++i)
            commit(&call, &call.events[i], &call.results[i], how);
    }
}
