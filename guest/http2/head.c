/* Header blocks: HEADERS and PUSH_PROMISE with the CONTINUATIONs behind them, and the records that they become. */
#include <string.h>

#include "http1/planted.h"
#include "state.h"

/* The block of several frames, put together. */
static uint8_t joined[LONGEST_BLOCK];
/* The block, decoded; its text lies in the text area, behind what is in use. */
static fields decoded;

_Static_assert(HPACK_TEXT + HPACK_SLACK <= PICO_MIN_TEXT, "the text of one block has room");

/* What a block says that is not just handed on. NULL: it does not. */
typedef struct head {
    const field *method, *path, *scheme, *authority, *protocol, *status, *type, *length;
    bool pseudo; /* it has fields that begin with a colon */
} head;

/* A block where it lies. */
typedef struct located {
    const uint8_t *bytes;
    uint32_t len;
    uint32_t end; /* position behind its last frame */
} located;

/* ---- finding a block ------------------------------------------------------------------------------------------------------- */

/* The part of a block in a HEADERS or PUSH_PROMISE frame, which is all there. False: there is none. */
static bool first_part(const frame *f, const uint8_t *at, located *l)
{
    uint32_t front = f->type == FRAME_PUSH_PROMISE ? 4 : f->flags & FRAME_PRIORITISED ? 5 : 0;
    uint32_t padding = 0;
    if (f->flags & FRAME_PADDED) {
        if (f->length == 0)
            return false;
        padding = at[FRAME_HEAD];
        ++front;
    }
    if (front + padding > f->length)
        return false;
    l->bytes = at + FRAME_HEAD + front;
    l->len = f->length - front - padding;
    return true;
}

/* The block is not read: it is too long, or not one. From here on the table is unknown. */
static enum step leave_block(work *w, const frame *f, unsigned code)
{
    add_record(w, PICO_RECORD_ERROR, w->pos, w->pos, f->stream)->code = (uint16_t)code;
    hpack_reset(&w->extra->tables[w->me], HPACK_SIZE_UNKNOWN);
    w->side->flags &= (uint8_t)~SIDE_WHOLE;
    w->side->flags |= f->flags & FRAME_END_HEADERS ? 0 : SIDE_BLOCK;
    return pass_frame(w, f, 0);
}

enum found { FOUND, FOUND_PART, FOUND_LONG, FOUND_BAD };

/* Finds the block that begins with a frame at w->pos. */
static enum found find_block(const work *w, const frame *f, located *l)
{
    const uint8_t *at = w->bytes + w->pos;
    uint32_t have = w->len - w->pos, end = FRAME_HEAD + f->length;
    bool whole = f->flags & FRAME_END_HEADERS;

    if (end > LONGEST_BLOCK)
        return FOUND_LONG;
    if (have < end)
        return FOUND_PART;
    if (!first_part(f, at, l))
        return FOUND_BAD;
    for (unsigned frames = 0; !whole; ++frames) {
        if (frames == MOST_CONTINUATIONS)
            return FOUND_LONG;
        if (have - end < FRAME_HEAD)
            return FOUND_PART;
        frame more = frame_at(at + end);
        if (more.type != FRAME_CONTINUATION || more.stream != f->stream)
            return FOUND_BAD;
        if (more.length > LONGEST_BLOCK - end - FRAME_HEAD)
            return FOUND_LONG;
        if (have - end - FRAME_HEAD < more.length)
            return FOUND_PART;
        end += FRAME_HEAD + more.length;
        whole = more.flags & FRAME_END_HEADERS;
    }
    l->end = w->pos + end;
    return FOUND;
}

/* Puts the parts of a block together that was found, if there are several. */
static void join_block(const work *w, const frame *f, located *l)
{
    uint32_t pos = w->pos + FRAME_HEAD + f->length, len = l->len;
    if (pos == l->end)
        return;
    memcpy(joined, l->bytes, len);
    while (pos < l->end) {
        frame more = frame_at(w->bytes + pos);
        memcpy(joined + len, w->bytes + pos + FRAME_HEAD, more.length);
        len += more.length;
        pos += FRAME_HEAD + more.length;
    }
    l->bytes = joined;
    l->len = len;
}

