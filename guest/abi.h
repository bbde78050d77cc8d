/* The contract between picotap and a parser in the sandbox, version 2.
 *
 * Everything that passes between host and guest is in this file. src/abi.rs mirrors it, and a test compares the two.
 * All integers are little-endian and of fixed width, there are no pointers, and reserved bytes are zero. Every text is
 * a pair (position, length) and may hold any byte: nothing is ended by NUL.
 *
 * A module parses one protocol. One call of pico_parse_events(n) reads an input buffer and fills an output buffer. The
 * guest keeps nothing between calls: what it must remember about a connection stands in the connection's row and in the
 * extra state that the row points to, which the host carries.
 *
 * input buffer    pico_input, pico_event[], pico_row[], u32 marks[], pico_protocol[], states (bytes), arena (bytes)
 * output buffer   pico_output, pico_result[], pico_record[], pico_pair[], text (bytes)
 *
 * Offsets in pico_input are bytes from the start of the buffer that they speak of.
 */
#ifndef PICOTAP_ABI_H
#define PICOTAP_ABI_H

#include <stddef.h>
#include <stdint.h>

#define PICO_ABI_VERSION 2u

/* More headers than this in one head are odd (PICO_F_TOO_MANY_HEADERS). */
#define PICO_MAX_HEADERS 128u
/* The most pairs of one record. */
#define PICO_MAX_PAIRS 1024u
/* The most bytes that may wait at the host for one side (verdict need_more). */
#define PICO_MAX_WAITING 65536u
/* Bytes of state that every connection has, all zero for a new connection, opaque to the host. */
#define PICO_BLOCK_SIZE 128u
/* Extra state of a connection comes in units of so many bytes (verdict grow), ... */
#define PICO_EXTRA_UNIT 1024u
/* ... at most so many bytes, ... */
#define PICO_MAX_EXTRA 65536u
/* ... and is asked for at most so many times. */
#define PICO_MAX_GROWTHS 4u
/* The most times that a connection changes its protocol (verdict hand over). */
#define PICO_MAX_HAND_OVERS 4u
/* The most streams inside one another: a TCP connection has depth 0, what a tunnel in it carries depth 1, and so on. */
#define PICO_MAX_DEPTH 2u
/* Bytes of a protocol's name, padded with zeros: a-z, 0-9 and '-', at least one. */
#define PICO_NAME_SIZE 16u
/* The most protocols that the host knows at once. */
#define PICO_MAX_PROTOCOLS 16u
/* In the position of a text: it lies in the text area of the output, not in the event. */
#define PICO_TEXT (1u << 31)
/* A text area has at least so many bytes. */
#define PICO_MIN_TEXT 65536u
/* "To the end of the stream" as a skip, "not known" as an acknowledgement. */
#define PICO_FOREVER UINT64_MAX
#define PICO_UNKNOWN UINT64_MAX

/* ---- exports ------------------------------------------------------------------------------------------------------
 * uint32_t pico_abi_version(void)       PICO_ABI_VERSION
 * uint32_t pico_state_format(void)      number of the layout of block and extra state; a module with the same protocol
 *                                       and number can take over connections of another
 * uint32_t pico_protocol(void)          address of the protocol's name, PICO_NAME_SIZE bytes
 * uint32_t pico_first_window(void)      how many pieces of a side are shown at first, 1 to 64: with 1, a skip in answer to
 *                                       the first spares the copies of the others
 * uint32_t allocate_input_output_bufs(uint32_t input_bytes, uint32_t output_bytes)
 *                                       0: done; else the memory does not suffice. Called once before the first parse.
 * void     free_input_output_bufs(void)
 * uint32_t get_input_buf(void)          address of the input buffer (64-byte aligned), 0 if there is none
 * uint32_t get_output_buf(void)         address of the output buffer (64-byte aligned), 0 if there is none
 * uint32_t get_output_item_count(void)  records that the last call wrote
 * uint32_t get_output_item_size(void)   sizeof(pico_record)
 * uint32_t pico_parse_events(uint32_t num_events)
 *                                       0: reply is in the output buffer; else the input was refused (host's error)
 * memory                                the linear memory
 * The module imports nothing.
 */

