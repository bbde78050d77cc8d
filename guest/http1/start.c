/* Start: a side before a head. */
#include <string.h>

#include "head.h"
#include "http2/frames.h"
#include "http2/notes.h"
#include "recognise.h"
#include "scan.h"

/* The most empty lines before a start line. */
#define MOST_EMPTY_LINES 8u

/* A side of which nothing is known: only here are other protocols recognised. */
static bool is_fresh(work *w)
{
    return !(*flags_of(w) & SIDE_SPOKE) && !w->midstream;
}

/* The head at w->pos is bad: an error, and the search starts behind its first byte. */
static enum step bad_head(work *w, unsigned code)
{
    add_error(w, code, w->pos, w->pos);
    enter_resync(w);
    ++w->pos;
    return STEP_ON;
}

static enum step not_http(work *w, unsigned code)
{
    block *b = w->block;
    if (b->phase[w->me ^ 1u] == PHASE_OVER && b->side_flags[w->me ^ 1u] & SIDE_SPOKE) /* to a request of HTTP/0.9 */
        code = PICO_NOT_HTTP_HTTP09;
    give_up(w, code, w->pos);
    w->pos = w->len;
    return STEP_ON;
}

COLD enum step hand_to_http2(work *w, unsigned client)
{
    static const pico_protocol_name http2 = {"http2"};
    int index = protocol_index(w->call, &http2);
    if (index < 0)
        return STEP_ON;
    memset(w->block, 0, sizeof(*w->block));
    *(http2_note *)w->block = (http2_note){.client = (uint8_t)client};
    w->hand_to = (uint8_t)index;
    return STEP_HAND_OVER;
}

/* A zero byte at the start of a side: frames of HTTP/2 begin so. On a new connection they are the server's settings, which may come
 * before the client's preface; in mid-stream any. STEP_ON: they are not. */
COLD static enum step start_frames(work *w, const uint8_t *at, uint32_t len, bool fresh)
{
    if (fresh && w->opener == w->me) /* a client begins with the preface */
        return STEP_ON;
    enum frames found = fresh ? settings_at(at, len) : frames_at(at, len);
    if (found == FRAMES_FOUND)
        return hand_to_http2(w, fresh ? 2u - w->me : 0u);
    return found == FRAMES_CUT && !w->final ? STEP_MORE : STEP_ON;
}

/* The other side was given up. STEP_ON: this may be its answer in HTTP. */
COLD static enum step beside(work *w)
{
    uint32_t have = w->len - w->pos;
    if (starts_like(w->bytes + w->pos, have, "HTTP/", 5) && (have >= 5 || !w->final))
        return have >= 5 ? STEP_ON : STEP_MORE;
    *phase_of(w) = PHASE_OVER;
    w->pos = w->len;
    return STEP_ON;
}

/* A complete line that is not a start line. In mid-stream that is expected: no error. */
static enum step bad_line(work *w, const uint8_t *line)
{
    const uint8_t *end = w->bytes + w->len;
    const uint8_t *lf = scan_lf(line, end);
    int code = recognise_line(line, (uint32_t)(lf - line));

    if (is_fresh(w) && code != RECOGNISE_HTTP)
        return not_http(w, (unsigned)code);
    if (w->midstream && !(*flags_of(w) & SIDE_SPOKE)) {
        enter_resync(w);
        w->side->tries = 1;
        w->side->passed = 1;
        ++w->pos;
        return STEP_ON;
    }
    return bad_head(w, PICO_ERROR_BAD_START_LINE);
}

/* A line that the strict reader refuses, having filled `head` as far as it came. In mid-stream it may be anything. */
COLD static enum step odd_line(work *w, const uint8_t *unit, const uint8_t *line, head *head)
{
    if (w->midstream && !(*flags_of(w) & SIDE_SPOKE))
        return bad_line(w, line);
    switch (read_odd_head(w, w->pos, (uint32_t)(line - w->bytes), head)) {
    case HEAD_OK:
        return write_head(w, head, line != unit ? PICO_F_LEADING_EMPTY : 0) ? STEP_ON : STEP_FULL;
    case HEAD_PARTIAL:
        return STEP_MORE_LF;
    default:
        return bad_line(w, line);
    }
}

