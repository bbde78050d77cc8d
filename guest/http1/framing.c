/* Framing: what follows a head (RFC 9112, section 6.3), and the records for it. */
#include "fields.h"
#include "head.h"
#include "planted.h"
#include "scan.h"

/* picohttpparser's headers are pairs of addresses: less the address of the bytes they are those of the contract. */
_Static_assert(sizeof(struct phr_header) == sizeof(pico_pair) && offsetof(struct phr_header, value) == offsetof(pico_pair, value) &&
                   offsetof(struct phr_header, name_len) == offsetof(pico_pair, name_len),
               "a header is a pair");

/* Reads the headers into `a`, and writes them to `pairs`. */
static void read_headers(const work *w, const head *h, announced *a, pico_pair *pairs)
{
    v128_t address = wasm_u32x4_make((uintptr_t)w->bytes, 0, (uintptr_t)w->bytes, 0);
    enum last last = LAST_OTHER;

    for (size_t i = 0; i < h->num_headers; ++i) {
        const uint8_t *name = (const uint8_t *)h->headers[i].name;
        const uint8_t *value = (const uint8_t *)h->headers[i].value;
        uint32_t name_len = (uint32_t)h->headers[i].name_len;
        uint32_t len = (uint32_t)h->headers[i].value_len;

        if (value[len] == '\n')
            a->flags |= PICO_F_BARE_LF;
        wasm_v128_store(&pairs[i], wasm_i32x4_sub(wasm_v128_load(&h->headers[i]), address));
        if (len != 0 && is_blank(value[len - 1])) {
            do
                --len;
            while (len != 0 && is_blank(value[len - 1]));
            pairs[i].value_len = len;
        }
        if (name == NULL) {
            pairs[i].name = 0;
            read_continued(a, last, value, len);
            continue;
        }
        planted_header(name, name_len, value, len);
        last = read_field(a, name, name_len, value, len);
    }
    if (h->start[h->len - 2] != '\r')
        a->flags |= PICO_F_BARE_LF;
}

/* What follows a head, and what is wrong with it (an error code, or 0). */
typedef struct framing {
    unsigned kind;
    unsigned error;
    uint64_t length;
    uint32_t flags;
    bool cut; /* the head is: what follows is not known */
} framing;

static framing frame(const head *h, const announced *a, bool no_body)
{
    framing f = {PICO_FRAMING_NONE, 0, 0, a->flags, (h->flags & PICO_F_HEAD_CUT) != 0};
    bool coded = a->codings.codings != 0, sized = a->length.values != 0;

    if (a->codings.lines != 0 && sized)
        f.flags |= PICO_F_TE_CL_CONFLICT;
    if (a->length.conflict)
        f.flags |= PICO_F_CL_CONFLICT;
    else if (a->length.values > 1)
        f.flags |= PICO_F_CL_REPEATED;
    if (a->codings.lines != 0 && h->minor == 0)
        f.flags |= PICO_F_TE_HTTP10;
    if (a->codings.odd)
        f.flags |= PICO_F_TE_ODD;
    if (no_body || f.cut)
        return f;
    if (coded) {
        if (a->codings.chunked)
            f.kind = PICO_FRAMING_CHUNKED;
        else if (h->response)
            f.kind = PICO_FRAMING_CLOSE;
        else
            f.error = PICO_ERROR_BAD_TRANSFER_CODING;
    } else if (sized) {
        if (a->length.bad || a->length.conflict) {
            f.error = PICO_ERROR_BAD_CONTENT_LENGTH;
        } else {
            f.kind = PICO_FRAMING_LENGTH;
            f.length = a->length.value;
        }
    } else if (h->response) {
        f.kind = PICO_FRAMING_CLOSE;
    }
    return f;
}

/* What a server that answers 101 switches to: the first protocol in its Upgrade. */
static unsigned switched_to(const announced *a)
{
    uint32_t len = 0;
    if (a->upgrade == NULL)
        return PICO_TUNNEL_OTHER;
    while (len < a->upgrade_len && a->upgrade[len] != ',' && !is_blank(a->upgrade[len]))
        ++len;
    if (same_word(a->upgrade, len, "websocket", 9))
        return PICO_TUNNEL_WEBSOCKET;
    return same_word(a->upgrade, len, "h2c", 3) ? PICO_TUNNEL_H2C : PICO_TUNNEL_OTHER;
}

