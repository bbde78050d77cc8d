/* What a fuzzer drives: its input becomes what happens on connections.
 *
 * Four bytes say how the host behaves; then come steps. A step is 0xff, a byte that says what happens, its arguments, and the
 * payload up to the next step, in which 0xff stands twice for itself: so a byte more or less changes one step only.
 *
 *   what happens   bits 0-1: connection; bit 2: side; bits 3-5: enum step_kind; bits 6-7: variant */
#include <stdlib.h>
#include <string.h>

#include "host.h"
#include "http2/notes.h"

enum step_kind {
    STEP_SEGMENT = 0,  /* a segment; variant 1: the rest of one */
    STEP_REPEATED = 1, /* as one segment, or (variant 1) as many: the payload so many times as the argument says, and once */
    STEP_GAP = 2,      /* bytes that were never seen: argument; variant 1: at most so many, 2: shed */
    STEP_VOID = 3,     /* a range left out by the capture thread: argument; variant 0: all lost, 1: half, 2: none */
    STEP_END = 4,      /* argument: the reason */
    STEP_ACKS = 5,     /* acknowledgements from here on: argument; variant 1: up to what was sent so far, 2: none known */
    STEP_CALL = 6,     /* variant 1: extra state is dropped after it */
    STEP_NOTHING = 7
};

#define POOL_BYTES (4u << 20)
#define MOST_PIECES 8192u

static connection connections[MOST_CONNECTIONS];
static piece pieces[MOST_PIECES];
static uint8_t *pool;
static uint32_t num_pieces, pool_used;

/* What the wire has shown of a connection. */
static struct sent {
    uint64_t offset[2], acked[2];
    bool ended[2], follows[2];
    uint8_t gap[2]; /* flags of the gap before the next event */
} sent[MOST_CONNECTIONS];

static const uint8_t *input, *input_end;

static uint8_t byte(void)
{
    return input == input_end ? 0 : *input++;
}

/* A length: the top bits scale the others. */
static uint64_t length(void)
{
    static const uint8_t shifts[] = {0, 6, 12, 30};
    uint8_t b = byte();
    return (uint64_t)(b & 63) << shifts[b >> 6];
}

/* The payload up to the next step, into the pool. */
static uint32_t payload(uint8_t *to)
{
    uint32_t len = 0;
    while (input != input_end && len < MOST_PIECE) {
        if (*input == 0xff) {
            if (input_end - input < 2 || input[1] != 0xff)
                break;
            ++input;
        }
        to[len++] = *input++;
    }
    return len;
}

static piece *add(connection *c, uint8_t side, uint8_t kind)
{
    struct sent *s = &sent[c - connections];
    piece *p = &pieces[num_pieces++];
    *p = (piece){.side = side, .kind = kind, .flags = s->gap[side], .offset = s->offset[side], .acked = s->acked[side]};
    s->gap[side] = 0;
    *c->end = p;
    c->end = &p->next;
    return p;
}

static bool has_room(uint32_t of_pieces)
{
    return MOST_PIECES - num_pieces >= of_pieces && POOL_BYTES - pool_used >= 2 * MOST_PIECE;
}

static void add_bytes(connection *c, uint8_t side, const uint8_t *bytes, uint32_t len, bool segment)
{
    if (len == 0)
        return;
    piece *p = add(c, side, PICO_EVENT_BYTES);
    p->bytes = bytes;
    p->len = len;
    p->flags |= segment ? PICO_EVENT_SEGMENT : 0;
    sent[c - connections].offset[side] += len;
}

static void segment(connection *c, uint8_t side, bool starts)
{
    uint32_t len = payload(pool + pool_used);
    add_bytes(c, side, pool + pool_used, len, starts);
    pool_used += len;
}

static void repeated(connection *c, uint8_t side, bool as_many)
{
    uint32_t count = 1u + byte(), len = payload(pool + pool_used), all = len;
    uint8_t *bytes = pool + pool_used;
    for (; as_many && count > 1 && has_room(2); --count)
        add_bytes(c, side, bytes, len, true);
    for (; count > 1 && all + len <= MOST_PIECE; --count, all += len)
        memcpy(bytes + all, bytes, len);
    add_bytes(c, side, bytes, all, true);
    pool_used += all;
}

