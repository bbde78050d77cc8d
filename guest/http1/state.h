/* State: what the guest remembers of a connection between calls (the opaque block), and what it holds while it works on
 * one event. Nothing else survives: there is no mutable static data beyond the places of the two buffers. */
#ifndef PICOTAP_STATE_H
#define PICOTAP_STATE_H

#include "module.h"

/* Number of the layout of `block`. Raise it with every change to the structures or the meanings below. A test builds the
 * same source with another number. */
#ifndef STATE_FORMAT
#define STATE_FORMAT 5u
#endif

/* The longest head, chunk-size line or trailer section: one byte less than may wait at the host. */
#define UNIT_LIMIT (PICO_MAX_WAITING - 1u)
/* The most records of one unit of work: a head, a tunnel, an end and an error. */
#define UNIT_RECORDS 4u
/* The shortest head that a request can have. Less than that may be an empty line behind a body, or a FIN, which
 * acknowledgements count as a byte. */
#define SHORTEST_HEAD (sizeof("A / HTTP/1.0\r\n\r\n") - 1)
/* Unanswered requests whose kind is remembered. */
#define WINDOW 104u

/* For what ordinary traffic does not need: kept out of its way. */
#define COLD __attribute__((noinline, cold))

/* What a side is in the middle of. */
enum phase {
    PHASE_START = 0,      /* before a head */
    PHASE_LENGTH = 1,     /* in a body of known length */
    PHASE_CLOSE = 2,      /* in a body that ends with the stream */
    PHASE_CHUNK_SIZE = 3, /* before a chunk-size line */
    PHASE_CHUNK_DATA = 4,
    PHASE_CHUNK_CRLF = 5, /* after a chunk's data */
    PHASE_TRAILER = 6,    /* after the last chunk's line */
    PHASE_BROKEN = 7,     /* in a chunked body whose framing was cut: a gap or the end follows */
    PHASE_RESYNC = 8,     /* searching for a start line */
    PHASE_CONNECT = 9,    /* client: after CONNECT, before the answer */
    PHASE_GUESS = 10,     /* client: after CONNECT, sending before the answer: assumed a tunnel until refused */
    PHASE_TUNNEL = 11,    /* the connection carries something else */
    PHASE_OVER = 12,      /* not HTTP, or given up */
    PHASE_ENDED = 13,
    PHASE_RELAY = 14      /* both sides: in the handshake of SOCKS, see relay.c */
};

/* Bits of block.side_flags. */
enum side_flag {
    SIDE_SPOKE = 1,           /* a head was seen on this side */
    SIDE_GAP = 2,             /* open message: bytes of it were never seen */
    SIDE_CHUNK_ODD = 4,       /* open message */
    SIDE_CHUNK_EXTENSION = 8, /* open message */
    SIDE_NUMBERED = 16,       /* open response: it answers request `answered` */
    SIDE_LINE_OK = 32,        /* waiting head: its start line is good */
    SIDE_ASSUMED = 64,        /* open response: which request it answers is not known, so it may have no body */
    SIDE_WAITS = 128          /* bytes of the side wait at the host */
};

/* Bits of block.shared. */
enum shared_flag {
    SHARED_CLIENT0 = 1, /* side 0 sends the requests */
    SHARED_CLIENT1 = 2,
    SHARED_UNSURE = 4,  /* loss hid message boundaries: which request a response answers is not known */
    SHARED_SETTLED = 8, /* unsure, and since then a response acknowledged every request before it */
    SHARED_TUNNEL = 16, /* the server has switched; the client follows when its message is complete */
    SHARED_CONNECT = 32,/* the last request is CONNECT: while sure, nothing is asked behind it before its answer */
    SHARED_HOLE = 64,   /* behind the last request, bytes of the client's were lost, or a head was not read: maybe a request */
    SHARED_AHEAD = 128  /* a response may have come before its request: what it acknowledged had not come, or is not known */
};

