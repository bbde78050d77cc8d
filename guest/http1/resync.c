/* Resync: the search for a start line after loss, after an error, or in mid-stream.
 *
 * Senders begin a message in a new segment, so only segment starts are tried, and of these only what is quickly
 * distinguished from the inside of a body. A start line counts if it begins a complete, good head. */
#include "head.h"
#include "http2/frames.h"
#include "scan.h"

/* On a connection that has not spoken HTTP yet, the search ends early. On one that has, a long body may have to be passed
 * over, which costs next to nothing; expensive are only false start lines, as each may make up to UNIT_LIMIT bytes be
 * searched again. All four numbers are arbitrary. */
#define MOST_PASSED (UINT64_C(1) << 20)
#define MOST_TRIES 64u
#define MOST_PASSED_KNOWN (UINT64_C(1) << 26)
#define MOST_FAILED 64u

/* The longest method that a search accepts: registered ones have up to 17 letters. */
#define LONGEST_METHOD 24u

enum plausible { PLAUSIBLE, IMPLAUSIBLE, UNDECIDED };

/* Capital letters, a space, and a first line without control characters. The lexer decides the rest. */
static enum plausible plausible_request(const uint8_t *at, const uint8_t *end)
{
    const uint8_t *p = at;
    while (p != end && p - at < (ptrdiff_t)LONGEST_METHOD && ((*p >= 'A' && *p <= 'Z') || *p == '-' || *p == '_'))
        ++p;
    if (p == end)
        return UNDECIDED;
    if (p == at || *p != ' ')
        return IMPLAUSIBLE;
    p = scan_text(p, end);
    if (p == end)
        return UNDECIDED;
    return *p == '\r' || *p == '\n' ? PLAUSIBLE : IMPLAUSIBLE;
}

static enum plausible plausible_start(const work *w, const uint8_t *at, const uint8_t *end)
{
    const block *b = w->block;
    size_t have = (size_t)(end - at);
    bool response = !is_client(b, w->me) && starts_like(at, have, "HTTP/1.", 7);
    if (response)
        return have >= 7 ? PLAUSIBLE : UNDECIDED;
    return is_server(b, w->me) ? IMPLAUSIBLE : plausible_request(at, end);
}

static bool is_known(const block *b)
{
    return ((b->side_flags[0] | b->side_flags[1]) & SIDE_SPOKE) != 0;
}

uint32_t next_segment(work *w)
{
    return segment_from(w->call, w->event, w->pos, &w->next_mark);
}

static uint32_t next_candidate(work *w)
{
    return offset_at(w, w->pos) == w->side->candidate ? w->pos : next_segment(w);
}

/* Consumes bytes up to `to`. False: the search reached its limit first. */
static bool pass(work *w, uint32_t to)
{
    side_state *side = w->side;
    uint64_t most = is_known(w->block) ? MOST_PASSED_KNOWN : MOST_PASSED;
    uint64_t left = side->passed < most ? most - side->passed : 0;
    uint32_t count = to - w->pos;
    if (count == 0)
        return true;
    side->candidate = PICO_FOREVER;
    side->searched = 0;
    *flags_of(w) &= (uint8_t)~SIDE_LINE_OK;
    if (count >= left) {
        w->pos += (uint32_t)left;
        return false;
    }
    side->passed += count;
    w->pos = to;
    return true;
}

static enum step no_start(work *w)
{
    add_error(w, PICO_ERROR_NO_START, w->pos, w->pos);
    w->side->remaining = w->side->passed = w->side->overhead = w->side->searched = 0;
    *phase_of(w) = PHASE_OVER;
    w->pos = w->len;
    return STEP_ON;
}

/* The candidate at w->pos is not a start line. */
static enum step next_try(work *w)
{
    side_state *side = w->side;
    ++side->tries;
    if (!pass(w, w->pos + 1) || side->failed >= MOST_FAILED || (!is_known(w->block) && side->tries >= MOST_TRIES))
        return no_start(w);
    return STEP_ON;
}

static enum step wait_for(work *w, enum step how)
{
    w->side->candidate = offset_at(w, w->pos);
    return how;
}

/* In mid-stream, where nothing was recognised yet: frames of HTTP/2? STEP_ON: no. */
COLD static enum step try_frames(work *w, bool last)
{
    switch (frames_at(w->bytes + w->pos, w->len - w->pos)) {
    case FRAMES_FOUND:
        return hand_to_http2(w, 0);
    case FRAMES_CUT:
        return last ? STEP_ON : wait_for(w, STEP_MORE);
    default:
        return STEP_ON;
    }
}