#define IS_METHOD(h, method) ((h)->text_len == sizeof(method) - 1 && is_word((h)->text, method, sizeof(method) - 1))

static bool body_is_odd(const head *h)
{
    return IS_METHOD(h, "GET") || IS_METHOD(h, "HEAD") || IS_METHOD(h, "DELETE") || IS_METHOD(h, "TRACE") || IS_METHOD(h, "CONNECT");
}

/* Behind a head of which the rest was not seen, or is too long to be read. */
COLD static void pass_cut_head(work *w, uint32_t number)
{
    end_message(w, number, w->final ? 0 : PICO_F_TRUNCATED, offset_at(w, w->pos), w->pos, w->pos);
    if (!w->final)
        add_error(w, PICO_ERROR_HEAD_TOO_LONG, w->pos, w->pos);
    if (*phase_of(w) == PHASE_START)
        enter_resync(w);
}

/* The body begins, or the message ends with its head. */
static void begin_body(work *w, const framing *f, uint32_t number)
{
    uint8_t *phase = phase_of(w);
    w->body = w->pos;
    if (f->kind == PICO_FRAMING_CHUNKED) {
        *phase = PHASE_CHUNK_SIZE;
    } else if (f->kind == PICO_FRAMING_CLOSE) {
        *phase = PHASE_CLOSE;
    } else if (f->length != 0) {
        *phase = PHASE_LENGTH;
        w->side->remaining = f->length;
    } else if (f->cut) {
        pass_cut_head(w, number);
    } else {
        end_message(w, number, f->error != 0 ? PICO_F_TRUNCATED : 0, offset_at(w, w->pos), w->pos, w->pos);
    }
    if (f->error != 0) {
        add_error(w, f->error, w->pos, w->pos);
        enter_resync(w);
    }
}

static pico_record *head_record(work *w, const head *h, const framing *f, uint32_t flags, uint32_t first_pair)
{
    uint32_t start = (uint32_t)(h->start - w->bytes);
    pico_record *r = add_record(w, h->response ? PICO_RECORD_RESPONSE : PICO_RECORD_REQUEST, start, start + h->len);
    r->minor = h->minor;
    r->framing = (uint8_t)f->kind;
    r->flags = flags | f->flags | h->flags;
    r->text = (uint32_t)(h->text - w->bytes);
    r->text_len = h->text_len;
    r->first_pair = first_pair;
    r->num_pairs = (uint32_t)h->num_headers;
    r->content_length = f->length;
    return r;
}

static void write_request(work *w, const head *h, const announced *a, uint32_t flags, uint32_t first_pair)
{
    block *b = w->block;
    framing f = frame(h, a, false);
    unsigned kind = IS_METHOD(h, "HEAD") ? KIND_HEAD : IS_METHOD(h, "CONNECT") ? KIND_CONNECT : KIND_PLAIN;

    b->shared |= w->me == 0 ? SHARED_CLIENT0 : SHARED_CLIENT1;
    if (h->minor != 0 && a->hosts == 0 && !f.cut)
        flags |= PICO_F_HOST_MISSING;
    if (a->hosts > 1)
        flags |= PICO_F_HOST_REPEATED;
    if (a->upgrade != NULL)
        flags |= PICO_F_UPGRADE;
    if ((f.kind == PICO_FRAMING_CHUNKED || f.length != 0) && body_is_odd(h))
        flags |= PICO_F_BODY_ODD;
    request_seen(b, kind, offset_at(w, w->pos));
    b->cut = f.cut;
    pico_record *r = head_record(w, h, &f, flags, first_pair);
    r->number = b->requests;
    r->target = (uint32_t)(h->target - w->bytes);
    r->target_len = h->target_len;
    begin_body(w, &f, b->requests);
    if (h->simple) /* HTTP/0.9 has one request on a connection */
        *phase_of(w) = PHASE_OVER;
}

