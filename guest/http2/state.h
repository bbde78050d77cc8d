/* State: what the module remembers of a connection. The block holds the roles and where each side stands in its frames; the
 * extra state, which the host may drop, the open streams and the dynamic tables. These are packed there, since the host copies
 * what is in use for each call, and unpacked while events of the connection are answered. */
#ifndef PICOTAP_HTTP2_STATE_H
#define PICOTAP_HTTP2_STATE_H

#include "frames.h"
#include "hpack.h"
#include "module.h"

/* Number of the layout of block and extra state. Raise it with every change to them, or to their meanings. */
#ifndef STATE_FORMAT
#define STATE_FORMAT 3u
#endif

/* The longest header block, frames around it included. An arbitrary number below what may wait at the host. */
#define LONGEST_BLOCK 65000u
/* The most CONTINUATION frames of a block: more are a flood, and each look at a block that is not whole passes over all. */
#define MOST_CONTINUATIONS 64u
/* The most records of one unit of work, but for those of GOAWAY, which come one by one: a head, a tunnel, an end, an error. */
#define UNIT_RECORDS 4u

/* Bytes of a gRPC message before its own: compressed or not, and its length. */
#define MESSAGE_PREFIX 5u

/* What a side is in the middle of. */
enum phase {
    PHASE_PREFACE = 0, /* before its first byte, or in the preface, of which `left` says how much was read: the preface, or frames */
    PHASE_FRAME = 1,   /* before a frame */
    PHASE_DATA = 2,    /* in the data of a DATA frame */
    PHASE_PASS = 3,    /* in a frame, or the padding of one, that is not looked at */
    PHASE_BLOCK = 4,   /* in a header block that is not read: before a CONTINUATION */
    PHASE_SEARCH = 5,  /* searching for the start of a frame */
    PHASE_OVER = 6     /* given up, or ended */
};

/* Bits of side_state.flags. */
enum side_flag {
    SIDE_BEGUN = 1,  /* `expected` is known */
    SIDE_ENDS = 2,   /* open DATA frame: with its end the stream ends */
    SIDE_WHOLE = 4,  /* every header block of the side was read: its table is that of the encoder */
    SIDE_BLOCK = 32, /* PHASE_PASS: the frame belongs to a header block that is not read, and does not end it */
    SIDE_FOUND = 64  /* the frame that comes was found by searching, and no head since */
};

typedef struct side_state {
    uint64_t expected; /* offset of the next byte in the side's stream */
    uint64_t searched; /* search: bytes passed over */
    uint32_t left;     /* bytes of the open frame, padding excluded in DATA */
    uint32_t padding;  /* DATA: bytes of padding behind it */
    uint32_t stream;   /* of the open frame */
    uint8_t phase;
    uint8_t flags;
    uint8_t reserved[2];
} side_state;

/* The block. */
typedef struct block {
    uint8_t client;     /* 1 + the side that sends the requests, or 0 */
    uint8_t begun;      /* the rest is valid */
    uint8_t reserved[6];
    side_state sides[2];
    uint8_t unused[56];
} block;

_Static_assert(sizeof(block) == PICO_BLOCK_SIZE, "the block has the contract's size");

/* Bits of a stream's half. */
enum half_flag {
    HALF_HEAD = 1,    /* its head was seen */
    HALF_ENDED = 2,
    HALF_GAP = 4,     /* frames of it may have been lost: its sizes are not known */
    HALF_MESSAGES = 8 /* its data are messages of gRPC, which are counted */
};

/* What is known of a message of a stream. */
typedef struct half {
    uint64_t decoded;  /* bytes of data so far */
    uint64_t wire;     /* the same with padding and heads of frames */
    uint64_t lost;     /* of the data, bytes never seen */
    uint32_t left;     /* gRPC: bytes of the message; of a prefix that is not whole, its length so far */
    uint32_t messages; /* gRPC: messages begun */
    uint8_t prefix;    /* gRPC: bytes of the prefix seen */
    uint8_t flags;     /* half_flag */
    uint8_t reserved[6];
} half;