/* ---- what it says ---------------------------------------------------------------------------------------------------------- */

/* Whether bytes are those of a word of 4 to 16: without a call, which takes longer. */
static inline bool is_word(const uint8_t *at, const char *word, uint32_t len)
{
    uint64_t front[2], back[2];
    uint32_t size = len < sizeof(front[0]) ? 4 : sizeof(front[0]);
    front[0] = front[1] = back[0] = back[1] = 0;
    __builtin_memcpy(&front[0], at, size);
    __builtin_memcpy(&front[1], word, size);
    __builtin_memcpy(&back[0], at + len - size, size);
    __builtin_memcpy(&back[1], word + len - size, size);
    return front[0] == front[1] && back[0] == back[1];
}

static inline bool text_is(const text *t, const char *word, uint32_t len)
{
    return t->known && t->len == len && is_word(decoded.text + t->at, word, len);
}

#define IS(t, word) text_is(t, word, sizeof(word) - 1)

static const field **place_of(head *h, const text *name)
{
    if (decoded.text[name->at] != ':')
        return IS(name, "content-type") ? &h->type : IS(name, "content-length") ? &h->length : NULL;
    h->pseudo = true;
    return IS(name, ":method")      ? &h->method
           : IS(name, ":path")      ? &h->path
           : IS(name, ":scheme")    ? &h->scheme
           : IS(name, ":authority") ? &h->authority
           : IS(name, ":protocol")  ? &h->protocol
           : IS(name, ":status")    ? &h->status
                                    : NULL;
}

static head read_fields(void)
{
    head h = {0};
    for (uint32_t i = 0; i < decoded.count; ++i) {
        const field *f = &decoded.list[i];
        if (!f->name.known || f->name.len < 5 || f->name.len > 14)
            continue;
        const field **place = place_of(&h, &f->name);
        if (place != NULL && *place == NULL)
            *place = f;
    }
    return h;
}

static bool is_grpc(const head *h)
{
    static const char type[] = "application/grpc";
    const text *t = h->type == NULL ? NULL : &h->type->value;
    return t != NULL && t->known && t->len >= sizeof(type) - 1 && memcmp(decoded.text + t->at, type, sizeof(type) - 1) == 0;
}

/* The number that a text is, of at most `digits` digits. False: it is none. */
static bool read_digits(const field *f, uint32_t digits, uint64_t *number)
{
    *number = 0;
    if (f == NULL || !f->value.known || f->value.len == 0 || f->value.len > digits)
        return false;
    for (uint32_t i = 0; i < f->value.len; ++i) {
        uint8_t byte = decoded.text[f->value.at + i];
        if (byte < '0' || byte > '9')
            return false;
        *number = *number * 10 + (byte - '0');
    }
    return true;
}

/* ---- records ----------------------------------------------------------------------------------------------------------------- */

/* Where a text of the block lies in the text area. */
static uint32_t place(const work *w, const text *t)
{
    return text_here(w->call) + t->at;
}

static void put_record_text(const work *w, const field *f, uint32_t *at, uint32_t *len)
{
    if (f != NULL && f->value.known) {
        *at = place(w, &f->value);
        *len = f->value.len;
    }
}

/* The fields other than two. */
static void put_pairs(work *w, pico_record *r, const field *method, const field *target)
{
    call *c = w->call;
    pico_pair *first = &c->pairs[c->out->num_pairs], *p = first;
    for (uint32_t i = 0; i < decoded.count; ++i) {
        const field *f = &decoded.list[i];
        if (f == method || f == target || !f->name.known || !f->value.known || f->name.len == 0)
            continue;
        *p++ = (pico_pair){place(w, &f->name), f->name.len, place(w, &f->value), f->value.len};
        planted_header(decoded.text + f->name.at, f->name.len, decoded.text + f->value.at, f->value.len);
    }
    r->first_pair = c->out->num_pairs;
    r->num_pairs = (uint32_t)(p - first);
    c->out->num_pairs += r->num_pairs;
}

