/* Pairing: which request a response answers.
 *
 * Requests are numbered from 1. Responses answer them in order, so it takes two counters, and for framing the kind of
 * each unanswered request. While message boundaries are hidden by loss the connection is unsure: responses carry no number,
 * and the host pairs them by TCP acknowledgement. It is sure again with the first request after a response that
 * acknowledged every request before it: whatever was lost, nothing before that request is still to be answered. */
#include <string.h>

#include "state.h"

unsigned kind_of(const block *b, uint32_t number)
{
    uint32_t slot = number % WINDOW;
    return (b->kinds[slot / 4] >> (slot % 4 * 2)) & 3;
}

static void set_kind(block *b, uint32_t number, unsigned kind)
{
    uint32_t slot = number % WINDOW;
    unsigned shift = slot % 4 * 2;
    b->kinds[slot / 4] = (uint8_t)((b->kinds[slot / 4] & ~(3u << shift)) | (kind << shift));
}

void become_unsure(block *b)
{
    b->shared |= SHARED_UNSURE;
    b->shared &= (uint8_t)~SHARED_SETTLED;
}

void request_seen(block *b, unsigned kind, uint64_t end)
{
    if (b->shared & SHARED_SETTLED) {
        b->shared &= (uint8_t) ~(SHARED_SETTLED | SHARED_UNSURE);
        b->answered = b->requests;
        memset(b->kinds, 0, sizeof(b->kinds));
    }
    ++b->requests;
    /* A full window still tells plain requests exactly, however many: zero is plain. Any other kind that would share a
     * slot with an unanswered request cannot be kept. */
    if (b->requests - b->answered > WINDOW && (kind != KIND_PLAIN || kind_of(b, b->requests) != KIND_PLAIN))
        become_unsure(b);
    set_kind(b, b->requests, kind);
    b->last_request_end = end;
}

pairing pair_response(work *w, unsigned status)
{
    block *b = w->block;
    uint64_t acked = w->event->peer_acked;
    bool final = status >= 200 || status == 101;
    bool acked_all = b->requests != 0 && acked != PICO_UNKNOWN && acked >= b->last_request_end;
    pairing p = {0, 0, KIND_PLAIN};

    if (b->shared & SHARED_UNSURE) {
        p.flags = PICO_F_UNPAIRED;
        if (acked_all) {
            p.kind = kind_of(b, b->requests);
            if (final)
                b->shared |= SHARED_SETTLED;
        }
        return p;
    }
    /* Picked up between a request and its response: what answers a request that was not seen has not acknowledged, or
     * comes before, the first that was. */
    bool first = w->midstream && !(*flags_of(w) & SIDE_SPOKE);
    if (b->answered == b->requests) {
        p.flags = first ? PICO_F_UNPAIRED : PICO_F_UNSOLICITED;
        return p;
    }
    if (first && acked != PICO_UNKNOWN && b->requests == 1 && acked < b->last_request_end &&
        !in_body(b->phase[w->me ^ 1])) {
        p.flags = PICO_F_UNPAIRED;
        return p;
    }
    p.number = b->answered + 1;
    p.kind = kind_of(b, p.number);
    if (final) {
        set_kind(b, p.number, KIND_PLAIN);
        b->answered = p.number;
    }
    return p;
}
