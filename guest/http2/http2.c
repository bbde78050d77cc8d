/* picotap's parser for HTTP/2 (RFC 9113): the answer to an event.
 *
 * Frames are read one after the other. Those that say nothing about messages are passed over, and so is data, of which only the
 * prefixes of gRPC's messages are looked at. */
#include <string.h>

#include "http1/planted.h"
#include "notes.h"
#include "state.h"

static const char preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
#define PREFACE_LEN (sizeof(preface) - 1)

/* ---- frames --------------------------------------------------------------------------------------------------------------- */

/* The open DATA frame is at its end, at `at` of the event. */
static void finish_data(work *w, uint32_t at)
{
    side_state *side = w->side;
    side->phase = PHASE_FRAME;
    if (side->flags & SIDE_ENDS)
        end_half(w, side->stream, at);
    side->flags &= (uint8_t)~SIDE_ENDS;
}

/* The front of a DATA frame. */
static enum step begin_data(work *w, const frame *f)
{
    side_state *side = w->side;
    uint32_t front = 0, padding = 0;

    if (f->flags & FRAME_PADDED && f->length != 0) {
        if (w->len - w->pos == FRAME_HEAD)
            return STEP_MORE;
        front = 1;
        padding = w->bytes[w->pos + FRAME_HEAD];
        if (padding >= f->length)
            padding = f->length - 1; /* an error of the connection; there is no data */
    }
    side->left = f->length - front - padding;
    side->padding = padding;
    side->stream = f->stream;
    side->phase = PHASE_DATA;
    if (f->flags & FRAME_END_STREAM)
        side->flags |= SIDE_ENDS;
    stream *s = find_stream(w, f->stream);
    if (s != NULL) {
        s->halves[w->me].decoded += side->left;
        s->halves[w->me].wire += FRAME_HEAD + f->length;
    }
    w->pos += FRAME_HEAD + front;
    if (side->left + side->padding == 0)
        finish_data(w, w->pos);
    return STEP_ON;
}

/* Bytes of the open DATA frame's message that came before what is left of it, of a message of which the host wants more; else
 * PICO_FOREVER. */
static uint64_t body_wanted(const work *w, const stream *s)
{
    const half *h = s == NULL ? NULL : &s->halves[w->me];
    if (h == NULL || h->flags & (HALF_GAP | HALF_ENDED) || !(h->flags & HALF_HEAD) || s->flags & STREAM_TUNNEL)
        return PICO_FOREVER;
    uint64_t before = h->decoded - w->side->left;
    return before < w->row->bodies ? before : PICO_FOREVER;
}

/* The host wants bytes of bodies: of these, which begin at w->pos, as many as are still wanted. */
static void tell_body(work *w, const stream *s, uint32_t count)
{
    uint64_t before = body_wanted(w, s);
    if (before == PICO_FOREVER)
        return;
    uint64_t wanted = w->row->bodies - before;
    uint32_t end = w->pos + (count < wanted ? count : (uint32_t)wanted);
    add_record(w, PICO_RECORD_BODY, w->pos, end, s->id)->decoded = before;
}

static enum step step_data(work *w)
{
    side_state *side = w->side;
    uint32_t have = w->len - w->pos, count = have < side->left ? have : side->left;
    if (count != 0) {
        stream *s = find_stream(w, side->stream);
        if (w->row->bodies != 0)
            tell_body(w, s, count);
        take_data(w, s, w->bytes + w->pos, count, 0);
    }
    w->pos += count;
    side->left -= count;
    have -= count;
    if (side->left == 0) {
        count = have < side->padding ? have : side->padding;
        w->pos += count;
        side->padding -= count;
        if (side->padding == 0)
            finish_data(w, w->pos);
    }
    return STEP_ON;
}

/* Behind what is not looked at. */
static void finish_pass(work *w)
{
    w->side->phase = w->side->flags & SIDE_BLOCK ? PHASE_BLOCK : PHASE_FRAME;
    w->side->flags &= (uint8_t)~SIDE_BLOCK;
}

