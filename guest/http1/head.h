/* A head: a start line and the headers after it, as read from the bytes of an event. */
#ifndef PICOTAP_HEAD_H
#define PICOTAP_HEAD_H

#include <sys/types.h>

#include "fields.h"
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
    uint32_t flags;       /* PICO_F_*: those that the spelling of the start line gives, and PICO_F_HEAD_CUT */
    uint32_t len;         /* bytes from `start` to the end of the empty line; if cut, to the end of what there is */
    bool lenient;         /* the headers are for the lenient reader, and not in `headers` */
    bool simple;          /* a request of HTTP/0.9: this line and no more */
    const uint8_t *lines; /* lenient: where the headers begin */
    size_t num_headers;
    struct phr_header headers[PICO_MAX_HEADERS];
} head;

enum head_result {
    HEAD_OK,           /* complete, or all that there will be: then it is flagged PICO_F_HEAD_CUT */
    HEAD_PARTIAL,      /* incomplete; its start line is good */
    HEAD_LINE_BAD,     /* a complete line that is not a start line */
    HEAD_LINE_PARTIAL  /* the start line is incomplete (and stays so, if this is all) */
};

/* Reads a head whose start line begins at `at`, in a unit that begins at `unit` (empty lines may come between). Decides on a
 * line when its end is there, and on headers when the empty line is there, so that the same bytes give the same result
 * however they are cut. Keeps in the side how far it has searched: a head that arrives byte by byte costs time linear in its
 * length. */
enum head_result read_head(work *w, uint32_t unit, uint32_t at, head *head);

/* Whether no more bytes come for the unit at `unit`: they are final, or UNIT_LIMIT is reached. */
bool is_last_look(const work *w, uint32_t unit);

/* ---- lenient.c: each is called where the strict reader has refused ---------------------------------------------------- */

/* A head whose start line the strict reader calls bad. */
enum head_result read_odd_head(work *w, uint32_t unit, uint32_t at, head *head);
/* The head's start line is cut. HEAD_LINE_PARTIAL: too little is left of it. */
enum head_result read_cut_line(work *w, head *head, const uint8_t *end);
/* The head's start line is good, and its headers, from `lines` on, are odd or, if this is the last look, cut. */
enum head_result end_odd_head(work *w, head *head, const uint8_t *lines, const uint8_t *end, bool last);
/* Reads the headers of a head of these into `a`, and writes at most PICO_MAX_PAIRS to `pairs`. */
void read_odd_headers(const work *w, head *head, announced *a, pico_pair *pairs);

/* ---- framing.c ---------------------------------------------------------------------------------------------------- */

/* Writes the record of `head`, its headers, and the records that follow at once (a tunnel, an end, an error), and sets the
 * next phase. If there is no room for the headers, does nothing and returns false. */
bool write_head(work *w, head *head, uint32_t flags);

#endif