/* Bits of stream.flags. */
enum stream_flag {
    STREAM_CONNECT = 1,   /* the request is CONNECT */
    STREAM_WEBSOCKET = 2, /* extended CONNECT (RFC 8441): to WebSocket ... */
    STREAM_OTHER = 4,     /* ... or to something else */
    STREAM_TUNNEL = 8     /* it carries something else: no more is said of it */
};

/* An open stream. */
typedef struct stream {
    uint32_t id; /* 0: free */
    uint32_t flags;
    half halves[2]; /* by side */
} stream;

/* The most open streams. */
#define MOST_STREAMS 256u

/* The extra state, unpacked. */
typedef struct extra {
    uint32_t num_streams; /* streams before this are in use, at most */
    uint32_t most_streams;
    stream streams[MOST_STREAMS];
    table tables[2]; /* by side */
} extra;

/* One event of a call. */
typedef struct work {
    call *call;
    const pico_event *event;
    pico_row *row;
    block *block;
    side_state *side;     /* the event's side of the block */
    const uint8_t *bytes; /* the event's bytes */
    extra *extra;
    uint32_t len;
    uint32_t pos;         /* bytes consumed */
    uint32_t index;       /* of the event */
    uint32_t next_mark;   /* marks before this one lie before pos */
    uint8_t me;           /* the side */
    bool final;           /* these bytes are not presented again */
} work;

/* The outcome of a step. */
enum step { STEP_ON, STEP_MORE, STEP_FULL, STEP_GROW, STEP_HAND_OVER };

static inline uint32_t number_at(const uint8_t *at)
{
    return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

/* Whether this side sends the requests. */
static inline bool is_client(const work *w)
{
    return w->block->client == 1u + w->me;
}

/* Room for another unit of work. */
static inline bool has_room(const work *w)
{
    return has_records(w->call, UNIT_RECORDS);
}

/* ---- extra.c: the extra state ------------------------------------------------------------------------------------------ */

/* Unpacks the extra state, unless the event before has left it so. */
void open_extra(work *w);
/* Packs it, unless the next event is the row's too and goes on with it. */
void close_extra(work *w, const pico_result *result);
/* Whether there is room for another stream, and for all that a header block adds to the table of its side. */
bool fits_extra(const work *w, const uint8_t *block, uint32_t len);
/* Asks for more extra state than there is, if that may be had. */
bool wants_more(work *w);

/* ---- http2.c: frames ---------------------------------------------------------------------------------------------------- */

/* Leaves a frame of which no more than `read` bytes behind its head are looked at. */
enum step pass_frame(work *w, const frame *f, uint32_t read);

/* ---- streams.c: the open streams ---------------------------------------------------------------------------------------- */

/* The open stream of this number, or NULL. */
stream *find_stream(work *w, uint32_t id);
/* A new one, in place of the oldest if there are too many. NULL: there is no room for any. */
stream *open_stream(work *w, uint32_t id);
/* Whether there is room for another. */
bool has_stream(const work *w);
/* A new record, zero except for kind, side, event, positions and stream. The caller has asked for room. */
pico_record *add_record(work *w, unsigned kind, uint32_t start, uint32_t end, uint32_t id);
/* This side's message of a stream ends at `at` of the event. */
void end_half(work *w, uint32_t id, uint32_t at);
/* Data of a stream, or what was not shown of it: `lost` bytes of it were never seen. */
void take_data(work *w, stream *s, const uint8_t *bytes, uint32_t count, uint32_t lost);
/* The sender of this event has given a stream up. */
void reset_stream(work *w, uint32_t id, uint32_t at, uint32_t code);
/* An open stream that the client has opened, of a number above this, or NULL. */
stream *stream_above(work *w, uint32_t last);
/* Frames of this side were lost. */
void lose_frames(work *w);

/* ---- head.c: header blocks ---------------------------------------------------------------------------------------------- */

/* The HEADERS or PUSH_PROMISE frame at w->pos, with the CONTINUATIONs behind it. */
enum step step_block(work *w, const frame *f);

/* ---- search.c: the search for a frame ------------------------------------------------------------------------------------ */

enum step step_search(work *w);
/* The rest of what is read at w->pos is not there. */
enum step wait_for_more(work *w);
/* Bytes of this side are gone, or not to be read: its table is unknown, and a frame is searched for. */
void enter_search(work *w);

#endif