static enum step step_pass(work *w)
{
    side_state *side = w->side;
    uint32_t have = w->len - w->pos, count = have < side->left ? have : side->left;
    w->pos += count;
    side->left -= count;
    if (side->left == 0)
        finish_pass(w);
    return STEP_ON;
}

enum step pass_frame(work *w, const frame *f, uint32_t read)
{
    w->pos += FRAME_HEAD + read;
    w->side->left = f->length - read;
    w->side->phase = PHASE_PASS;
    if (w->side->left == 0)
        finish_pass(w);
    return STEP_ON;
}

/* Streams above the last one that a server names were not processed, and will not be (RFC 9113, section 6.8): as if each had been
 * refused. */
static enum step step_goaway(work *w, const frame *f)
{
    const uint32_t refused_stream = 7;
    uint32_t last = number_at(w->bytes + w->pos + FRAME_HEAD) & 0x7fffffff;
    bool of_server = w->block->client != 0 && !is_client(w);
    for (stream *s; of_server && (s = stream_above(w, last)) != NULL;) {
        if (!has_records(w->call, 1))
            return STEP_FULL;
        reset_stream(w, s->id, w->pos, refused_stream);
    }
    return pass_frame(w, f, 8);
}

/* Frames that are no frames: where the next one begins is not known. */
static enum step bad_frame(work *w, const frame *f)
{
    add_record(w, PICO_RECORD_ERROR, w->pos, w->pos, f->stream)->code = PICO_ERROR_BAD_FRAME;
    enter_search(w);
    ++w->pos;
    return STEP_ON;
}

static enum step step_frame(work *w)
{
    uint32_t have = w->len - w->pos;
    if (have < FRAME_HEAD)
        return wait_for_more(w);
    frame f = frame_at(w->bytes + w->pos);
    if (!frame_holds(&f))
        return bad_frame(w, &f);
    uint32_t read = f.type == FRAME_RST_STREAM ? 4 : f.type == FRAME_GOAWAY ? 8 : 0;
    if (have - FRAME_HEAD < read)
        return wait_for_more(w);
    switch (f.type) {
    case FRAME_DATA: {
        enum step done = begin_data(w, &f);
        return done == STEP_MORE ? wait_for_more(w) : done;
    }
    case FRAME_HEADERS:
    case FRAME_PUSH_PROMISE:
        return step_block(w, &f);
    case FRAME_RST_STREAM:
        reset_stream(w, f.stream, w->pos, number_at(w->bytes + w->pos + FRAME_HEAD));
        return pass_frame(w, &f, 4);
    case FRAME_GOAWAY:
        return step_goaway(w, &f);
    default:
        return pass_frame(w, &f, 0);
    }
}

/* Behind a part of a header block that is not read. */
static enum step step_left_block(work *w)
{
    if (w->len - w->pos < FRAME_HEAD)
        return wait_for_more(w);
    frame f = frame_at(w->bytes + w->pos);
    w->side->phase = PHASE_FRAME;
    if (f.type != FRAME_CONTINUATION)
        return STEP_ON;
    w->side->flags |= f.flags & FRAME_END_HEADERS ? 0 : SIDE_BLOCK;
    return pass_frame(w, &f, 0);
}

/* The server answers in HTTP/1. `unread`: nothing of the client was taken. */
static enum step hand_to_http1(work *w, bool unread)
{
    static const pico_protocol_name http1 = {"http1"};
    int index = protocol_index(w->call, &http1);
    if (index < 0 || unread || w->block->client != 2u - w->me) {
        new_record(w->call, w->index, PICO_RECORD_NOT_HTTP, w->pos, w->pos)->code = PICO_NOT_HTTP_OTHER;
        w->side->phase = PHASE_OVER;
        return STEP_ON;
    }
    http1_note note = {.client = w->me ^ 1u};
    note.expected[w->me] = w->event->offset + w->pos;
    note.expected[w->me ^ 1u] = w->block->sides[w->me ^ 1u].expected;
    memset(w->block, 0, sizeof(*w->block));
    memcpy(w->block, &note, sizeof(note));
    w->row->hand_to = (uint8_t)index;
    return STEP_HAND_OVER;
}