static uint32_t flags_of_block(work *w, bool good)
{
    uint32_t flags = decoded.unknown ? PICO_F_HPACK_UNKNOWN : 0;
    flags |= decoded.cut || decoded.count > PICO_MAX_HEADERS ? PICO_F_TOO_MANY_HEADERS : 0;
    flags |= w->side->flags & SIDE_FOUND ? PICO_F_RESYNC : 0;
    w->side->flags &= (uint8_t)~SIDE_FOUND;
    return flags | (good ? 0 : PICO_F_BAD_HEADER);
}

static void set_framing(pico_record *r, const head *h, const frame *f)
{
    uint64_t length;
    if (f->flags & FRAME_END_STREAM) {
        r->framing = PICO_FRAMING_NONE;
    } else if (read_digits(h->length, 18, &length)) {
        r->framing = PICO_FRAMING_LENGTH;
        r->content_length = length;
    } else {
        r->framing = PICO_FRAMING_CLOSE;
    }
}

static void write_request(work *w, const head *h, const frame *f, pico_record *r)
{
    bool connect = h->method != NULL && IS(&h->method->value, "CONNECT");
    const field *target = connect && h->path == NULL ? h->authority : h->path;

    r->kind = PICO_RECORD_REQUEST;
    set_framing(r, h, f);
    put_record_text(w, h->method, &r->text, &r->text_len);
    put_record_text(w, target, &r->target, &r->target_len);
    put_pairs(w, r, h->method, target);

    stream *s = open_stream(w, f->stream);
    if (s == NULL)
        return;
    s->halves[w->me].flags |= HALF_HEAD;
    if (connect)
        s->flags |= STREAM_CONNECT;
    if (connect && h->protocol != NULL)
        s->flags |= IS(&h->protocol->value, "websocket") ? STREAM_WEBSOCKET : STREAM_OTHER;
    if (is_grpc(h)) {
        s->halves[0].flags |= HALF_MESSAGES;
        s->halves[1].flags |= HALF_MESSAGES;
    }
}

static void write_tunnel(work *w, stream *s)
{
    pico_record *t = add_record(w, PICO_RECORD_TUNNEL, w->pos, w->pos, s->id);
    t->code = s->flags & STREAM_WEBSOCKET ? PICO_TUNNEL_WEBSOCKET : s->flags & STREAM_OTHER ? PICO_TUNNEL_OTHER : PICO_TUNNEL_CONNECT;
    s->flags |= STREAM_TUNNEL;
}

/* `s`: its stream, or NULL if its request was not seen. */
static void write_response(work *w, const head *h, const frame *f, pico_record *r, stream *s)
{
    uint64_t status = 0;

    r->kind = PICO_RECORD_RESPONSE;
    set_framing(r, h, f);
    if (!read_digits(h->status, 3, &status) || status < 100)
        status = 0; /* not known, or none */
    if (status == 0 && h->status != NULL && h->status->value.known)
        r->flags |= PICO_F_BAD_START_LINE;
    r->code = (uint16_t)status;
    put_pairs(w, r, h->status, NULL);
    if (status >= 100 && status < 200) {
        r->flags |= PICO_F_INTERIM;
        return;
    }
    if (s == NULL)
        s = open_stream(w, f->stream);
    if (s == NULL)
        return;
    s->halves[w->me].flags |= HALF_HEAD;
    if (is_grpc(h))
        s->halves[w->me].flags |= HALF_MESSAGES;
    if (s->flags & STREAM_CONNECT && status >= 200 && status < 300) {
        r->framing = PICO_FRAMING_TUNNEL;
        r->content_length = 0;
        write_tunnel(w, s);
    }
}

