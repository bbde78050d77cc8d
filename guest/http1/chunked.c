/* Chunked bodies (RFC 9112, section 7.1): a scanner of our own, which counts bytes and moves none. What parsers read
 * differently is used to smuggle requests, so it is flagged. Refused is what picohttpparser of 2024 refuses, but for lines
 * that end with LF alone: curl and Python read those. */
#include "fields.h"
#include "head.h"
#include "scan.h"

/* Sizes of more digits than this differ between parsers of 32 and 64 bits. */
#define PLAIN_DIGITS 8u
#define MOST_DIGITS 16u

static int hex(uint8_t c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* The framing is wrong: the body is cut at w->pos. */
static enum step bad_chunk(work *w, unsigned code)
{
    uint32_t start = w->body;
    end_message(w, open_number(w), PICO_F_TRUNCATED, offset_at(w, w->pos), start, w->pos);
    add_error(w, code, w->pos, w->pos);
    enter_resync(w);
    return STEP_ON;
}

/* The rest of the event is a cut line: the next event, a gap or the end, says how the message ends. */
static enum step broken(work *w)
{
    w->side->line = 0;
    w->side->overhead += w->len - w->pos;
    w->pos = w->len;
    *phase_of(w) = PHASE_BROKEN;
    return STEP_ON;
}

/* Waits for the rest of a line or section at w->pos, if more may come; `code`: the error if it is too long. */
static enum step wait_for_rest(work *w, unsigned code)
{
    if (w->final)
        return broken(w);
    if (w->len - w->pos >= UNIT_LIMIT)
        return bad_chunk(w, code);
    w->side->line = offset_at(w, w->len);
    return STEP_MORE_LF;
}

/* Where to search on in the line or section at w->pos: behind what was searched before, less `overlap` bytes. */
static const uint8_t *search_from(const work *w, uint32_t overlap)
{
    uint64_t here = offset_at(w, w->pos);
    uint64_t line = w->side->line;
    return w->bytes + w->pos + (line > here + overlap ? (uint32_t)(line - here) - overlap : 0);
}

static const uint8_t *unit_end(const work *w)
{
    return w->bytes + (w->len - w->pos > UNIT_LIMIT ? w->pos + UNIT_LIMIT : w->len);
}

/* Reads the chunk-size line from `p` to `lf`. False if it is not one. */
static bool read_size(work *w, const uint8_t *p, const uint8_t *lf, uint64_t *size)
{
    uint8_t *flags = flags_of(w);
    unsigned digits = 0;
    *size = 0;
    if (lf != p && lf[-1] == '\r')
        --lf; /* the line has no other CR */
    else
        *flags |= SIDE_CHUNK_ODD;
    for (; hex(*p) >= 0; ++p) {
        if (++digits > MOST_DIGITS)
            return false;
        *size = *size << 4 | (uint64_t)hex(*p);
    }
    if (digits == 0)
        return false;
    if (digits > PLAIN_DIGITS)
        *flags |= SIDE_CHUNK_ODD;
    if (p == lf)
        return true;
    if (*p != ';' && !is_blank(*p))
        return false;
    if (*p != ';')
        *flags |= SIDE_CHUNK_ODD;
    while (p != lf && is_blank(*p))
        ++p;
    if (p != lf) {
        *flags |= SIDE_CHUNK_EXTENSION;
        if (*p != ';')
            *flags |= SIDE_CHUNK_ODD;
    }
    while ((p = scan_text(p, lf)) != lf) {
        if (*p++ == '\r')
            return false;
        *flags |= SIDE_CHUNK_ODD;
    }
    return true;
}

enum step step_chunk_size(work *w)
{
    side_state *side = w->side;
    const uint8_t *start = w->bytes + w->pos, *end = unit_end(w);
    const uint8_t *lf = scan_lf(search_from(w, 0), end);
    uint64_t size;

    if (lf == end)
        return wait_for_rest(w, PICO_ERROR_BAD_CHUNK);
    if (!read_size(w, start, lf, &size))
        return bad_chunk(w, PICO_ERROR_BAD_CHUNK);
    w->pos += (uint32_t)(lf + 1 - start);
    side->overhead += (uint64_t)(lf + 1 - start);
    side->remaining = size;
    *phase_of(w) = size == 0 ? PHASE_TRAILER : PHASE_CHUNK_DATA;
    return STEP_ON;
}

/* A chunk's data ends with LF alone. */
COLD static enum step pass_lf(work *w)
{
    *flags_of(w) |= SIDE_CHUNK_ODD;
    ++w->pos;
    ++w->side->overhead;
    *phase_of(w) = PHASE_CHUNK_SIZE;
    return STEP_ON;
}

enum step step_chunk_crlf(work *w)
{
    const uint8_t *at = w->bytes + w->pos;
    if (at[0] == '\n')
        return pass_lf(w);
    if (at[0] != '\r' || (w->len - w->pos >= 2 && at[1] != '\n'))
        return bad_chunk(w, PICO_ERROR_BAD_CHUNK);
    if (w->len - w->pos < 2)
        return w->final ? broken(w) : STEP_MORE;
    w->pos += 2;
    w->side->overhead += 2;
    *phase_of(w) = PHASE_CHUNK_SIZE;
    return STEP_ON;
}

/* Where the trailer section ends, or NULL. */
static const uint8_t *trailer_end(const work *w, const uint8_t *at, const uint8_t *end)
{
    if (*at == '\n')
        return at + 1;
    if (*at == '\r' && end - at >= 2 && at[1] == '\n')
        return at + 2;
    return scan_head_end(search_from(w, 3), end);
}

enum step step_trailer(work *w)
{
    const uint8_t *at = w->bytes + w->pos;
    const uint8_t *end = trailer_end(w, at, unit_end(w));
    struct phr_header headers[PICO_MAX_HEADERS];
    size_t num_headers = PICO_MAX_HEADERS;
    uint32_t flags = 0, start = w->body;

    if (end == NULL)
        return wait_for_rest(w, PICO_ERROR_BAD_TRAILER);
    w->side->line = 0;
    if (phr_parse_headers((const char *)at, (size_t)(end - at), headers, &num_headers, 0) != end - at)
        return bad_chunk(w, PICO_ERROR_BAD_TRAILER);
    for (size_t i = 0; i < num_headers; ++i) {
        flags |= PICO_F_TRAILERS;
        if (headers[i].value[headers[i].value_len] == '\n')
            flags |= PICO_F_CHUNK_ODD;
    }
    if (end - at < 2 || end[-2] != '\r')
        flags |= PICO_F_CHUNK_ODD;
    w->pos += (uint32_t)(end - at);
    w->side->overhead += (uint64_t)(end - at);
    end_message(w, open_number(w), flags, offset_at(w, w->pos), start, w->pos);
    return STEP_ON;
}