/* ---- input -------------------------------------------------------------------------------------------------------- */
typedef struct pico_input {
    uint32_t abi_version;
    uint32_t num_events;
    uint32_t num_rows;
    uint32_t num_marks;
    uint32_t events;      /* offset of pico_event[num_events] */
    uint32_t rows;        /* offset of pico_row[num_rows] */
    uint32_t marks;       /* offset of uint32_t[num_marks] */
    uint32_t arena;       /* offset of the arena */
    uint32_t arena_len;   /* bytes in the arena */
    uint32_t results;     /* output buffer: offset of pico_result[num_events] */
    uint32_t records;     /* output buffer: offset of pico_record[max_records] */
    uint32_t max_records; /* at least 8 */
    uint32_t pairs;       /* output buffer: offset of pico_pair[max_pairs] */
    uint32_t max_pairs;   /* at least PICO_MAX_PAIRS */
    uint32_t protocols;   /* offset of pico_protocol_name[num_protocols]: whom connections can be handed over to */
    uint32_t num_protocols;
    uint32_t states;      /* offset of the states */
    uint32_t states_len;  /* bytes of states */
    uint32_t text;        /* output buffer: offset of the text area */
    uint32_t max_text;    /* its bytes, at least PICO_MIN_TEXT */
} pico_input;

typedef struct pico_protocol_name {
    char name[PICO_NAME_SIZE];
} pico_protocol_name;

enum pico_event_kind {
    PICO_EVENT_BYTES = 1, /* payload in stream order */
    PICO_EVENT_VOID = 2,  /* a range that the guest has asked to skip, or that was cut off: `length` bytes, `lost` never seen */
    PICO_EVENT_END = 3    /* the side's stream ends at `offset`; `reason` says how. The last event of its side. */
};

enum pico_end_reason {
    PICO_END_FIN = 1,     /* closed in order: a message read until close is complete */
    PICO_END_RESET = 2,   /* reset by either side */
    PICO_END_TIMEOUT = 3, /* idle for too long */
    PICO_END_EVICTED = 4, /* given up because memory ran out */
    PICO_END_REUSED = 5,  /* its ports carry a new connection now */
    PICO_END_CAPTURE = 6  /* the capture ended first */
};

enum pico_event_flag {
    PICO_EVENT_SEGMENT = 1, /* byte 0 is the first of a TCP segment (or of whatever unit the sender wrote) */
    PICO_EVENT_FINAL = 2,   /* bytes that waited, presented for the last time: a gap or the end follows. Consume all. */
    PICO_EVENT_INEXACT = 4, /* the gap before this event, or what of this void was lost, is at most as long as it says: no
                               message ends by counting through it; a segment start behind it is where to search */
    PICO_EVENT_SHED = 8     /* the gap before this event was seen, and dropped for lack of time. Inside a body of known length
                               these bytes count as seen; elsewhere as lost. (In a void they are not in `lost`.) */
};

/* One thing that happened on one side of one connection. Events of a connection stand in causal order. A jump of
 * `offset` from where the side's last event ended is a gap, whoever caused it: those bytes were never seen. */
typedef struct pico_event {
    uint32_t row;        /* index of the connection's row */
    uint8_t side;        /* 0: the side that was seen first; 1: the other */
    uint8_t kind;        /* pico_event_kind */
    uint8_t flags;       /* pico_event_flag */
    uint8_t reason;      /* pico_end_reason, for an end */
    uint64_t offset;     /* of the first byte in the side's stream */
    uint64_t peer_acked; /* offset of the other side up to which this sender had acknowledged with byte 0, or PICO_UNKNOWN */
    uint32_t data;       /* position of the bytes in the arena */
    uint32_t len;        /* number of bytes; 0 unless kind is bytes */
    uint32_t seen;       /* of these, how many at the front were presented before, and answered need_more */
    uint32_t marks;      /* index of this event's first mark */
    uint32_t num_marks;  /* marks: positions (1..len-1, ascending) at which further segments start */
    uint32_t reserved;
    uint64_t length;     /* void: bytes in the range */
    uint64_t lost;       /* void: of these, bytes never seen */
} pico_event;