enum step step_resync(work *w)
{
    uint32_t at = next_candidate(w);
    head head;

    if (!pass(w, at))
        return no_start(w);
    if (at == w->len)
        return STEP_ON;

    bool last = is_last_look(w, at);
    if (w->bytes[at] == 0 && w->midstream && !is_known(w->block)) {
        enum step frames = try_frames(w, last);
        if (frames != STEP_ON)
            return frames;
    }
    switch (plausible_start(w, w->bytes + at, w->bytes + w->len)) {
    case IMPLAUSIBLE:
        return next_try(w);
    case UNDECIDED:
        if (last)
            return next_try(w);
        return wait_for(w, w->len - at > LONGEST_METHOD ? STEP_MORE_LF : STEP_MORE);
    case PLAUSIBLE:
        break;
    }
    switch (read_head(w, at, at, &head)) {
    case HEAD_OK:
        return write_head(w, &head, PICO_F_RESYNC) ? STEP_ON : wait_for(w, STEP_FULL);
    case HEAD_PARTIAL:
    case HEAD_LINE_PARTIAL:
        if (!last)
            return wait_for(w, STEP_MORE_LF);
        break;
    case HEAD_LINE_BAD:
        return next_try(w);
    default:
        break;
    }
    ++w->side->failed;
    return next_try(w);
}

/* ---- a body that may be empty ---------------------------------------------------------------------------------------- */

/* A response whose request is not known may answer HEAD; then the body that its head announces does not come. The body ends
 * at a good head, either right where the body would begin, or at a segment start once the server has acknowledged more of
 * the client's stream than with the response: a server answers in order, so another request may have been answered since. */

/* Whether such a head may begin at w->pos. STEP_FULL: the acknowledgement there is not known. */
static enum step may_end_here(work *w, bool *may)
{
    const side_state *side = w->side;
    unsigned phase = *phase_of(w);
    uint64_t acked = w->event->peer_acked;
    /* It is unknown if nothing of the client's was seen before. */
    uint64_t began = w->block->began_acked == PICO_UNKNOWN ? 0 : w->block->began_acked;
    const uint8_t *at = w->bytes + w->pos;

    *may = false;
    if (phase != PHASE_LENGTH && phase != PHASE_CLOSE && phase != PHASE_CHUNK_DATA && phase != PHASE_CHUNK_SIZE)
        return STEP_ON;
    bool begins = side->decoded + side->overhead == 0;
    if (!begins && (phase == PHASE_CHUNK_SIZE || next_segment(w) != w->pos))
        return STEP_ON;
    if (!starts_like(at, w->len - w->pos, "HTTP/1.", 7))
        return STEP_ON;
    *may = begins || (acked != PICO_UNKNOWN && acked > began);
    return *may || acked == PICO_UNKNOWN || exact_ack(w) ? STEP_ON : STEP_FULL;
}

/* There is no head at w->pos: the bytes belong to the body. */
static enum step is_body(work *w)
{
    *flags_of(w) &= (uint8_t)~SIDE_LINE_OK;
    if (++w->block->failed >= MOST_FAILED)
        *flags_of(w) &= (uint8_t)~SIDE_ASSUMED;
    return STEP_ON;
}

enum step look_for_head(work *w)
{
    side_state *side = w->side;
    uint64_t lost = side->lost;
    bool may, begins = side->decoded + side->overhead == 0;
    head head;

    if (side->decoded >= MOST_PASSED_KNOWN) {
        *flags_of(w) &= (uint8_t)~SIDE_ASSUMED;
        return STEP_ON;
    }
    if (may_end_here(w, &may) == STEP_FULL)
        return STEP_FULL;
    if (!may)
        return STEP_ON;
    bool last = is_last_look(w, w->pos);
    if (w->len - w->pos < 7)
        return last ? is_body(w) : STEP_MORE;
    /* `searched` shares its memory with `lost`: how far the head was searched before is in the event. */
    bool waited = w->pos == 0 && *flags_of(w) & SIDE_LINE_OK;
    side->searched = waited ? w->event->offset + w->event->seen : 0;
    enum head_result result = read_head(w, w->pos, w->pos, &head);
    side->lost = lost;
    switch (result) {
    case HEAD_OK:
        end_message(w, 0, begins ? 0 : PICO_F_TRUNCATED, offset_at(w, w->pos), w->body, w->pos);
        return STEP_ON;
    case HEAD_PARTIAL:
    case HEAD_LINE_PARTIAL:
        return last ? is_body(w) : STEP_MORE_LF;
    default:
        return is_body(w);
    }
}