/* A side's first bytes: a client's preface, or frames. Of a preface that is not whole, what is there is taken: with nothing of the
 * client taken, what the server answers cannot be handed back to HTTP/1. */
static enum step step_preface(work *w)
{
    static const char status[] = "HTTP/"; /* a server that does not speak HTTP/2 */
    side_state *side = w->side, *other = &w->block->sides[w->me ^ 1u];
    uint32_t have = w->len - w->pos, missing = PREFACE_LEN - side->left, len = have < missing ? have : missing;
    uint32_t front = have < sizeof(status) - 1 ? have : sizeof(status) - 1;
    if (side->left == 0 && memcmp(w->bytes + w->pos, status, front) == 0) {
        bool unread = other->phase == PHASE_PREFACE && other->left == 0;
        if (front < sizeof(status) - 1 || (unread && !w->final && have <= PICO_MAX_WAITING))
            return wait_for_more(w);
        return hand_to_http1(w, unread);
    }
    for (; len != 0 && w->bytes[w->pos] == (uint8_t)preface[side->left]; --len) {
        ++w->pos;
        ++side->left;
    }
    if (len == 0 && side->left < PREFACE_LEN)
        return STEP_ON;
    if (side->left == PREFACE_LEN)
        w->block->client = (uint8_t)(1 + w->me);
    side->left = 0;
    side->phase = PHASE_FRAME;
    return STEP_ON;
}

static enum step step(work *w)
{
    switch (w->side->phase) {
    case PHASE_PREFACE:
        return step_preface(w);
    case PHASE_FRAME:
        return step_frame(w);
    case PHASE_DATA:
        return step_data(w);
    case PHASE_PASS:
        return step_pass(w);
    case PHASE_BLOCK:
        return step_left_block(w);
    case PHASE_SEARCH:
        return step_search(w);
    default:
        w->pos = w->len;
        return STEP_ON;
    }
}

/* ---- what was not shown ---------------------------------------------------------------------------------------------------- */

/* A range of data or its padding: `count` bytes, at most what is left of them. */
static void pass_data(work *w, uint64_t count, uint64_t lost)
{
    side_state *side = w->side;
    uint32_t part = count < side->left ? (uint32_t)count : side->left;
    if (part != 0)
        take_data(w, find_stream(w, side->stream), NULL, part, lost < part ? (uint32_t)lost : part);
    side->left -= part;
    side->padding -= (uint32_t)(count - part);
    if (side->left + side->padding == 0)
        finish_data(w, 0);
}

/* A range of the stream that was not shown, of which `lost` bytes were never seen. */
static void pass_unseen(work *w, uint64_t count, uint64_t lost, unsigned event_flags)
{
    side_state *side = w->side;
    bool inexact = event_flags & PICO_EVENT_INEXACT && lost != 0;
    bool shed = event_flags & PICO_EVENT_SHED;

    uint64_t room = side->phase == PHASE_DATA ? (uint64_t)side->left + side->padding : side->phase == PHASE_PASS ? side->left : 0;
    uint64_t part = count < room ? count : room;
    side->expected += count;
    if (inexact)
        part = 0;
    if (part != 0 && side->phase == PHASE_DATA) {
        pass_data(w, part, shed ? 0 : lost < part ? lost : part);
    } else if (part != 0) {
        side->left -= (uint32_t)part;
        if (side->left == 0)
            finish_pass(w);
    }
    if (part != count && side->phase != PHASE_OVER)
        enter_search(w);
}

/* ---- the answer ------------------------------------------------------------------------------------------------------------ */

const module_properties properties = {.protocol = {"http2"}, .state_format = STATE_FORMAT, .first_window = 2};