static void take_step(unsigned count, const manner *how)
{
    uint8_t what = byte(), side = what >> 2 & 1, variant = what >> 6;
    connection *c = &connections[(what & 3) % count];
    struct sent *s = &sent[c - connections];

    if (s->ended[side])
        return;
    switch (what >> 3 & 7) {
    case STEP_SEGMENT:
        segment(c, side, variant != 1);
        break;
    case STEP_REPEATED:
        repeated(c, side, variant == 1);
        break;
    case STEP_GAP:
        s->offset[side] += length();
        s->gap[side] |= variant == 1 ? PICO_EVENT_INEXACT : variant == 2 ? PICO_EVENT_SHED : 0;
        break;
    case STEP_VOID: {
        uint64_t range = length();
        if (range == 0)
            break;
        piece *p = add(c, side, PICO_EVENT_VOID);
        p->length = range;
        p->lost = variant == 0 ? range : variant == 1 ? range / 2 : 0;
        s->offset[side] += range;
        break;
    }
    case STEP_END:
        add(c, side, PICO_EVENT_END)->reason = (uint8_t)(PICO_END_FIN + byte() % PICO_END_CAPTURE);
        s->ended[side] = true;
        break;
    case STEP_ACKS:
        s->acked[side] = variant == 1 ? s->offset[side ^ 1] : variant == 2 ? PICO_UNKNOWN : length();
        break;
    case STEP_CALL:
        host_run(connections, count, how);
        if (variant == 1 && c->extra_used != 0) {
            c->extra_used = 0;
            c->extra_lost = true;
        }
        break;
    default:
        break;
    }
}

/* What another module has left of a side. */
static void leave(connection *c, unsigned side, const char *bytes, uint32_t len)
{
    half *h = &c->halves[side];
    h->waiting = (waiting){.any = true, .segment = true, .again = true, .offset = h->next, .acked = PICO_UNKNOWN, .len = len};
    memcpy(h->waiting.bytes, bytes, len);
    h->next += len;
    sent[c - connections].offset[side] += len;
}

/* The module of HTTP/1 has recognised HTTP/2: by a client's preface (while the server may have said something, too), by a server's
 * settings, or in mid-stream. */
static void from_http1(connection *c, unsigned client, bool by_preface, bool both)
{
    http2_note note = {.client = (uint8_t)client};
    memcpy(c->block, &note, sizeof(note));
    c->handed_by = 1;
    if (client != 0 && by_preface)
        leave(c, client - 1, "PRI * HTTP/2.0", 14);
    else if (client != 0)
        leave(c, 2 - client, "\0\0\0\4\0\0\0\0", 9);
    if (client != 0 && by_preface && both)
        leave(c, 2 - client, "HTTP/1.1 200 OK\r\n", 17);
}

/* The server answers what the module of HTTP/2 has read from the client in HTTP/1. */
static void from_http2(connection *c, unsigned client)
{
    http1_note note = {.expected = {c->halves[0].next, c->halves[1].next}, .client = (uint8_t)client};
    memcpy(c->block, &note, sizeof(note));
    c->handed_by = 2;
    leave(c, client ^ 1, "HTTP/", 5);
}

/* A connection that another module has had before. */
static void hand_over(connection *c, uint8_t bits)
{
    for (unsigned side = 0; side < 2; ++side)
        sent[c - connections].offset[side] = c->halves[side].next = 100u * (bits >> (2 + side) & 1u);
    c->hand_overs = 1;
    c->unseen = c->unconsumed = true;
    if (host_protocol() == 1)
        from_http1(c, (bits & 3) % 3, bits & 16, bits & 32);
    else
        from_http2(c, bits & 1);
}

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc;
    (void)argv;
    host_start();
    pool = malloc(POOL_BYTES);
    return pool == NULL;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    input = data;
    input_end = data + size;
    num_pieces = pool_used = 0;
    memset(sent, 0, sizeof(sent));
    uint8_t host = byte(), start = byte(), extra = byte(), handed = byte();
    unsigned count = 1 + (host & 3) % MOST_CONNECTIONS;
    manner how = {.skips = host & 4,
                  .wakes = host & 8,
                  .strict = host & 16,
                  .alone = host & 32,
                  .max_records = host & 64 ? 8 : 64,
                  .most_extra = PICO_EXTRA_UNIT * (extra & 127),
                  .bodies = start & 128 ? extra & 128 ? 100000 : 20 : 0};
    for (unsigned i = 0; i < count; ++i) {
        connection *c = &connections[i];
        host_open(c);
        c->midstream = start >> i & 1;
        c->opener = (start >> 3 & 3) % 3;
        c->depth = (start >> 5 & 3) % 3;
        sent[i].acked[0] = sent[i].acked[1] = PICO_UNKNOWN;
        if (handed >> 6 != 0 && !how.alone && host_protocol() < 2)
            hand_over(c, handed);
    }
    while (input != input_end && has_room(300)) {
        if (*input++ != 0xff)
            continue;
        take_step(count, &how);
        if (host & 128)
            host_run(connections, count, &how);
    }
    host_run(connections, count, &how);
    for (unsigned i = 0; i < count; ++i)
        for (uint8_t side = 0; side < 2; ++side)
            if (!sent[i].ended[side])
                add(&connections[i], side, PICO_EVENT_END)->reason = PICO_END_CAPTURE;
    host_run(connections, count, &how);
    return 0;
}
