/* Pairing: which request a response answers.
 *
 * Requests are numbered from 1. Responses answer them in order, so two counters suffice, and, for framing, the kind of
 * each unanswered request. While loss hides message boundaries the connection is unsure: responses carry no number, and the
 * host pairs them by TCP acknowledgement. The connection is sure again with the first request after a response that
 * acknowledged every request before it: whatever was lost, nothing before that request is still to be answered. If that
 * response acknowledged even more, the request may have come late and be the one that it answers. */
#include <string.h>

#include "state.h"

unsigned kind_of(const block *b, uint32_t number)
{
    uint32_t slot = number % WINDOW;
    if (number == b->requests && b->shared & SHARED_CONNECT)
        return KIND_CONNECT;
    return b->heads[slot / 8] >> slot % 8 & 1 ? KIND_HEAD : KIND_PLAIN;
}

static void set_kind(block *b, uint32_t number, unsigned kind)
{
    uint32_t slot = number % WINDOW;
    uint8_t bit = (uint8_t)(1u << slot % 8);
    if (kind == KIND_HEAD)
        b->heads[slot / 8] |= bit;
    else
        b->heads[slot / 8] &= (uint8_t)~bit;
    if (number == b->requests) {
        b->shared &= (uint8_t)~SHARED_CONNECT;
        if (kind == KIND_CONNECT)
            b->shared |= SHARED_CONNECT;
    }
}

/* The most events of a connection that are given back: each costs a call, and a sender can make any number necessary.
 * Beyond that, later segments of an event count as acknowledging what its first does. An arbitrary number. */
#define MOST_SPLITS 64u

bool exact_ack(work *w)
{
    const pico_event *e = w->event;
    block *b = w->block;
    if (e->num_marks == 0 || w->call->marks[e->marks] > w->pos || b->splits >= MOST_SPLITS)
        return true;
    ++b->splits;
    return false;
}

void become_unsure(block *b)
{
    b->shared |= SHARED_UNSURE;
    b->shared &= (uint8_t)~SHARED_SETTLED;
}

void request_seen(block *b, unsigned kind, uint64_t end)
{
    if (b->shared & SHARED_SETTLED) {
        b->shared &= (uint8_t)~(SHARED_SETTLED | SHARED_UNSURE);
        b->answered = b->requests;
        memset(b->heads, 0, sizeof(b->heads));
    }
    ++b->requests;
    b->cut = 0;
    if (b->shared & SHARED_AHEAD)
        become_unsure(b);
    b->shared &= (uint8_t)~(SHARED_CONNECT | SHARED_HOLE | SHARED_AHEAD);
    /* Plain requests may exceed the window: their bits are zero. A HEAD that shares a bit with an unanswered request cannot be
     * kept. */
    if (b->requests - b->answered > WINDOW && (kind != KIND_PLAIN || kind_of(b, b->requests) != KIND_PLAIN))
        become_unsure(b);
    set_kind(b, b->requests, kind);
    b->last_request_end = end;
}

bool pairs_by_ack(work *w)
{
    const block *b = w->block;
    return b->shared & SHARED_UNSURE || b->answered == b->requests || (w->midstream && !(*flags_of(w) & SIDE_SPOKE));
}

/* Whether this event acknowledges bytes of the client's that may hold a request newer than all seen: behind the last one a
 * hole, a head that was not read or of which only a part was seen, or bytes beyond the client's stream as far as it is known,
 * including the rest of an open body of known length. */
static bool request_lost(const work *w)
{
    const block *b = w->block;
    unsigned client = w->me ^ 1u, phase = b->phase[client];
    uint64_t acked = w->event->peer_acked, seen = b->sides[client].expected;

    if (acked == PICO_UNKNOWN)
        return false;
    if (b->shared & SHARED_HOLE && acked >= b->last_request_end + SHORTEST_HEAD)
        return true;
    if (phase == PHASE_LENGTH ? __builtin_add_overflow(seen, b->sides[client].remaining, &seen)
                              : phase != PHASE_START && phase != PHASE_RESYNC)
        return false;
    return acked > seen && acked - seen >= SHORTEST_HEAD;
}

pairing pair_response(work *w, unsigned status)
{
    block *b = w->block;
    uint64_t acked = w->event->peer_acked;
    bool final = status >= 200 || status == 101;
    bool acked_all = b->requests != 0 && acked != PICO_UNKNOWN && acked >= b->last_request_end;
    pairing p = {0, 0, KIND_PLAIN};

    /* In mid-stream, with several requests before the first response: they were pipelined, or their responses were lost. */
    bool first = w->midstream && !(*flags_of(w) & SIDE_SPOKE);
    bool lost = request_lost(w);
    if (first && ((b->requests > 1 && acked_all) || (b->requests != 0 && lost)))
        become_unsure(b);
    /* It may have been captured before its request. */
    bool ahead = lost || acked == PICO_UNKNOWN;
    if (ahead && (b->shared & SHARED_UNSURE || b->answered == b->requests))
        b->shared |= SHARED_AHEAD;
    if (b->shared & SHARED_UNSURE) {
        p.flags = PICO_F_UNPAIRED | (lost ? PICO_F_REQUEST_LOST : 0);
        if (acked_all && !lost)
            p.kind = kind_of(b, b->requests);
        if (acked_all && final)
            b->shared |= SHARED_SETTLED;
        return p;
    }
    /* Captured from between a request and its response: a response to a request that was not seen comes before the first
     * that was, or does not acknowledge it. */
    if (b->answered == b->requests) {
        p.flags = first ? PICO_F_UNPAIRED : PICO_F_UNSOLICITED;
        return p;
    }
    if (first && acked != PICO_UNKNOWN && b->requests == 1 && acked < b->last_request_end && !in_body(b->phase[w->me ^ 1])) {
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
