/* Resync: the search for a start line after loss, after an error, or in mid-stream.
 *
 * Senders begin a message with a segment of its own, so only segment starts are looked at, and there only what is quickly
 * told apart from the inside of a body. A start line counts if a whole good head follows it. */
#include "head.h"
#include "scan.h"

/* Where nothing has spoken HTTP yet, the search ends early. Where something has, a long body may have to be passed over, and
 * passing costs next to nothing; dear are only start lines that turn out to be none, since each may make up to
 * UNIT_LIMIT bytes be searched again. All four numbers are arbitrary. */
#define MOST_PASSED (UINT64_C(1) << 20)
#define MOST_TRIES 64u
#define MOST_PASSED_KNOWN (UINT64_C(1) << 26)
#define MOST_FAILED 64u

/* The longest method that a search believes in: registered ones have up to 17 letters. */
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

/* The next place from w->pos on where a segment starts; w->len if there is none. */
static uint32_t next_candidate(work *w)
{
    const pico_event *e = w->event;
    const uint32_t *marks = w->call->marks + e->marks;
    if (offset_at(w, w->pos) == w->side->candidate || (w->pos == 0 && (e->flags & PICO_EVENT_SEGMENT)))
        return w->pos;
    while (w->next_mark < e->num_marks && marks[w->next_mark] < w->pos)
        ++w->next_mark;
    return w->next_mark < e->num_marks ? marks[w->next_mark] : w->len;
}

/* Consumes bytes up to `to`. False: the search ends on the way. */
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

/* The candidate at w->pos was none. */
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

enum step step_resync(work *w)
{
    uint32_t at = next_candidate(w);
    head head;

    if (!pass(w, at))
        return no_start(w);
    if (at == w->len)
        return STEP_ON;

    bool last = is_last_look(w, at);
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