/* A CONNECT was refused: its client continues with HTTP. */
static void refuse_connect(work *w)
{
    block *b = w->block;
    uint8_t *client = &b->phase[w->me ^ 1u];
    if (*client == PHASE_CONNECT) {
        *client = PHASE_START;
    } else if (*client == PHASE_GUESS) {
        side_state *side = &b->sides[w->me ^ 1u];
        side->candidate = PICO_FOREVER;
        *client = PHASE_RESYNC;
        become_unsure(b);
    }
}

static void write_response(work *w, const head *h, const announced *a, uint32_t flags, uint32_t first_pair)
{
    block *b = w->block;
    b->shared |= w->me == 0 ? SHARED_CLIENT1 : SHARED_CLIENT0;
    pairing p = pair_response(w, h->status);
    bool interim = h->status < 200 && h->status != 101;
    bool forbidden = h->status < 200 || h->status == 204 || h->status == 304;
    bool accepted = p.kind == KIND_CONNECT && h->status >= 200 && h->status < 300;
    bool tunnel = accepted || h->status == 101;
    framing f = frame(h, a, forbidden || accepted || p.kind == KIND_HEAD);

    flags |= p.flags;
    if (interim)
        flags |= PICO_F_INTERIM;
    if (forbidden && (a->codings.lines != 0 || a->length.value != 0))
        flags |= PICO_F_BODY_FORBIDDEN;
    if (!interim && p.number != 0 && p.number == b->requests && in_body(b->phase[w->me ^ 1u]))
        flags |= PICO_F_EARLY;
    if (tunnel)
        f.kind = PICO_FRAMING_TUNNEL;
    pico_record *r = head_record(w, h, &f, flags, first_pair);
    r->code = h->status;
    r->number = p.number;
    if (tunnel) {
        pico_record *t = add_record(w, PICO_RECORD_TUNNEL, w->pos, w->pos);
        t->code = (uint16_t)(accepted ? PICO_TUNNEL_CONNECT : switched_to(a));
        t->number = p.number;
    } else if (p.kind == KIND_CONNECT && !interim) {
        refuse_connect(w);
    }
    if (p.number != 0 && !interim)
        *flags_of(w) |= SIDE_NUMBERED;
    if (p.number == 0) {
        *flags_of(w) |= SIDE_ASSUMED;
        b->began_acked = w->event->peer_acked;
        b->failed = 0;
    }
    unsigned client = b->phase[w->me ^ 1u];
    begin_body(w, &f, p.number);
    if (tunnel)
        open_tunnel(w);
    /* What is inside is parsed if nothing of it is gone (the client waits, or has asked for the upgrade and no more), and if this
     * is the answer for certain: else it may be one from inside. */
    w->inner = w->nests && !f.cut && p.number != 0 &&
               ((accepted && client == PHASE_CONNECT) ||
                (tunnel && !accepted && client == PHASE_START && switched_to(a) != PICO_TUNNEL_WEBSOCKET));
}

bool write_head(work *w, head *h, uint32_t flags)
{
    pico_output *out = w->call->out;
    block *b = w->block;
    uint8_t *mine = flags_of(w);
    side_state *other = &b->sides[w->me ^ 1u];
    announced a = {0};

    if ((h->lenient ? PICO_MAX_PAIRS : h->num_headers) > w->call->in->max_pairs - out->num_pairs)
        return false;
    if (h->response && pairs_by_ack(w) && !exact_ack(w))
        return false;
    if (h->lenient)
        read_odd_headers(w, h, &a, w->call->pairs + out->num_pairs);
    else
        read_headers(w, h, &a, w->call->pairs + out->num_pairs);
    uint32_t first_pair = out->num_pairs;
    out->num_pairs += (uint32_t)h->num_headers;
    w->pos = (uint32_t)(h->start - w->bytes) + h->len;

    if (w->midstream && !(*mine & SIDE_SPOKE))
        flags |= PICO_F_MIDSTREAM;
    w->side->remaining = w->side->decoded = w->side->overhead = w->side->lost = 0;
    *mine &= SIDE_SPOKE;
    if (h->response)
        write_response(w, h, &a, flags, first_pair);
    else
        write_request(w, h, &a, flags, first_pair);
    *mine |= SIDE_SPOKE;
    /* A connection that speaks HTTP on one side is worth a longer search on the other. */
    if (b->phase[w->me ^ 1u] == PHASE_RESYNC) {
        other->passed = 0;
        other->tries = 0;
    }
    return true;
}