enum request_kind { KIND_PLAIN = 0, KIND_HEAD = 1, KIND_CONNECT = 2 };

/* A side of a connection. The phase says which member of a union is valid; outside of bodies and searches all are zero. */
typedef struct side_state {
    uint64_t expected; /* offset of the next byte in the side's stream */
    union {
        uint64_t remaining; /* length, chunk data: bytes left of it */
        uint64_t line;      /* chunk size, trailer: offset up to which no end was found */
        uint64_t candidate; /* resync: offset of the waiting start line, or PICO_FOREVER */
        uint64_t command;   /* relay, the side that asks: what for */
    };
    union {
        uint64_t decoded; /* bodies: bytes so far, without chunk framing */
        uint64_t passed;  /* resync: bytes searched */
    };
    union {
        uint64_t overhead; /* chunked: bytes of framing so far */
        struct {
            uint32_t tries;  /* resync: segment starts tried; relay: the step */
            uint32_t failed; /* resync: of these, plausible start lines without a good head; relay: the version */
        };
    };
    union {
        uint64_t lost;     /* bodies: of the decoded bytes, how many were never seen */
        uint64_t searched; /* start, resync: offset up to which the waiting head was found not to end */
    };
} side_state;

typedef struct block {
    side_state sides[2];
    uint64_t last_request_end; /* stream offset: end of the last request, or of its head while its body is open */
    uint64_t began_acked;      /* assumed body: what the server had acknowledged with the response's head */
    uint32_t requests;         /* request heads seen */
    uint32_t answered;         /* of these, how many have their final response */
    uint8_t heads[WINDOW / 8]; /* bit n % WINDOW: request n is HEAD; zero once answered */
    uint8_t phase[2];
    uint8_t side_flags[2];
    uint8_t shared;
    uint8_t failed;            /* assumed body: plausible status lines in it without a good head */
    uint8_t splits;            /* events given back for the acknowledgement of a later segment: see exact_ack */
    uint8_t cut;               /* the last request's head was cut, and no range behind it was passed over yet */
    uint8_t reserved[3];
} block;

_Static_assert(sizeof(block) == PICO_BLOCK_SIZE, "the block is all the memory of a connection");

/* One event of a call. */
typedef struct work {
    call *call;
    const pico_event *event;
    block *block;
    side_state *side;      /* the event's side of the block */
    const uint8_t *bytes;  /* the event's bytes */
    uint32_t len;
    uint32_t pos;          /* bytes consumed */
    uint32_t body;         /* where the open message's body starts in this event */
    uint32_t index;        /* of the event */
    uint32_t next_mark;    /* marks before this one lie before pos */
    uint8_t me;            /* the side */
    bool midstream;        /* the connection's start was not captured */
    bool nests;            /* what is in a tunnel may become a stream of its own */
    bool inner;            /* from w->pos on it does */
    uint8_t hand_to;       /* the module that goes on */
    uint8_t opener;        /* the side that opened the connection, or PICO_OPENER_UNKNOWN */
    bool final;            /* these bytes are not presented again */
    uint32_t bodies;       /* the host wants so many bytes at the front of each body */
} work;

/* The outcome of a step. */
enum step {
    STEP_ON,       /* bytes were consumed or the phase changed */
    STEP_MORE,     /* the rest waits for any byte */
    STEP_MORE_LF,  /* the rest waits for a line end */
    STEP_FULL,     /* no room in the output, or to be presented again for another reason */
    STEP_INNER,    /* what follows on both sides is a stream of its own */
    STEP_HAND_OVER /* another module goes on */
};

/* ---- small questions ---------------------------------------------------------------------------------------------- */

static inline uint8_t *phase_of(work *w)
{
    return &w->block->phase[w->me];
}

static inline uint8_t *flags_of(work *w)
{
    return &w->block->side_flags[w->me];
}