enum pico_opener { PICO_OPENER_SIDE0 = 0, PICO_OPENER_SIDE1 = 1, PICO_OPENER_UNKNOWN = 2 };
/* EXTRA_LOST and HANDED_OVER are said in one call, whatever is answered in it: take them in before anything else. */
enum pico_row_flag {
    PICO_ROW_MIDSTREAM = 1,   /* its start was not captured */
    PICO_ROW_EXTRA_LOST = 2,  /* the host has dropped the extra state since the last call: it reads as zero */
    PICO_ROW_NO_GROWTH = 4,   /* more extra state is not to be had: verdict grow would be a fault */
    PICO_ROW_HANDED_OVER = 8  /* first call of this module for the connection: the block holds what the one before left in
                                 it as a note, and there is no extra state */
};
/* What the two ends agreed on inside TLS (RFC 7301). */
enum pico_alpn { PICO_ALPN_UNKNOWN = 0, PICO_ALPN_NONE = 1, PICO_ALPN_HTTP1 = 2, PICO_ALPN_H2 = 3, PICO_ALPN_OTHER = 4 };

/* One connection, or the stream inside a tunnel. The host writes all of it before each call, and takes `block` and the
 * first `extra_used` bytes of the extra state back if the call succeeds. Roles, the position in the framing and counts
 * belong into the block: under memory pressure the host drops extra state, longest unused first. */
typedef struct pico_row {
    uint8_t block[PICO_BLOCK_SIZE];
    uint8_t opener;      /* pico_opener: which side opened the connection */
    uint8_t flags;       /* pico_row_flag */
    uint8_t depth;       /* 0: a TCP connection; more: inside so many tunnels */
    uint8_t alpn;        /* pico_alpn */
    uint32_t scratch;    /* zero at the start of each call; for the guest's use during the call */
    uint32_t extra;      /* position of the extra state among the states, 64-byte aligned */
    uint32_t extra_size; /* bytes of extra state, 0: none */
    uint32_t extra_used; /* of these, how many at the front may be other than zero: kept by the guest */
    uint32_t grow;       /* out, for verdict grow: bytes of extra state wanted, more than there are; a multiple of the unit */
    uint8_t handed_by;   /* 0, or 1 + index of the protocol that handed the connection over last */
    uint8_t hand_to;     /* out, for verdict hand over: index of the protocol */
    uint8_t reserved[2];
    uint32_t bodies;     /* how many bytes at the front of each body the host wants: for these the module gives body records, and
                            asks for no skip. 0, the usual: none */
} pico_row;

/* ---- output ------------------------------------------------------------------------------------------------------- */
typedef struct pico_output {
    uint32_t abi_version;   /* PICO_ABI_VERSION: written by the guest */
    uint32_t current_event; /* index of the event the guest is on: read by the host after a trap */
    uint32_t events_done;   /* events that have a result: the first `events_done` of the call */
    uint32_t num_records;
    uint32_t num_pairs;
    uint32_t text_len;      /* bytes of the text area in use */
    uint32_t reserved[10];
} pico_output;

enum pico_verdict {
    /* All of the event is consumed (consumed == len). `skip` may name a stream offset, beyond the event's end, up to
     * which the side holds nothing that the guest needs; when it is reached, or the side ends, the guest is given one
     * void for what it was not shown. */
    PICO_DONE = 1,
    /* Bytes from `consumed` on (at least one, at most PICO_MAX_WAITING) wait at the host and are put in front of the
     * next bytes of this side. Not for a final event. With `wake` set, the host need not come back before a byte
     * `wake_byte` arrives, or so many bytes that they can wait no longer. */
    PICO_NEED_MORE = 2,
    /* The output area is full. The rest from `consumed` on is presented again at once, and so is every later event of
     * the call: this is the last result (events_done counts it). At least one record must have been written by the
     * call, or a byte consumed; and an event is presented at most 64 times in a row without a byte of it consumed. */
    PICO_OUTPUT_FULL = 3,
    /* Not looked at, because an earlier event of its side in this call still waits for more, or because an earlier
     * event of its connection was deferred. consumed is 0. */
    PICO_DEFERRED = 4,
    /* The extra state is too small: the row says in `grow` how much is wanted. The rest from `consumed` on is presented
     * again at once, with that much, or with PICO_ROW_NO_GROWTH. As with the next two, every later event of the row in the
     * call is deferred. */
    PICO_GROW = 5,
    /* Another protocol goes on from here: that of `hand_to`. What is not consumed of either side, and no skip, is the new
     * module's, which finds what this one leaves in the block, as a note, and no extra state. For bytes only; at most
     * PICO_MAX_HAND_OVERS times a connection, and not twice without a byte consumed in between. */
    PICO_HAND_OVER = 6,
    /* What follows is inside a tunnel, on both sides, from where each was consumed up to: it becomes a stream of its own
     * with offsets from 0, which starts with the first protocol. This module is shown nothing more of the connection. With a
     * tunnel record about this event; for bytes only; not at depth PICO_MAX_DEPTH. */
    PICO_INNER = 7
};

