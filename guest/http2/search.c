/* The search for the start of a frame, after loss and in mid-stream. Senders begin a write with a frame, so only the starts of
 * segments are tried. A frame counts if another one follows it, or if it ends where the segment does. */
#include "state.h"

/* A search ends after so many bytes. Arbitrary: it costs next to nothing. */
#define MOST_SEARCHED (UINT64_C(1) << 26)

void enter_search(work *w)
{
    side_state *side = w->side;
    hpack_reset(&w->extra->tables[w->me], HPACK_SIZE_UNKNOWN);
    lose_frames(w);
    side->flags &= (uint8_t)~(SIDE_WHOLE | SIDE_ENDS | SIDE_BLOCK);
    side->left = side->padding = 0;
    side->searched = 0;
    side->phase = PHASE_SEARCH;
}

enum step wait_for_more(work *w)
{
    if (!w->final)
        return STEP_MORE;
    w->pos = w->len; /* what follows is a gap, or the end */
    enter_search(w);
    return STEP_ON;
}

/* Passes over bytes up to `to`. */
static enum step pass(work *w, uint32_t to)
{
    w->side->searched += to - w->pos;
    w->pos = to;
    if (w->side->searched < MOST_SEARCHED)
        return STEP_ON;
    new_record(w->call, w->index, PICO_RECORD_ERROR, w->pos, w->pos)->code = PICO_ERROR_NO_START;
    w->side->phase = PHASE_OVER;
    return STEP_ON;
}

enum step step_search(work *w)
{
    uint32_t at = segment_from(w->call, w->event, w->pos, &w->next_mark), len = w->len - at;
    if (at != w->pos)
        return pass(w, at);
    switch (frames_at(w->bytes + at, len)) {
    case FRAMES_FOUND:
        w->side->phase = PHASE_FRAME;
        w->side->flags |= SIDE_FOUND;
        return STEP_ON;
    case FRAMES_CUT:
        if (!w->final)
            return STEP_MORE;
        break;
    case FRAMES_NONE:
        break;
    }
    return pass(w, w->pos + 1);
}