/* Who sends the requests, as a block shows. */
static void note_roles(work *w, const head *h)
{
    if (w->block->client != 0)
        return;
    if (h->method != NULL || h->path != NULL || h->scheme != NULL || h->authority != NULL)
        w->block->client = (uint8_t)(1 + w->me);
    else if (h->status != NULL)
        w->block->client = (uint8_t)(2 - w->me);
}

enum kind { KIND_NONE, KIND_REQUEST, KIND_RESPONSE, KIND_TRAILERS };

/* What a block is. Which fields it has may be unknown: then it is what it must be, or nothing. */
static enum kind kind_of(const work *w, const head *h, const stream *s)
{
    const half *mine = s == NULL ? NULL : &s->halves[w->me];
    bool begun = mine != NULL && mine->flags & HALF_HEAD, gap = mine != NULL && mine->flags & HALF_GAP;
    if (w->block->client == 0 || (s != NULL && s->flags & STREAM_TUNNEL))
        return KIND_NONE;
    if (is_client(w))
        return !begun && h->pseudo ? KIND_REQUEST : s != NULL && !h->pseudo ? KIND_TRAILERS : KIND_NONE;
    if (h->status != NULL)
        return begun ? KIND_NONE : KIND_RESPONSE;
    if (begun)
        return KIND_TRAILERS;
    /* The first block of a response, of which the status is not known. */
    return s != NULL && !gap && decoded.unknown ? KIND_RESPONSE : KIND_NONE;
}

/* Writes what was decoded of the block that ends at w->pos. */
static void write_block(work *w, const frame *f, uint32_t start, bool good)
{
    head h = read_fields();
    note_roles(w, &h);
    stream *s = find_stream(w, f->stream);
    enum kind kind = kind_of(w, &h, s);
    if (kind != KIND_NONE) {
        pico_record *r = add_record(w, PICO_RECORD_TRAILERS, start, w->pos, f->stream);
        r->flags = flags_of_block(w, good);
        if (kind == KIND_REQUEST)
            write_request(w, &h, f, r);
        else if (kind == KIND_RESPONSE)
            write_response(w, &h, f, r, s);
        else
            put_pairs(w, r, NULL, NULL);
        w->call->out->text_len += decoded.text_len;
    }
    if (f->flags & FRAME_END_STREAM)
        end_half(w, f->stream, w->pos);
}

/* Whether the reply has room for what a block may say. */
static bool has_room_for(const work *w, uint32_t len)
{
    const call *c = w->call;
    uint32_t most = len < HPACK_FIELDS ? len : HPACK_FIELDS;
    return has_text(c, HPACK_TEXT + HPACK_SLACK) && c->in->max_pairs - c->out->num_pairs >= most;
}

enum step step_block(work *w, const frame *f)
{
    table *t = &w->extra->tables[w->me];
    uint32_t start = w->pos;
    located l;

    switch (find_block(w, f, &l)) {
    case FOUND_PART:
        return wait_for_more(w);
    case FOUND_LONG:
        return leave_block(w, f, PICO_ERROR_HEAD_TOO_LONG);
    case FOUND_BAD:
        return leave_block(w, f, PICO_ERROR_BAD_FRAME);
    case FOUND:
        break;
    }
    if (!has_room_for(w, l.end - start))
        return STEP_FULL;
    join_block(w, f, &l);
    if (!fits_extra(w, l.bytes, l.len) && wants_more(w))
        return STEP_GROW;
    decoded.text = w->call->text + w->call->out->text_len;
    bool good = hpack_decode(t, l.bytes, l.len, &decoded);
    if (!good || w->row->extra_size == 0) /* nothing of it is remembered */
        w->side->flags &= (uint8_t)~SIDE_WHOLE;
    w->pos = l.end;
    if (f->type == FRAME_HEADERS)
        write_block(w, f, start, good);
    return STEP_ON;
}