/* The block is a note, or zero. */
static void begin(work *w)
{
    block *b = w->block;
    uint8_t client = b->client <= 2 ? b->client : 0;
    bool midstream = w->row->flags & PICO_ROW_MIDSTREAM;
    memset(b, 0, sizeof(*b));
    b->client = client;
    b->begun = 1;
    for (unsigned side = 0; side < 2; ++side) {
        b->sides[side].phase = midstream ? PHASE_SEARCH : PHASE_PREFACE;
        b->sides[side].flags = midstream ? 0 : SIDE_WHOLE | SIDE_BEGUN;
    }
}

static void take_row_flags(work *w)
{
    block *b = w->block;
    if (!is_first_look(w->row))
        return;
    if (w->row->flags & PICO_ROW_HANDED_OVER || !b->begun)
        begin(w);
    if (w->row->flags & PICO_ROW_EXTRA_LOST)
        for (unsigned side = 0; side < 2; ++side)
            b->sides[side].flags &= (uint8_t)~SIDE_WHOLE;
}

static enum step take(work *w)
{
    const pico_event *e = w->event;
    side_state *side = w->side;
    enum step done = STEP_ON;

    if (!has_room(w))
        return STEP_FULL;
    if (!(side->flags & SIDE_BEGUN)) {
        side->expected = e->offset;
        side->flags |= SIDE_BEGUN;
    }
    if (e->offset > side->expected)
        pass_unseen(w, e->offset - side->expected, e->offset - side->expected, e->flags);
    if (e->kind == PICO_EVENT_VOID)
        pass_unseen(w, e->length, e->lost, e->flags);
    while (e->kind == PICO_EVENT_BYTES && w->pos < w->len && done == STEP_ON)
        done = has_room(w) ? step(w) : STEP_FULL;
    if (e->kind == PICO_EVENT_END)
        side->phase = PHASE_OVER;
    if (e->kind != PICO_EVENT_VOID && done != STEP_HAND_OVER) /* then the block is a note */
        side->expected = e->offset + w->pos;
    return done;
}

/* Up to where the side holds nothing of interest. */
static uint64_t skip_of(work *w)
{
    const side_state *side = w->side;
    if (side->phase == PHASE_OVER)
        return PICO_FOREVER;
    if (side->phase == PHASE_PASS)
        return side->expected + side->left;
    if (side->phase != PHASE_DATA)
        return 0;
    const stream *s = find_stream(w, side->stream);
    const half *h = s == NULL ? NULL : &s->halves[w->me];
    if (w->row->bodies != 0 && side->left != 0 && body_wanted(w, s) != PICO_FOREVER)
        return 0;
    if (h == NULL || !(h->flags & HALF_MESSAGES) || side->left == 0)
        return side->expected + side->left + side->padding;
    if (h->prefix != MESSAGE_PREFIX)
        return 0;
    return side->expected + (h->left < side->left ? h->left : side->left + side->padding);
}

bool answer(call *c, uint32_t index, pico_row *row, pico_result *result)
{
    const pico_event *e = &c->events[index];
    block *b = (block *)row->block;
    work w = {.call = c,
              .event = e,
              .row = row,
              .block = b,
              .side = &b->sides[e->side],
              .bytes = c->arena + e->data,
              .len = e->len,
              .index = index,
              .me = e->side,
              .final = (e->flags & PICO_EVENT_FINAL) != 0};
    take_row_flags(&w);
    if (e->offset < w.side->expected && w.side->flags & SIDE_BEGUN)
        return false;
    open_extra(&w);
    enum step done = take(&w);

    result->consumed = w.pos;
    switch (done) {
    case STEP_MORE:
        result->verdict = PICO_NEED_MORE;
        break;
    case STEP_FULL:
        result->verdict = PICO_OUTPUT_FULL;
        break;
    case STEP_GROW:
        result->verdict = PICO_GROW;
        break;
    case STEP_HAND_OVER:
        result->verdict = PICO_HAND_OVER;
        break;
    case STEP_ON:
        result->verdict = PICO_DONE;
        result->skip = e->kind == PICO_EVENT_END ? 0 : skip_of(&w);
        break;
    }
    close_extra(&w, result);
    planted_reply(c, result);
    return true;
}