typedef struct pico_result {
    uint8_t verdict;   /* pico_verdict */
    uint8_t wake;      /* need_more: 1 if wake_byte counts */
    uint8_t wake_byte;
    uint8_t reserved;
    uint32_t consumed; /* bytes */
    uint64_t skip;     /* done: absolute stream offset, PICO_FOREVER: to the end; 0: none */
} pico_result;

enum pico_record_kind {
    PICO_RECORD_REQUEST = 1,  /* request head */
    PICO_RECORD_RESPONSE = 2, /* response head */
    PICO_RECORD_END = 3,      /* end of a message: sizes; `side` says of which direction */
    PICO_RECORD_TUNNEL = 4,   /* from here on the connection carries something else; `code` is a pico_tunnel */
    PICO_RECORD_NOT_HTTP = 5, /* the side does not speak HTTP/1; `code` is a pico_not_http */
    PICO_RECORD_ERROR = 6,    /* `code` is a pico_error; the side is searched for a new start */
    PICO_RECORD_TRAILERS = 7, /* the pairs are trailer fields of message `number` */
    PICO_RECORD_RESET = 8,    /* message `number` was given up by `side`; `content_length` is the protocol's error code */
    PICO_RECORD_OPERATION = 9,/* a request of a protocol that is not HTTP: `text` names the operation, `target` what it is
                                 about, pairs give more */
    PICO_RECORD_OUTCOME = 10, /* what became of operation `number`: `text` is the status, PICO_F_FAILED says that it failed */
    PICO_RECORD_BODY = 11     /* start to end are bytes of the body of message `number`, without framing or padding; `decoded` is how
                                 many bytes of the body come before them, seen or not. Only if the row asks for bodies; a module
                                 may leave them out */
};

/* Body framing announced by a head (RFC 9112, section 6.3). */
enum pico_framing {
    PICO_FRAMING_NONE = 0,    /* no body */
    PICO_FRAMING_LENGTH = 1,  /* content_length bytes */
    PICO_FRAMING_CHUNKED = 2,
    PICO_FRAMING_CLOSE = 3,   /* until the connection closes */
    PICO_FRAMING_TUNNEL = 4   /* 2xx to CONNECT, or 101 */
};

enum pico_not_http {
    PICO_NOT_HTTP_OTHER = 1,
    PICO_NOT_HTTP_TLS = 2,
    PICO_NOT_HTTP_HTTP2 = 3,
    PICO_NOT_HTTP_SSH = 4,
    PICO_NOT_HTTP_HTTP09 = 5,
    PICO_NOT_HTTP_SMTP = 6       /* a server that greets with a three-digit line */
};

/* What opened a tunnel. */
enum pico_tunnel {
    PICO_TUNNEL_CONNECT = 1,   /* 2xx to CONNECT */
    PICO_TUNNEL_OTHER = 2,     /* 101 to an upgrade to something else */
    PICO_TUNNEL_WEBSOCKET = 3, /* 101 to an upgrade to websocket */
    PICO_TUNNEL_H2C = 4,       /* 101 to an upgrade to h2c */
    PICO_TUNNEL_SOCKS = 5,     /* SOCKS 4, 4a or 5; the operation before it names the target */
    PICO_TUNNEL_PROXY = 6     /* a PROXY protocol header: `text` is the client that it names, `target` the server, each as
                                  ADDRESS:PORT with IPv6 in brackets, or empty */
};

