/* Notes: what the modules of HTTP/1 and HTTP/2 leave each other in a block when one hands a connection over to the other. */
#ifndef PICOTAP_NOTES_H
#define PICOTAP_NOTES_H

#include <stdint.h>

/* To HTTP/2, for a connection that was recognised. */
typedef struct http2_note {
    uint8_t client; /* 1 + the side that sends the requests, or 0: not known */
} http2_note;

/* To HTTP/1: the server answers in HTTP/1. */
typedef struct http1_note {
    uint64_t expected[2]; /* by side: offset of the next byte in its stream */
    uint8_t client;       /* the side that speaks HTTP/2 */
} http1_note;

#endif
