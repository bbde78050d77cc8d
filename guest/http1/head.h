/* A head: a start line and the headers after it, as read from the event's bytes. */
#ifndef PICOTAP_HEAD_H
#define PICOTAP_HEAD_H

#include <sys/types.h>

#include "picohttpparser.h"
#include "state.h"

typedef struct head {
    const uint8_t *start; /* of the start line */
    const uint8_t *text;  /* method or reason phrase */
    uint32_t text_len;
    const uint8_t *target;
    uint32_t target_len;
    bool response;
    uint8_t minor;
    uint16_t status;
    uint32_t flags;       /* PICO_F_*: what the spelling shows */
    uint32_t len;         /* bytes from `start` to the end of the empty line */
    size_t num_headers;
    struct phr_header headers[PICO_MAX_HEADERS];
} head;

enum head_result {
    HEAD_OK,
    HEAD_PARTIAL,      /* not whole yet; its start line, if that is there, is good */
    HEAD_LINE_BAD,     /* a whole line that is no start line */
    HEAD_LINE_PARTIAL, /* the start line is not whole yet (or will not get whole) */
    HEAD_BAD,          /* PICO_ERROR_BAD_HEADER */
    HEAD_MANY,         /* PICO_ERROR_TOO_MANY_HEADERS */
    HEAD_LONG          /* PICO_ERROR_HEAD_TOO_LONG */
};

/* Reads a head whose start line begins at `at`, in a unit that began at `unit` (empty lines may lie between). Judges a
 * line when its end is there and headers when the empty line is there, so that the same bytes give the same result however
 * they were cut. Remembers in the side how far it looked: a head that arrives byte by byte costs time linear in
 * its length. */
enum head_result read_head(work *w, uint32_t unit, uint32_t at, head *head);

/* Whether the bytes up to UNIT_LIMIT from `unit` are all there will be. */
bool is_last_look(const work *w, uint32_t unit);

/* ---- framing.c ---------------------------------------------------------------------------------------------------- */

/* Writes the record of `head`, its headers, and what follows at once (a tunnel, an end, an error), and sets the phase for
 * what comes next. Does nothing but answer false if there is no room for the headers. */
bool write_head(work *w, head *head, uint32_t flags);

#endif