enum pico_error {
    PICO_ERROR_BAD_START_LINE = 1,
    PICO_ERROR_BAD_HEADER = 2,
    PICO_ERROR_TOO_MANY_HEADERS = 3,
    PICO_ERROR_HEAD_TOO_LONG = 4,
    PICO_ERROR_BAD_CONTENT_LENGTH = 5, /* not a number, over 2^63-1, or values that differ */
    PICO_ERROR_BAD_TRANSFER_CODING = 6,/* a request whose Transfer-Encoding does not end in chunked */
    PICO_ERROR_BAD_CHUNK = 7,
    PICO_ERROR_CHUNK_OVERHEAD = 8,     /* far more chunk framing than data */
    PICO_ERROR_BAD_TRAILER = 9,
    PICO_ERROR_LOST_HEAD = 10,         /* a gap in, or the end of the stream inside, a head */
    PICO_ERROR_LOST_FRAMING = 11,      /* a gap that hid where a message ends */
    PICO_ERROR_NO_START = 12,          /* no start line found in the stretch searched: the side is given up */
    PICO_ERROR_BAD_FRAME = 13          /* HTTP/2: a frame that is none, or a header block that its frames cut off */
};

/* Flags of request and response records, and of message ends where they say so. */
/* clang-format off */
#define PICO_F_TE_CL_CONFLICT (1u << 0)      /* both Transfer-Encoding and Content-Length */
#define PICO_F_CL_REPEATED (1u << 1)         /* several Content-Length values, all equal */
#define PICO_F_CL_CONFLICT (1u << 2)         /* several Content-Length values that differ */
#define PICO_F_TE_HTTP10 (1u << 3)           /* Transfer-Encoding in an HTTP/1.0 message */
#define PICO_F_TE_ODD (1u << 4)              /* Transfer-Encoding spelt in a way that parsers read differently */
#define PICO_F_OBS_FOLD (1u << 5)            /* a header continued on the next line */
#define PICO_F_BARE_LF (1u << 6)             /* a line ended by LF alone */
#define PICO_F_LEADING_EMPTY (1u << 7)       /* empty lines before the start line */
#define PICO_F_ODD_SPACE (1u << 8)           /* more than one space, or a tab, in the start line */
#define PICO_F_CHUNK_ODD (1u << 9)           /* message end: chunk sizes that parsers read differently */
#define PICO_F_CHUNK_EXTENSION (1u << 10)    /* message end: a chunk extension */
#define PICO_F_TRAILERS (1u << 11)           /* message end: trailer fields after the last chunk */
#define PICO_F_BODY_FORBIDDEN (1u << 12)     /* 1xx, 204 or 304 that announces a body */
#define PICO_F_HOST_MISSING (1u << 13)       /* HTTP/1.1 request without Host */
#define PICO_F_HOST_REPEATED (1u << 14)      /* more than one Host */
#define PICO_F_INTERIM (1u << 15)            /* 1xx response other than 101: another response follows */
#define PICO_F_UNPAIRED (1u << 16)           /* response: its request is not known; `number` is 0; message end: its sizes are not
                                                known (all are 0) */
#define PICO_F_RESYNC (1u << 17)             /* head found by searching after loss or an error */
#define PICO_F_GAP (1u << 18)                /* message end: bytes of the body were never seen (`lost`) */
#define PICO_F_TRUNCATED (1u << 19)          /* message end: the message was cut before its end */
#define PICO_F_EARLY (1u << 20)              /* response head before its request's message end */
#define PICO_F_UPGRADE (1u << 21)            /* request: asks for an upgrade */
#define PICO_F_MIDSTREAM (1u << 22)          /* first message of a side whose start was not captured */
#define PICO_F_UNSOLICITED (1u << 23)        /* response: no request was outstanding; `number` is 0 */
#define PICO_F_BODY_ODD (1u << 24)           /* request: a body on a method for which none is defined (GET, HEAD, TRACE...) */
#define PICO_F_REQUEST_LOST (1u << 25)       /* response, unpaired: the server had acknowledged bytes of the client's that
                                                were never seen, and that may hold the request; message end of a response: the
                                                end of its request may have been lost */
#define PICO_F_FAILED (1u << 26)             /* outcome: the operation failed */
#define PICO_F_BAD_START_LINE (1u << 27)     /* a start line that parsers refuse or read differently, read as far as it goes */
#define PICO_F_BAD_HEADER (1u << 28)         /* header lines of that kind */
#define PICO_F_TOO_MANY_HEADERS (1u << 29)   /* more headers than PICO_MAX_HEADERS */
#define PICO_F_HEAD_CUT (1u << 30)           /* the rest of the head was never seen, or is too long: what follows is not known */
#define PICO_F_HPACK_UNKNOWN (1u << 31)      /* HTTP/2: fields that refer to what was not seen are left out */
/* clang-format on */

