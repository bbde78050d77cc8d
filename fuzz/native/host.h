/* A small host for a guest that is compiled natively: it keeps what waits, defers, skips and presents again as the contract
 * (guest/abi.h) says and as src/sandbox does, and refuses a reply as src/sandbox/memory.rs does. */
#ifndef PICOTAP_NATIVE_HOST_H
#define PICOTAP_NATIVE_HOST_H

#include <stdbool.h>

#include "abi.h"

#define MOST_CONNECTIONS 3u
#define MOST_EVENTS 64u
#define MOST_PIECE 65536u
/* What can wait of one side: after need_more PICO_MAX_WAITING, after output_full or grow all of what was joined. */
#define MOST_HELD (PICO_MAX_WAITING + 2 * MOST_PIECE)
#define MOST_MARKS 1024u

/* Something that happens on a side, in the order of its connection. */
typedef struct piece {
    struct piece *next;
    uint8_t side;
    uint8_t kind;         /* pico_event_kind */
    uint8_t reason;
    uint8_t flags;        /* SEGMENT, INEXACT, SHED */
    uint64_t offset;      /* in the TCP stream */
    uint64_t acked;
    const uint8_t *bytes;
    uint32_t len;
    uint64_t length, lost; /* void */
} piece;

/* Bytes that wait at the host for more of their side. */
typedef struct waiting {
    bool any;
    bool segment;          /* byte 0 starts a segment */
    bool again, last;      /* to be presented at once; as final */
    bool wakes;
    uint8_t wake;
    uint64_t offset, acked;
    uint32_t len, seen, num_marks;
    uint32_t marks[MOST_MARKS];
    uint8_t bytes[MOST_HELD];
} waiting;

/* A range that the guest is not shown. */
typedef struct skipped {
    bool any, ready, inexact;
    uint64_t offset, length, lost, acked;
} skipped;

typedef struct half {
    waiting waiting;
    skipped skipped;
    uint64_t next;         /* offset behind all that was presented, waits or is skipped */
    uint64_t skip;         /* below it the guest needs nothing */
    uint64_t base;         /* offset in the TCP stream at which the stream inside a tunnel begins */
    unsigned stalls;
} half;

typedef struct connection {
    piece *first;          /* what comes next */
    piece **end;
    half halves[2];
    uint8_t block[PICO_BLOCK_SIZE];
    uint8_t opener, depth, handed_by, hand_overs;
    bool midstream;
    bool gone;             /* another module's now */
    bool unseen;           /* handed over, and not yet shown */
    bool unconsumed;       /* handed over, and nothing consumed since */
    bool extra_lost, refused;
    unsigned growths, window;
    uint32_t extra_size, extra_used;
    uint8_t extra[PICO_MAX_EXTRA];
} connection;

/* Choices of the host. */
typedef struct manner {
    bool skips;            /* does what `skip` allows */
    bool wakes;            /* does what `wake` allows */
    bool strict;           /* shows nothing behind a gap, and only so many pieces, beside what it shows already */
    bool alone;            /* knows no other protocol */
    uint32_t max_records;
    uint32_t most_extra;   /* more is refused */
} manner;

/* An event as it was laid out in a call. */
typedef struct encoded {
    connection *of;
    pico_event event;
    uint32_t row;
    const waiting *waits;  /* it begins with what waited */
    piece *pieces;         /* then come so many of these */
    unsigned num_pieces;
    piece *after;          /* what comes next behind it */
    bool first_of_row;
} encoded;

/* A call, laid out in the guest's memory. */
typedef struct host_call {
    unsigned num_events, num_rows;
    encoded events[MOST_EVENTS];
    connection *of_row[MOST_CONNECTIONS];
    const pico_input *in;
    const pico_row *rows;
    const uint32_t *marks;
    const uint8_t *arena;
    const pico_output *out;
    const pico_result *results;
    const pico_record *records;
    const pico_pair *pairs;
    uint32_t own_protocol, num_protocols;
} host_call;

/* Starts the guest's module: once. */
void host_start(void);
/* Index of the module's protocol among those that the host knows. */
uint32_t host_protocol(void);
/* A new connection. */
void host_open(connection *c);
/* Takes what is queued of all connections through the guest. */
void host_run(connection *connections, unsigned count, const manner *how);
/* Ends the program, if the host would refuse a reply. */
void check_reply(const host_call *call);
_Noreturn void fail(const char *rule, uint64_t item, uint64_t value);

#endif
