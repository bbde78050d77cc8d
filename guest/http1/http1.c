/* picotap's parser for HTTP/1.x: the answer to an event.
 *
 * Bytes of a stream go through steps, each of which reads one unit (a head, a chunk-size line, a range of a body) and leaves
 * the connection's block true for exactly the bytes consumed so far. So a call may stop between any two units. */
#include <string.h>

#include "http2/notes.h"
#include "planted.h"
#include "state.h"

/* The range is at most as long as it says: where a body of known length ends cannot be counted. */
static bool ends_unknown(unsigned phase, unsigned event_flags)
{
    return event_flags & PICO_EVENT_INEXACT && (phase == PHASE_LENGTH || phase == PHASE_CHUNK_DATA);
}

/* A range of the stream that was not shown: `count` bytes, of which `lost` were never seen by anyone. `event_flags`: what
 * the event says of a gap. */
static void pass_unseen(work *w, uint64_t count, uint64_t lost, unsigned event_flags)
{
    side_state *side = w->side;
    while (count != 0) {
        unsigned phase = *phase_of(w);
        bool sized = phase == PHASE_LENGTH || phase == PHASE_CHUNK_DATA;
        uint64_t part = sized && count > side->remaining ? side->remaining : count;
        uint64_t part_lost = lost < part ? lost : part;

        if (ends_unknown(phase, event_flags)) {
            side->decoded += part - part_lost;
            *phase_of(w) = phase = PHASE_BROKEN;
        }
        side->expected += part;
        count -= part;
        lost -= part_lost;
        if (part_lost != 0 && in_body(phase) && *flags_of(w) & SIDE_ASSUMED) /* if it is none, this may have been answers */
            become_unsure(w->block);
        if (sized && event_flags & PICO_EVENT_SHED)
            part_lost = 0;
        switch (phase) {
        case PHASE_LENGTH:
        case PHASE_CHUNK_DATA:
        case PHASE_CLOSE:
            side->decoded += part;
            side->lost += part_lost;
            if (part_lost != 0)
                *flags_of(w) |= SIDE_GAP;
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
            if (is_beside(w->block, w->me)) {
                *phase_of(w) = PHASE_OVER;
                break;
            }
            if (!w->midstream || (*flags_of(w) & SIDE_SPOKE))
                add_error(w, PICO_ERROR_LOST_HEAD, 0, 0);
            enter_resync(w);
            break;
        case PHASE_RESYNC:
            if (is_client(w->block, w->me) && part_lost != 0)
                w->block->shared |= SHARED_HOLE;
            side->candidate = PICO_FOREVER;
            side->searched = 0;
            *flags_of(w) &= (uint8_t)~SIDE_LINE_OK;
            break;
        case PHASE_CONNECT:
            *phase_of(w) = PHASE_GUESS;
            break;
        case PHASE_RELAY:
            give_up(w, PICO_NOT_HTTP_OTHER, 0);
            w->block->phase[w->me ^ 1u] = PHASE_OVER;
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

/* The host wants bytes of bodies: of these, which begin at w->pos, as many as are still wanted. */
static COLD void tell_body(work *w, uint32_t count)
{
    uint64_t before = w->side->decoded, wanted = w->bodies - before;
    pico_record *r = add_record(w, PICO_RECORD_BODY, w->pos, w->pos + (count < wanted ? count : (uint32_t)wanted));
    r->number = open_number(w);
    r->decoded = before;
}

/* Bytes of a body of which nothing but their number matters, unless the host wants them. */
static enum step step_data(work *w)
{
    side_state *side = w->side;
    unsigned phase = *phase_of(w);
    uint32_t count = w->len - w->pos, start = w->body;

    if (*flags_of(w) & SIDE_ASSUMED)
        count = segment_from(w->call, w->event, w->pos + 1, &w->next_mark) - w->pos;
    if (phase != PHASE_CLOSE && count > side->remaining)
        count = (uint32_t)side->remaining;
    if (side->decoded < w->bodies)
        tell_body(w, count);
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
 * (accepted): let it wait for the answer. What can wait no longer is taken for the tunnel's: an eager client's. */
static enum step step_connect(work *w)
{
    if (!w->final && w->len - w->pos < UNIT_LIMIT)
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
        return w->final ? step_last_try(w) : step_resync(w);
    case PHASE_CONNECT:
        return step_connect(w);
    case PHASE_RELAY:
        return step_relay(w);
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
        if (w->inner)
            return STEP_INNER;
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
        if (side->decoded < w->bodies)
            return 0;
        return __builtin_add_overflow(side->expected, side->remaining, &to) ? PICO_FOREVER : to;
    case PHASE_CLOSE:
        return side->decoded < w->bodies ? 0 : PICO_FOREVER;
    case PHASE_TUNNEL:
    case PHASE_OVER:
        return PICO_FOREVER;
    default:
        return 0;
    }
}

/* ---- the answer ----------------------------------------------------------------------------------------------------- */

const module_properties properties = {.protocol = {"http1"}, .state_format = STATE_FORMAT, .first_window = 1};

/* A range behind a request's head that was cut, of which the host knows that it was in the same segments (the snap length cut it
 * off): it is the rest of that request, and not another. */
static COLD void pass_rest_of_cut(work *w)
{
    block *b = w->block;
    if (w->event->offset == b->last_request_end)
        b->last_request_end += w->event->length;
    b->cut = 0;
}

/* The server answers in HTTP/1 what the module of HTTP/2 has read from the client. */
static COLD void take_over(block *b)
{
    http1_note note = *(const http1_note *)b;
    memset(b, 0, sizeof(*b));
    b->phase[note.client & 1] = PHASE_OVER;
    b->sides[0].expected = note.expected[0];
    b->sides[1].expected = note.expected[1];
}

/* Takes the event. */
static enum step take(work *w)
{
    const pico_event *e = w->event;
    uint64_t expected = w->side->expected;
    enum step done = STEP_ON;

    if (!has_room(w))
        return STEP_FULL;
    if (e->offset > expected)
        pass_unseen(w, e->offset - expected, e->offset - expected, e->flags);
    if (e->kind == PICO_EVENT_BYTES) {
        done = read_bytes(w);
    } else if (e->kind == PICO_EVENT_VOID) {
        if (w->block->cut && is_client(w->block, w->me))
            pass_rest_of_cut(w);
        pass_unseen(w, e->length, e->lost, e->lost != 0 ? e->flags & PICO_EVENT_INEXACT : 0);
    } else {
        end_side(w);
    }
    if (e->kind != PICO_EVENT_VOID && done != STEP_HAND_OVER) /* then the block is a note */
        w->side->expected = e->offset + w->pos;
    return done;
}

bool answer(call *c, uint32_t index, pico_row *row, pico_result *result)
{
    const pico_event *e = &c->events[index];
    block *b = (block *)row->block;
    if (row->flags & PICO_ROW_HANDED_OVER && is_first_look(row))
        take_over(b);
    if (e->offset < b->sides[e->side].expected)
        return false;
    work w = {.call = c,
              .event = e,
              .block = b,
              .side = &b->sides[e->side],
              .bytes = c->arena + e->data,
              .len = e->len,
              .index = index,
              .me = e->side,
              .midstream = (row->flags & PICO_ROW_MIDSTREAM) != 0,
              .final = (e->flags & PICO_EVENT_FINAL) != 0,
              .nests = row->depth < PICO_MAX_DEPTH,
              .opener = row->opener,
              .bodies = row->bodies};
    enum step done = take(&w);

    result->consumed = w.pos;
    if (done == STEP_HAND_OVER) {
        result->verdict = PICO_HAND_OVER;
        row->hand_to = w.hand_to;
        return true;
    }
    *flags_of(&w) &= (uint8_t)~SIDE_WAITS;
    if (done == STEP_FULL) {
        result->verdict = PICO_OUTPUT_FULL;
    } else if (done == STEP_INNER) {
        result->verdict = PICO_INNER;
    } else if (done == STEP_ON) {
        result->verdict = PICO_DONE;
        result->skip = skip_of(&w);
    } else {
        result->verdict = PICO_NEED_MORE;
        result->wake = done == STEP_MORE_LF;
        result->wake_byte = done == STEP_MORE_LF ? '\n' : 0;
        *flags_of(&w) |= SIDE_WAITS;
    }
    planted_reply(c, result);
    return true;
}
