/* Heads: our own lexer for start lines, and phr_parse_headers for the rest. The lexer follows picohttpparser of 2024 where
 * the 2017 source that we use differs. What they refuse is for lenient.c. */
#include "head.h"

#include "scan.h"

enum line { LINE_OK, LINE_PARTIAL, LINE_BAD };

/* The line end at `*at`: CR LF or LF. */
static enum line lex_eol(const uint8_t **at, const uint8_t *end, head *h)
{
    const uint8_t *p = *at;
    if (p == end)
        return LINE_PARTIAL;
    if (*p == '\r') {
        if (++p == end)
            return LINE_PARTIAL;
        if (*p != '\n')
            return LINE_BAD;
    } else if (*p == '\n') {
        h->flags |= PICO_F_BARE_LF;
    } else {
        return LINE_BAD;
    }
    *at = p + 1;
    return LINE_OK;
}

/* One space or more, then something else. */
static enum line lex_spaces(const uint8_t **at, const uint8_t *end, head *h)
{
    const uint8_t *p = *at;
    if (p == end)
        return LINE_PARTIAL;
    if (*p != ' ')
        return LINE_BAD;
    if (++p != end && *p == ' ') {
        h->flags |= PICO_F_ODD_SPACE;
        while (p != end && *p == ' ')
            ++p;
    }
    *at = p;
    return p == end ? LINE_PARTIAL : LINE_OK;
}

/* "HTTP/1." and one digit. */
static enum line lex_version(const uint8_t **at, const uint8_t *end, head *h)
{
    const uint8_t *p = *at;
    size_t have = (size_t)(end - p);
    if (have < 8)
        return starts_like(p, have, "HTTP/1.", 7) ? LINE_PARTIAL : LINE_BAD;
    if (!is_word(p, "HTTP/1.", 7) || p[7] < '0' || p[7] > '9')
        return LINE_BAD;
    h->minor = (uint8_t)(p[7] - '0');
    *at = p + 8;
    return LINE_OK;
}

#define LEX(call)                 \
    do {                          \
        enum line line_ = (call); \
        if (line_ != LINE_OK)     \
            return line_;         \
    } while (0)

static enum line lex_request(const uint8_t **at, const uint8_t *end, head *h)
{
    const uint8_t *p = *at;
    h->text = p;
    p = scan_token(p, end);
    h->text_len = (uint32_t)(p - h->text);
    if (p == end)
        return LINE_PARTIAL;
    if (h->text_len == 0)
        return LINE_BAD;
    LEX(lex_spaces(&p, end, h));
    h->target = p;
    p = scan_target(p, end);
    h->target_len = (uint32_t)(p - h->target);
    if (p == end)
        return LINE_PARTIAL;
    if (h->target_len == 0)
        return LINE_BAD;
    LEX(lex_spaces(&p, end, h));
    LEX(lex_version(&p, end, h));
    LEX(lex_eol(&p, end, h));
    *at = p;
    return LINE_OK;
}

static enum line lex_response(const uint8_t **at, const uint8_t *end, head *h)
{
    const uint8_t *p = *at;
    LEX(lex_version(&p, end, h));
    LEX(lex_spaces(&p, end, h));
    h->status = 0;
    for (unsigned i = 0; i < 3; ++i, ++p) {
        if (p == end)
            return LINE_PARTIAL;
        if (*p < '0' || *p > '9')
            return LINE_BAD;
        h->status = (uint16_t)(h->status * 10 + (*p - '0'));
    }
    if (p == end)
        return LINE_PARTIAL;
    if (h->status < 100 || (*p != ' ' && *p != '\r' && *p != '\n'))
        return LINE_BAD;
    if (end - p >= 2 && p[0] == ' ' && p[1] == ' ')
        h->flags |= PICO_F_ODD_SPACE;
    while (p != end && *p == ' ')
        ++p;
    h->text = p;
    p = scan_text(p, end);
    h->text_len = (uint32_t)(p - h->text);
    LEX(lex_eol(&p, end, h));
    *at = p;
    return LINE_OK;
}

/* A side whose role is not known yet is the server's if its line begins as a status line does. Fewer than these five bytes
 * fit a request line too, and both lexers then ask for more: no method has a slash in it. */
static enum line lex_line(const work *w, const uint8_t **at, const uint8_t *end, head *h)
{
    const block *b = w->block;
    h->start = *at;
    h->flags = 0;
    h->lenient = h->simple = false;
    if (client_known(b))
        h->response = is_server(b, w->me);
    else
        h->response = end - *at >= 5 && is_word(*at, "HTTP/", 5);
    return h->response ? lex_response(at, end, h) : lex_request(at, end, h);
}

bool is_last_look(const work *w, uint32_t unit)
{
    return w->final || w->len - unit >= UNIT_LIMIT;
}

/* So many bytes at the front of a line are always read again: recognition needs no more. */
#define FRONT 32u

enum head_result read_head(work *w, uint32_t unit, uint32_t at, head *h)
{
    const uint8_t *start = w->bytes + at;
    const uint8_t *end = w->bytes + (w->len - unit > UNIT_LIMIT ? unit + UNIT_LIMIT : w->len);
    const uint8_t *p = start;
    uint64_t searched = w->side->searched;
    bool last = is_last_look(w, unit);
    bool again = searched > offset_at(w, at);

    w->side->searched = offset_at(w, w->len);
    if (again && !last) {
        const uint8_t *from = w->bytes + (uint32_t)(searched - w->event->offset);
        if (*flags_of(w) & SIDE_LINE_OK) {
            if (scan_head_end(from - start > 3 ? from - 3 : start, end) == NULL)
                return HEAD_PARTIAL;
        } else if (from - start > (ptrdiff_t)FRONT && scan_lf(from, end) == end) {
            return HEAD_LINE_PARTIAL;
        }
    }
    enum line line = lex_line(w, &p, end, h);
    if (line == LINE_PARTIAL || (line == LINE_BAD && !last && scan_lf(start, end) == end))
        return line == LINE_PARTIAL && last ? read_cut_line(w, h, end) : HEAD_LINE_PARTIAL;
    if (line == LINE_BAD)
        return HEAD_LINE_BAD;
    *flags_of(w) |= SIDE_LINE_OK;

    h->num_headers = PICO_MAX_HEADERS;
    int used = phr_parse_headers((const char *)p, (size_t)(end - p), h->headers, &h->num_headers, 0);
    if (used > 0) {
        p += used;
        h->len = (uint32_t)(p - start);
        w->side->searched = 0; /* it may be presented again, if there is no room for it now */
        return HEAD_OK;
    }
    return used == -1 || last ? end_odd_head(w, h, p, end, last) : HEAD_PARTIAL;
}
