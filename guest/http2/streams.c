/* The open streams: what was seen of their messages. */
#include "state.h"

stream *find_stream(work *w, uint32_t id)
{
    extra *x = w->extra;
    for (uint32_t i = 0; i < x->num_streams; ++i)
        if (x->streams[i].id == id)
            return &x->streams[i];
    return NULL;
}

bool has_stream(const work *w)
{
    const extra *x = w->extra;
    if (x->num_streams < x->most_streams)
        return true;
    for (uint32_t i = 0; i < x->num_streams; ++i)
        if (x->streams[i].id == 0)
            return true;
    return false;
}

stream *open_stream(work *w, uint32_t id)
{
    extra *x = w->extra;
    stream *oldest = &x->streams[0], *place = NULL;
    if (w->row->extra_size == 0)
        return NULL;
    for (uint32_t i = 0; i < x->num_streams && place == NULL; ++i) {
        if (x->streams[i].id == 0)
            place = &x->streams[i];
        else if (x->streams[i].id < oldest->id)
            oldest = &x->streams[i];
    }
    if (place == NULL)
        place = x->num_streams < x->most_streams ? &x->streams[x->num_streams++] : oldest;
    *place = (stream){.id = id};
    for (unsigned side = 0; side < 2; ++side) /* a DATA frame of it that began before was not counted */
        if (w->block->sides[side].phase == PHASE_DATA && w->block->sides[side].stream == id)
            place->halves[side].flags |= HALF_GAP;
    return place;
}

/* A stream of which nothing more is to be remembered. */
static void close_stream(work *w, stream *s)
{
    extra *x = w->extra;
    s->id = 0;
    while (x->num_streams != 0 && x->streams[x->num_streams - 1].id == 0)
        --x->num_streams;
}

pico_record *add_record(work *w, unsigned kind, uint32_t start, uint32_t end, uint32_t id)
{
    pico_record *r = new_record(w->call, w->index, kind, start, end);
    r->number = r->stream = id;
    return r;
}

void end_half(work *w, uint32_t id, uint32_t at)
{
    stream *s = find_stream(w, id);
    if (s != NULL && s->flags & STREAM_TUNNEL) {
        s->halves[w->me].flags |= HALF_ENDED;
        if (s->halves[w->me ^ 1u].flags & HALF_ENDED)
            close_stream(w, s);
        return;
    }
    half *mine = s == NULL ? NULL : &s->halves[w->me];
    if (mine != NULL && mine->flags & HALF_ENDED)
        return;
    pico_record *r = add_record(w, PICO_RECORD_END, at, at, id);
    if (mine == NULL || mine->flags & HALF_GAP) {
        r->flags = PICO_F_UNPAIRED | (mine != NULL ? PICO_F_GAP : 0);
    } else {
        r->content_length = mine->wire;
        r->decoded = mine->decoded;
        r->lost = mine->lost;
        r->flags = mine->lost != 0 ? PICO_F_GAP : 0;
        if (mine->flags & HALF_MESSAGES)
            r->target_len = mine->messages + 1;
    }
    if (s == NULL)
        return;
    const half *other = &s->halves[w->me ^ 1u];
    if (other->flags & HALF_GAP && !(other->flags & HALF_ENDED))
        r->flags |= PICO_F_REQUEST_LOST;
    mine->flags |= HALF_ENDED;
    /* A server has the last word, unless the rest of the request is still to come. */
    bool unseen = !is_client(w) && (other->flags & HALF_GAP || !(other->flags & HALF_HEAD));
    if (other->flags & HALF_ENDED || unseen)
        close_stream(w, s);
}

void reset_stream(work *w, uint32_t id, uint32_t at, uint32_t code)
{
    stream *s = find_stream(w, id);
    if (s == NULL || !(s->flags & STREAM_TUNNEL)) {
        pico_record *r = add_record(w, PICO_RECORD_RESET, at, at, id);
        r->content_length = code;
    }
    if (s != NULL)
        close_stream(w, s);
}

stream *stream_above(work *w, uint32_t last)
{
    extra *x = w->extra;
    for (uint32_t i = 0; i < x->num_streams; ++i) {
        stream *s = &x->streams[i];
        if (s->id > last && s->id & 1)
            return s;
    }
    return NULL;
}

/* The prefixes of messages: one after the other, each followed by as many bytes as it says. */
static void count_messages(half *h, const uint8_t *bytes, uint32_t count)
{
    uint32_t pos = 0;
    while (pos < count) {
        if (h->prefix == MESSAGE_PREFIX) {
            uint32_t part = count - pos < h->left ? count - pos : h->left;
            h->left -= part;
            pos += part;
            if (h->left == 0)
                h->prefix = 0;
            continue;
        }
        if (h->prefix == 0) {
            h->left = 0;
            ++h->messages;
        } else {
            h->left = h->left << 8 | bytes[pos];
        }
        ++pos;
        if (++h->prefix == MESSAGE_PREFIX && h->left == 0)
            h->prefix = 0;
    }
}

void take_data(work *w, stream *s, const uint8_t *bytes, uint32_t count, uint32_t lost)
{
    if (s == NULL)
        return;
    half *h = &s->halves[w->me];
    h->lost += lost;
    if (!(h->flags & HALF_MESSAGES))
        return;
    if (bytes != NULL) {
        count_messages(h, bytes, count);
    } else if (h->prefix == MESSAGE_PREFIX && count <= h->left) {
        h->left -= count;
        if (h->left == 0)
            h->prefix = 0;
    } else {
        h->flags &= (uint8_t)~HALF_MESSAGES;
    }
}

void lose_frames(work *w)
{
    extra *x = w->extra;
    for (uint32_t i = 0; i < x->num_streams; ++i) {
        half *h = &x->streams[i].halves[w->me];
        if (!(h->flags & HALF_ENDED)) {
            h->flags |= HALF_GAP;
            h->flags &= (uint8_t)~HALF_MESSAGES;
        }
    }
}
