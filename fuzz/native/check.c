/* What the host checks of a reply: see src/sandbox/memory.rs and memory/records.rs. */
#include "host.h"

#define CHECK(holds, item, value)          \
    do {                                   \
        if (!(holds))                      \
            fail(#holds, (item), (value)); \
    } while (0)

static void check_result(const host_call *call, uint32_t i)
{
    const pico_result *r = &call->results[i];
    const pico_event *e = &call->events[i].event;
    uint64_t end = e->offset + e->len + e->length;

    CHECK(r->reserved == 0 && r->wake <= 1, i, r->reserved);
    CHECK(r->verdict >= PICO_DONE && r->verdict <= PICO_INNER, i, r->verdict);
    CHECK(r->consumed <= e->len, i, r->consumed);
    CHECK(r->skip == 0 || r->verdict == PICO_DONE, i, r->skip);
    uint32_t rest = e->len - r->consumed;
    switch (r->verdict) {
    case PICO_DONE:
        CHECK(rest == 0, i, r->consumed);
        CHECK(r->skip == 0 || (r->skip > end && e->kind != PICO_EVENT_END), i, r->skip);
        break;
    case PICO_NEED_MORE:
        CHECK(e->kind == PICO_EVENT_BYTES && !(e->flags & PICO_EVENT_FINAL), i, e->flags);
        CHECK(rest != 0 && rest <= PICO_MAX_WAITING, i, rest);
        break;
    case PICO_OUTPUT_FULL:
        CHECK(rest != 0 || e->kind != PICO_EVENT_BYTES, i, r->consumed);
        CHECK(r->consumed != 0 || call->out->num_records != 0 || i != 0, i, 0);
        break;
    case PICO_DEFERRED:
        CHECK(r->consumed == 0, i, r->consumed);
        break;
    default:
        CHECK(e->kind == PICO_EVENT_BYTES && (r->verdict != PICO_GROW || rest != 0), i, r->verdict);
    }
}

/* What a row says with a verdict that changes how its connection goes on. */
static void check_turn(const host_call *call, uint32_t i, bool consumed)
{
    const encoded *at = &call->events[i];
    const connection *c = at->of;
    const pico_row *row = &call->rows[at->row];
    switch (call->results[i].verdict) {
    case PICO_GROW:
        CHECK(!(row->flags & PICO_ROW_NO_GROWTH), i, row->grow);
        CHECK(row->grow % PICO_EXTRA_UNIT == 0 && row->grow <= PICO_MAX_EXTRA && row->grow > c->extra_size, i, row->grow);
        break;
    case PICO_HAND_OVER:
        CHECK(row->hand_to < call->num_protocols && row->hand_to != call->own_protocol, i, row->hand_to);
        CHECK(c->hand_overs < PICO_MAX_HAND_OVERS && (!c->unconsumed || consumed), i, c->hand_overs);
        break;
    case PICO_INNER:
        CHECK(c->depth < PICO_MAX_DEPTH, i, c->depth);
        for (uint32_t n = 0;; ++n) {
            CHECK(n < call->out->num_records, i, n);
            if (call->records[n].event == i && call->records[n].kind == PICO_RECORD_TUNNEL)
                break;
        }
        break;
    default:
        break;
    }
}

static void check_results(const host_call *call)
{
    uint32_t done = call->out->events_done;
    bool waits[MOST_CONNECTIONS][2] = {{false}}, defers[MOST_CONNECTIONS] = {false}, consumed[MOST_CONNECTIONS] = {false};
    CHECK(done != 0 && done <= call->num_events, done, call->num_events);
    for (uint32_t i = 0; i < done; ++i) {
        const encoded *at = &call->events[i];
        const pico_result *r = &call->results[i];
        bool deferred = defers[at->row] || waits[at->row][at->event.side];
        check_result(call, i);
        CHECK(deferred == (r->verdict == PICO_DEFERRED), i, r->verdict);
        CHECK(i + 1 == done || r->verdict != PICO_OUTPUT_FULL, i, r->verdict);
        consumed[at->row] |= r->consumed != 0;
        check_turn(call, i, consumed[at->row]);
        waits[at->row][at->event.side] |= r->verdict == PICO_NEED_MORE;
        defers[at->row] |= r->verdict >= PICO_DEFERRED;
    }
    CHECK(done == call->num_events || call->results[done - 1].verdict == PICO_OUTPUT_FULL, done, call->num_events);
}

/* A range in which texts lie in order and apart. */
typedef struct place {
    uint32_t reached, limit;
} place;

static void check_text(uint32_t i, place *head, place *area, uint32_t position, uint32_t len)
{
    place *in = position & PICO_TEXT ? area : head;
    uint32_t start = position & ~PICO_TEXT;
    if (len == 0)
        return;
    CHECK(start >= in->reached, i, position);
    CHECK(start <= in->limit && len <= in->limit - start, i, position);
    in->reached = start + len;
}

static void check_texts(const host_call *call, uint32_t i, place *lines, place *pairs)
{
    const pico_record *r = &call->records[i];
    place head = {.reached = r->start, .limit = r->end};
    CHECK(r->num_pairs <= PICO_MAX_PAIRS, i, r->num_pairs);
    CHECK(r->first_pair <= call->out->num_pairs && r->num_pairs <= call->out->num_pairs - r->first_pair, i, r->first_pair);
    bool swapped = r->text & r->target & PICO_TEXT && r->target < r->text;
    if (swapped)
        check_text(i, &head, lines, r->target, r->target_len);
    check_text(i, &head, lines, r->text, r->text_len);
    if (!swapped)
        check_text(i, &head, lines, r->target, r->target_len);
    for (const pico_pair *p = call->pairs + r->first_pair; p != call->pairs + r->first_pair + r->num_pairs; ++p) {
        check_text(i, &head, pairs, p->name, p->name_len);
        check_text(i, &head, pairs, p->value, p->value_len);
    }
}

static void check_code(const pico_record *r, uint32_t i)
{
    uint32_t most = 0;
    bool unknown = r->code == 0 && r->stream != 0 && r->flags & (PICO_F_HPACK_UNKNOWN | PICO_F_BAD_START_LINE);
    switch (r->kind) {
    case PICO_RECORD_RESPONSE:
        CHECK((r->code >= 100 && r->code <= 999) || unknown, i, r->code);
        return;
    case PICO_RECORD_TUNNEL:
        most = PICO_TUNNEL_PROXY;
        break;
    case PICO_RECORD_NOT_HTTP:
        most = PICO_NOT_HTTP_SMTP;
        break;
    case PICO_RECORD_ERROR:
        most = PICO_ERROR_BAD_FRAME;
        break;
    default:
        CHECK(r->code == 0, i, r->code);
        return;
    }
    CHECK(r->code >= 1 && r->code <= most, i, r->code);
}

static void check_record(const host_call *call, uint32_t i)
{
    const pico_record *r = &call->records[i];
    const pico_event *e = &call->events[r->event].event;
    CHECK(r->kind >= PICO_RECORD_REQUEST && r->kind <= PICO_RECORD_BODY, i, r->kind);
    bool head = r->kind == PICO_RECORD_REQUEST || r->kind == PICO_RECORD_RESPONSE;
    bool is_operation = r->kind == PICO_RECORD_OPERATION || r->kind == PICO_RECORD_OUTCOME;
    bool has_pairs = head || r->kind == PICO_RECORD_TRAILERS || is_operation;
    bool own = has_pairs || r->kind == PICO_RECORD_END || r->kind == PICO_RECORD_RESET || r->kind == PICO_RECORD_BODY;

    check_code(r, i);
    CHECK(!head || (r->minor <= 9 && r->framing <= PICO_FRAMING_TUNNEL), i, r->minor);
    CHECK(has_pairs || r->num_pairs == 0, i, r->num_pairs);
    CHECK(r->side <= 1 && (!own || r->side == e->side), i, r->side);
    CHECK((!has_pairs && r->kind != PICO_RECORD_BODY) || e->kind == PICO_EVENT_BYTES, i, r->event);
    CHECK((r->kind != PICO_RECORD_REQUEST && r->kind != PICO_RECORD_OPERATION) || r->number != 0, i, r->number);
    if (r->kind == PICO_RECORD_END) {
        CHECK(r->lost <= r->content_length && r->decoded <= r->content_length, i, r->lost);
        CHECK(r->content_length <= e->offset + e->length + r->end, i, r->content_length);
    }
}

/* Bytes of a body are asked for, at most so many of each. */
static void check_body(const host_call *call, uint32_t i)
{
    const pico_record *r = &call->records[i];
    uint32_t bodies = call->rows[call->events[r->event].row].bodies;
    CHECK(bodies != 0, i, r->kind);
    CHECK(r->start < r->end, i, r->end);
    CHECK(r->decoded <= bodies && r->end - r->start <= bodies - r->decoded, i, r->decoded);
}

static void check_records(const host_call *call)
{
    place lines = {.limit = call->out->text_len}, pairs = lines;
    uint32_t event = 0, reached = 0, bodies_reached = 0;
    for (uint32_t i = 0; i < call->out->num_records; ++i) {
        const pico_record *r = &call->records[i];
        CHECK(r->event >= event && r->event < call->out->events_done, i, r->event);
        const pico_result *answer = &call->results[r->event];
        if (r->event != event)
            reached = bodies_reached = 0;
        event = r->event;
        CHECK(r->reserved == 0 && answer->verdict != PICO_DEFERRED, i, r->reserved);
        CHECK(r->start <= r->end && r->end <= answer->consumed, i, r->end);
        check_record(call, i);
        if (r->kind == PICO_RECORD_BODY) {
            check_body(call, i);
            CHECK(r->start >= reached && r->start >= bodies_reached, i, r->start);
            bodies_reached = r->end;
        }
        if (r->kind <= PICO_RECORD_END || r->kind == PICO_RECORD_OPERATION || r->kind == PICO_RECORD_OUTCOME) {
            /* the end of a message stands for all of its body */
            CHECK(r->start >= reached && (r->kind == PICO_RECORD_END || r->start >= bodies_reached), i, r->start);
            reached = r->end;
        }
        if (r->kind != PICO_RECORD_END && r->kind != PICO_RECORD_NOT_HTTP && r->kind != PICO_RECORD_ERROR && r->kind != PICO_RECORD_RESET &&
            r->kind != PICO_RECORD_BODY)
            check_texts(call, i, &lines, &pairs);
    }
}

void check_reply(const host_call *call)
{
    const pico_output *out = call->out;
    CHECK(out->abi_version == PICO_ABI_VERSION, 0, out->abi_version);
    for (unsigned i = 0; i < sizeof(out->reserved) / sizeof(*out->reserved); ++i)
        CHECK(out->reserved[i] == 0, i, out->reserved[i]);
    CHECK(out->num_records <= call->in->max_records, 0, out->num_records);
    CHECK(out->num_pairs <= call->in->max_pairs, 0, out->num_pairs);
    CHECK(out->text_len <= call->in->max_text, 0, out->text_len);
    for (unsigned row = 0; row < call->num_rows; ++row)
        CHECK(call->rows[row].extra_used <= call->of_row[row]->extra_size, row, call->rows[row].extra_used);
    check_results(call);
    check_records(call);
}