/* An incomplete start line. */
static enum step partial_line(work *w, const uint8_t *line, bool last)
{
    uint32_t len = w->len - (uint32_t)(line - w->bytes);
    if (!last)
        return len >= RECOGNISE_BYTES ? STEP_MORE_LF : STEP_MORE;
    if (is_fresh(w) && !may_be_http(line, len))
        return not_http(w, PICO_NOT_HTTP_OTHER);
    return bad_head(w, w->final ? PICO_ERROR_LOST_HEAD : PICO_ERROR_HEAD_TOO_LONG);
}

/* Where the start line begins, behind empty lines: at most `end`, where more may follow. NULL: there are too many. */
static const uint8_t *skip_empty_lines(const uint8_t *at, const uint8_t *end)
{
    if (at != end && *at > '\r') /* as nearly always: no loop, which costs a look at the deadline */
        return at;
    for (unsigned lines = 0; at != end; ++lines) {
        if (*at == '\n')
            ++at;
        else if (*at == '\r' && end - at == 1)
            return end;
        else if (*at == '\r' && at[1] == '\n')
            at += 2;
        else
            return at;
        if (lines == MOST_EMPTY_LINES)
            return NULL;
    }
    return at;
}

enum step step_start(work *w)
{
    const uint8_t *unit = w->bytes + w->pos, *end = w->bytes + w->len;
    const uint8_t *line = skip_empty_lines(unit, end);
    bool last = is_last_look(w, w->pos);
    bool fresh = is_fresh(w);
    head head;

    if (fresh && is_beside(w->block, w->me)) {
        enum step done = beside(w);
        if (done != STEP_ON || *phase_of(w) == PHASE_OVER)
            return done;
    }
    if ((*unit <= '\r' || *unit == 'P' || *unit == '*') && fresh) { /* relays begin so, and few requests */
        enum step relay = start_relay(w);
        if (relay != STEP_ON || *phase_of(w) != PHASE_START)
            return relay;
    }
    if (*unit == 0 && (fresh || (w->midstream && !(*flags_of(w) & SIDE_SPOKE)))) {
        enum step frames = start_frames(w, unit, (uint32_t)(end - unit), fresh);
        if (frames != STEP_ON)
            return frames;
    }
    if (line == NULL)
        return bad_line(w, unit);
    if (line == end) {
        if (!w->final)
            return STEP_MORE_LF;
        w->pos = w->len;
        return STEP_ON;
    }
    if (fresh) {
        int code = recognise(line, (uint32_t)(end - line));
        bool alone = !(w->block->side_flags[w->me ^ 1u] & SIDE_SPOKE); /* if not, the other side has answered in HTTP/1 */
        if (code == PICO_NOT_HTTP_HTTP2 && alone && hand_to_http2(w, 1u + w->me) == STEP_HAND_OVER)
            return STEP_HAND_OVER;
        if (code > 0)
            return not_http(w, (unsigned)code);
        if (code == RECOGNISE_MORE)
            return partial_line(w, line, last);
    }
    switch (read_head(w, w->pos, (uint32_t)(line - w->bytes), &head)) {
    case HEAD_OK:
        return write_head(w, &head, line != unit ? PICO_F_LEADING_EMPTY : 0) ? STEP_ON : STEP_FULL;
    case HEAD_PARTIAL:
        return STEP_MORE_LF;
    case HEAD_LINE_PARTIAL:
        return partial_line(w, line, last);
    case HEAD_LINE_BAD:
        return odd_line(w, unit, line, &head);
    }
    __builtin_unreachable();
}

/* In a search, the start line that waited is all that there will be of its head: it was cut. */
COLD enum step step_last_try(work *w)
{
    head head;
    if (offset_at(w, w->pos) == w->side->candidate && read_head(w, w->pos, w->pos, &head) == HEAD_OK && head.flags & PICO_F_HEAD_CUT)
        return write_head(w, &head, PICO_F_RESYNC) ? STEP_ON : STEP_FULL;
    return step_resync(w);
}