/* A statement about an event. Positions are bytes within that event, which the host resolves against its own copy. A text
 * of a record or pair may lie in the text area instead: then its position has PICO_TEXT set. Names and values of pairs lie there
 * in the order in which records name them, and apart; text and target of a record apart, in any order, and behind those of the
 * records before. */
typedef struct pico_record {
    uint8_t kind;            /* pico_record_kind */
    uint8_t side;
    uint8_t minor;           /* heads: the digit after "HTTP/1."; 0 with a stream */
    uint8_t framing;         /* heads: pico_framing */
    uint16_t code;           /* response: status, with a stream 0 if it is not known (PICO_F_HPACK_UNKNOWN)
                                or none (PICO_F_BAD_START_LINE); not-HTTP: pico_not_http; error: pico_error; tunnel: pico_tunnel */
    uint16_t reserved;
    uint32_t flags;          /* PICO_F_* */
    uint32_t event;          /* index of the event, in order of the events */
    uint32_t number;         /* request: its number on the connection, from 1; response: the number answered, 0: none;
                                message end: the number of the request or response that ends */
    uint32_t start;          /* position of the first byte (head: of the start line) */
    uint32_t end;            /* position after the last byte */
    uint32_t text;           /* request: method; response: reason phrase */
    uint32_t text_len;
    uint32_t target;         /* request target */
    uint32_t target_len;     /* of a message end: 0, or 1 + the messages of gRPC in its body */
    uint32_t first_pair;     /* heads: headers are pairs[first_pair .. first_pair + num_pairs] */
    uint32_t num_pairs;
    uint32_t stream;         /* the stream within the connection, for protocols that have any; else 0 */
    uint64_t content_length; /* heads with framing `length`; message end: body bytes on the wire, framing included */
    uint64_t decoded;        /* message end: body bytes without chunk framing; body: body bytes before these */
    uint64_t lost;           /* message end: of these, bytes never seen */
} pico_record;

/* A header. A continued line (obs-fold) is a pair of its own with name_len 0. */
typedef struct pico_pair {
    uint32_t name;
    uint32_t name_len;
    uint32_t value;
    uint32_t value_len;
} pico_pair;

#define PICO_LAYOUT(type, size) _Static_assert(sizeof(type) == (size), "size of " #type)
#define PICO_FIELD(type, field, offset) _Static_assert(offsetof(type, field) == (offset), "offset of " #type "." #field)

PICO_LAYOUT(pico_input, 80);
PICO_FIELD(pico_input, events, 16);
PICO_FIELD(pico_input, arena, 28);
PICO_FIELD(pico_input, results, 36);
PICO_FIELD(pico_input, max_pairs, 52);
PICO_FIELD(pico_input, max_text, 76);
PICO_LAYOUT(pico_protocol_name, 16);
PICO_LAYOUT(pico_event, 64);
PICO_FIELD(pico_event, side, 4);
PICO_FIELD(pico_event, offset, 8);
PICO_FIELD(pico_event, peer_acked, 16);
PICO_FIELD(pico_event, data, 24);
PICO_FIELD(pico_event, seen, 32);
PICO_FIELD(pico_event, num_marks, 40);
PICO_FIELD(pico_event, length, 48);
PICO_FIELD(pico_event, lost, 56);
PICO_LAYOUT(pico_row, 160);
PICO_FIELD(pico_row, opener, 128);
PICO_FIELD(pico_row, scratch, 132);
PICO_FIELD(pico_row, extra, 136);
PICO_FIELD(pico_row, hand_to, 153);
PICO_FIELD(pico_row, bodies, 156);
PICO_LAYOUT(pico_output, 64);
PICO_FIELD(pico_output, events_done, 8);
PICO_FIELD(pico_output, num_pairs, 16);
PICO_LAYOUT(pico_result, 16);
PICO_FIELD(pico_result, consumed, 4);
PICO_FIELD(pico_result, skip, 8);
PICO_LAYOUT(pico_record, 80);
PICO_FIELD(pico_record, code, 4);
PICO_FIELD(pico_record, flags, 8);
PICO_FIELD(pico_record, number, 16);
PICO_FIELD(pico_record, text, 28);
PICO_FIELD(pico_record, first_pair, 44);
PICO_FIELD(pico_record, content_length, 56);
PICO_FIELD(pico_record, lost, 72);
PICO_LAYOUT(pico_pair, 16);

#endif
