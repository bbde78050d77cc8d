/* Messages: the records for what begins, ends or goes wrong, and the phases that follow. */
#include "state.h"

bool has_room(const work *w)
{
    return has_records(w->call, UNIT_RECORDS);
}

pico_record *add_record(work *w, unsigned kind, uint32_t start, uint32_t end)
{
    return new_record(w->call, w->index, kind, start, end);
}

void add_error(work *w, unsigned code, uint32_t start, uint32_t end)
{
    add_record(w, PICO_RECORD_ERROR, start, end)->code = (uint16_t)code;
}

uint32_t open_number(const work *w)
{
    const block *b = w->block;
    if (is_client(b, w->me))
        return b->requests;
    return b->side_flags[w->me] & SIDE_NUMBERED ? b->answered : 0;
}

/* Forgets the last message or search. */
static void clear(work *w)
{
    side_state *side = w->side;
    side->remaining = side->decoded = side->overhead = side->lost = 0;
    *flags_of(w) &= SIDE_SPOKE;
}

void end_message(work *w, uint32_t number, uint32_t flags, uint64_t at, uint32_t start, uint32_t end)
{
    block *b = w->block;
    side_state *side = w->side;
    unsigned marks = *flags_of(w);
    pico_record *record = add_record(w, PICO_RECORD_END, start, end);

    record->flags = flags | (marks & SIDE_GAP ? PICO_F_GAP : 0) | (marks & SIDE_CHUNK_ODD ? PICO_F_CHUNK_ODD : 0) |
                    (marks & SIDE_CHUNK_EXTENSION ? PICO_F_CHUNK_EXTENSION : 0);
    record->number = number;
    record->content_length = side->decoded + side->overhead;
    record->decoded = side->decoded;
    record->lost = side->lost;
    clear(w);
    *phase_of(w) = PHASE_START;
    if (!is_client(b, w->me))
        return;
    b->last_request_end = at;
    if (b->shared & SHARED_TUNNEL)
        *phase_of(w) = PHASE_TUNNEL;
    else if (kind_of(b, b->requests) == KIND_CONNECT)
        *phase_of(w) = PHASE_CONNECT;
}

void enter_resync(work *w)
{
    clear(w);
    w->side->candidate = PICO_FOREVER;
    *phase_of(w) = PHASE_RESYNC;
    become_unsure(w->block);
    if (is_client(w->block, w->me))
        w->block->shared |= SHARED_HOLE;
}

void give_up(work *w, unsigned code, uint32_t at)
{
    block *b = w->block;
    unsigned other = w->me ^ 1u;

    add_record(w, PICO_RECORD_NOT_HTTP, at, at)->code = (uint16_t)code;
    clear(w);
    *phase_of(w) = PHASE_OVER;
    if (!(b->side_flags[other] & SIDE_SPOKE) && b->phase[other] == PHASE_RESYNC)
        b->phase[other] = PHASE_OVER;
}

void open_tunnel(work *w)
{
    block *b = w->block;
    uint8_t *client = &b->phase[w->me ^ 1u];

    b->shared |= SHARED_TUNNEL;
    *phase_of(w) = PHASE_TUNNEL;
    if (!in_body(*client) && *client != PHASE_ENDED && *client != PHASE_OVER)
        *client = PHASE_TUNNEL;
}