/* Offset in the stream of a position in the event. */
static inline uint64_t offset_at(const work *w, uint32_t pos)
{
    return w->event->offset + pos;
}

static inline bool client_known(const block *b)
{
    return (b->shared & (SHARED_CLIENT0 | SHARED_CLIENT1)) != 0;
}

static inline bool is_client(const block *b, unsigned side)
{
    return (b->shared & (side == 0 ? SHARED_CLIENT0 : SHARED_CLIENT1)) != 0;
}

static inline bool is_server(const block *b, unsigned side)
{
    return is_client(b, side ^ 1u);
}

/* A side that has said nothing yet, of a connection whose other side was given up: it may only be a server that answers, with
 * an error, what was no HTTP. */
static inline bool is_beside(const block *b, unsigned side)
{
    return b->phase[side ^ 1u] == PHASE_OVER && !((b->side_flags[0] | b->side_flags[1]) & SIDE_SPOKE);
}

static inline bool in_body(unsigned phase)
{
    return phase >= PHASE_LENGTH && phase <= PHASE_BROKEN;
}

/* ---- message.c: messages and their records ------------------------------------------------------------------------- */

/* Room for another unit of work. */
bool has_room(const work *w);
/* A new record, zero except for kind, side, event, start and end. The caller has checked has_room. */
pico_record *add_record(work *w, unsigned kind, uint32_t start, uint32_t end);
void add_error(work *w, unsigned code, uint32_t start, uint32_t end);
/* The open message (of `number`) ends at stream offset `at`; `start` and `end` are its positions in this event. */
void end_message(work *w, uint32_t number, uint32_t flags, uint64_t at, uint32_t start, uint32_t end);
/* The number of the message that is open on this side. */
uint32_t open_number(const work *w);
/* Starts a search for a start line. */
void enter_resync(work *w);
/* The side does not speak HTTP/1; nor does the other, if it has not spoken it yet and is being searched. */
void give_up(work *w, unsigned code, uint32_t at);
/* The server has switched to another protocol: both sides leave HTTP, the client when its message is complete. */
void open_tunnel(work *w);

/* ---- pairing.c: which request a response answers --------------------------------------------------------------------- */

void request_seen(block *b, unsigned kind, uint64_t end);
typedef struct pairing {
    uint32_t number; /* 0: none, or not known */
    uint32_t flags;
    unsigned kind;   /* of the request, for framing */
} pairing;
pairing pair_response(work *w, unsigned status);
void become_unsure(block *b);
/* Whether the event's acknowledgement is that of the segment at w->pos. If not, the rest must be presented again
 * (STEP_FULL): then it carries its own. */
bool exact_ack(work *w);
/* Whether acknowledgements say what a response on this side answers, or where it ends. */
bool pairs_by_ack(work *w);
unsigned kind_of(const block *b, uint32_t number);

/* ---- the steps: each works at w->pos, with at least one byte there ---------------------------------------------------- */

/* The next position from w->pos on at which a segment starts; w->len if there is none. */
uint32_t next_segment(work *w);     /* resync.c */
/* Checks for a head at w->pos, in the body of a response that may have none. */
enum step look_for_head(work *w);   /* resync.c */
enum step step_start(work *w);      /* start.c */
enum step step_resync(work *w);     /* resync.c */
enum step step_last_try(work *w);   /* start.c */
/* The module of HTTP/2 goes on, if there is one: else STEP_ON. `client`: 1 + the side that sends requests, or 0. */
enum step hand_to_http2(work *w, unsigned client); /* start.c */
enum step step_chunk_size(work *w); /* chunked.c */
enum step step_chunk_crlf(work *w); /* chunked.c */
enum step step_trailer(work *w);    /* chunked.c */
/* At the start of a connection: reads a PROXY header, or begins with SOCKS. STEP_ON: it is neither. */
enum step start_relay(work *w);     /* relay.c */
enum step step_relay(work *w);      /* relay.c */

#endif
