/* The lenient reader: what the strict one refuses is read in the way that clients and servers in use read it, and flagged.
 * An observer logs what two endpoints did, and one of them may have accepted it. Ordinary traffic never comes here. */
#include "fields.h"
#include "head.h"
#include "planted.h"
#include "scan.h"

/* Called and not copied to each place: such code is compiled when a module is loaded. */
COLD static const uint8_t *find_lf(const uint8_t *at, const uint8_t *end)
{
    return scan_lf(at, end);
}

COLD static const uint8_t *find_control(const uint8_t *at, const uint8_t *end)
{
    return scan_text(at, end);
}

static bool is_digit(uint8_t byte)
{
    return byte >= '0' && byte <= '9';
}

static const uint8_t *skip_blanks(const uint8_t *at, const uint8_t *end)
{
    while (at != end && is_blank(*at))
        ++at;
    return at;
}

/* The end of the text before `end`, without the blanks behind it. */
static const uint8_t *trim_blanks(const uint8_t *at, const uint8_t *end)
{
    while (end != at && is_blank(end[-1]))
        --end;
    return end;
}

/* The first byte up to ' ' or another one below it, or `end`. */
static const uint8_t *find_blank(const uint8_t *at, const uint8_t *end)
{
    while (at != end && *at > ' ' && *at != 0x7f)
        ++at;
    return at;
}

/* ---- start lines ----------------------------------------------------------------------------------------------------- */

/* Whether "HTTP/" in any case and a digit stand there. */
static bool is_version(const uint8_t *at, const uint8_t *end)
{
    return end - at >= 6 && same_word(at, 5, "http/", 5) && is_digit(at[5]);
}

/* The digit of "HTTP/1." and nothing else; 1 for every other version. */
static uint8_t minor_of(const uint8_t *at, const uint8_t *end)
{
    return end - at == 8 && at[5] == '1' && at[6] == '.' && is_digit(at[7]) ? (uint8_t)(at[7] - '0') : 1;
}

/* A method, anything, and a version at the end. Or "GET /" and no version: HTTP/0.9, of which servers refuse most in
 * HTTP/1. */
COLD static bool odd_request(head *h, const uint8_t *end)
{
    const uint8_t *at = h->start, *version;
    end = trim_blanks(at, end);
    h->text = at;
    at = find_blank(at, end);
    h->text_len = (uint32_t)(at - h->text);
    if (h->text_len == 0 || at == end || !is_blank(*at))
        return false;
    at = skip_blanks(at, end);
    for (version = end; version != at && version[-1] > ' '; --version)
        ;
    if (is_version(version, end)) {
        h->minor = minor_of(version, end);
        end = trim_blanks(at, version);
    } else if (is_word(h->start, "GET /", 5) && find_blank(at, end) == end) {
        h->simple = true;
        h->minor = 0;
    } else {
        return false;
    }
    h->target = at;
    h->target_len = (uint32_t)(end - at);
    return h->target_len != 0;
}

/* "HTTP/" and anything, or "ICY" (of radio stations), then three digits. */
COLD static bool odd_response(head *h, const uint8_t *end)
{
    const uint8_t *at = find_blank(h->start, end);
    h->minor = is_version(h->start, at) ? minor_of(h->start, at) : 0;
    if (!is_version(h->start, at) && !(at - h->start == 3 && is_word(h->start, "ICY", 3)))
        return false;
    at = skip_blanks(at, end);
    if (end - at < 3 || !is_digit(at[0]) || !is_digit(at[1]) || !is_digit(at[2]) || at[0] == '0')
        return false;
    h->status = (uint16_t)((at[0] - '0') * 100 + (at[1] - '0') * 10 + (at[2] - '0'));
    at += 3;
    if (at != end && is_digit(*at))
        return false;
    at = skip_blanks(at, end);
    h->text = at;
    h->text_len = (uint32_t)(end - at);
    return true;
}

/* What a search for a start line would take, and no more: these bytes may be anything. */
static bool cut_request(head *h, const uint8_t *end)
{
    const uint8_t *at = h->start;
    while (at != end && ((*at >= 'A' && *at <= 'Z') || *at == '-' || *at == '_'))
        ++at;
    h->text = h->start;
    h->text_len = (uint32_t)(at - h->start);
    if (h->text_len == 0 || at == end || *at != ' ')
        return false;
    at = skip_blanks(at, end);
    h->target = at;
    at = find_blank(at, end);
    h->target_len = (uint32_t)(at - h->target);
    return at != h->target && (*h->target == '/' || *h->target == '*' || (h->target_len >= 4 && is_word(h->target, "http", 4)) ||
                               (h->text_len == 7 && is_word(h->text, "CONNECT", 7)));
}

/* ---- heads ----------------------------------------------------------------------------------------------------------- */

COLD enum head_result end_odd_head(work *w, head *h, const uint8_t *lines, const uint8_t *end, bool last)
{
    const uint8_t *head_end = scan_head_end(lines - 1, end);
    if (head_end == NULL) {
        if (!last)
            return HEAD_PARTIAL;
        h->flags |= PICO_F_HEAD_CUT;
        head_end = end;
    }
    h->lenient = true;
    h->lines = lines;
    h->len = (uint32_t)(head_end - h->start);
    w->side->searched = 0; /* as in read_head */
    return HEAD_OK;
}

COLD enum head_result read_odd_head(work *w, uint32_t unit, uint32_t at, head *h)
{
    const uint8_t *end = w->bytes + (w->len - unit > UNIT_LIMIT ? unit + UNIT_LIMIT : w->len);
    const uint8_t *lf = find_lf(w->bytes + at, end), *line_end = lf;

    h->start = w->bytes + at;
    h->flags = PICO_F_BAD_START_LINE;
    if (lf == end)
        return HEAD_LINE_BAD;
    if (line_end != h->start && line_end[-1] == '\r')
        --line_end;
    else
        h->flags |= PICO_F_BARE_LF;
    if (!(h->response ? odd_response(h, line_end) : odd_request(h, line_end)))
        return HEAD_LINE_BAD;
    *flags_of(w) |= SIDE_LINE_OK;
    if (!h->simple)
        return end_odd_head(w, h, lf + 1, end, is_last_look(w, unit));
    h->lenient = true;
    h->lines = lf + 1;
    h->len = (uint32_t)(lf + 1 - h->start);
    w->side->searched = 0;
    return HEAD_OK;
}

COLD enum head_result read_cut_line(work *w, head *h, const uint8_t *end)
{
    h->flags = PICO_F_HEAD_CUT;
    h->minor = 1;
    if (!(h->response ? odd_response(h, find_control(h->start, end)) : cut_request(h, end)))
        return HEAD_LINE_PARTIAL;
    h->lenient = true;
    h->lines = end;
    h->len = (uint32_t)(end - h->start);
    w->side->searched = 0;
    return HEAD_OK;
}

/* ---- headers --------------------------------------------------------------------------------------------------------- */

/* The headers of a head while they are read. */
typedef struct reading {
    const work *w;
    announced *to;
    pico_pair *pairs;
    uint32_t count;  /* pairs */
    uint32_t lines;
    enum last last;
    bool kept;       /* the last header is a pair, which may be continued */
} reading;

static void keep(reading *r, const uint8_t *name, uint32_t name_len, const uint8_t *value, uint32_t len)
{
    pico_pair *pair = &r->pairs[r->count++];
    pair->name = name_len == 0 ? 0 : (uint32_t)(name - r->w->bytes);
    pair->name_len = name_len;
    pair->value = (uint32_t)(value - r->w->bytes);
    pair->value_len = len;
}

/* Reads the line from `at` to `end`, which is not empty. `cut`: more of it was not seen. */
COLD static void read_line(reading *r, const uint8_t *at, const uint8_t *end, bool cut)
{
    announced *to = r->to;
    const uint8_t *colon = at, *name_end;

    if (find_control(at, end) != end)
        to->flags |= PICO_F_BAD_HEADER;
    if (is_blank(*at)) {
        if (r->lines++ == 0)
            to->flags |= PICO_F_BAD_HEADER;
        else
            read_continued(to, r->last, at, (uint32_t)(end - at));
        if (r->kept && r->count < PICO_MAX_PAIRS - 1)
            keep(r, at, 0, at, (uint32_t)(trim_blanks(at, end) - at));
        return;
    }
    ++r->lines;
    r->kept = false;
    r->last = LAST_OTHER;
    while (colon != end && *colon != ':')
        ++colon;
    name_end = trim_blanks(at, colon);
    if (colon == end || name_end == at) { /* no header: clients pass over it */
        if (!cut || colon != end)
            to->flags |= PICO_F_BAD_HEADER;
        return;
    }
    if (scan_token(at, colon) != colon)
        to->flags |= PICO_F_BAD_HEADER;
    uint32_t name_len = (uint32_t)(name_end - at), hosts = to->hosts;
    const uint8_t *value = skip_blanks(colon + 1, end);
    uint32_t len = (uint32_t)(trim_blanks(value, end) - value);
    planted_header(at, name_len, value, len);
    r->last = read_field(to, at, name_len, value, len);
    /* The last place is for Host, wherever it stands. */
    bool host = hosts == 0 && to->hosts == 1;
    r->kept = r->count < PICO_MAX_PAIRS - 1 || (host && r->count < PICO_MAX_PAIRS);
    if (r->kept)
        keep(r, at, name_len, value, len);
}

COLD void read_odd_headers(const work *w, head *h, announced *a, pico_pair *pairs)
{
    const uint8_t *at = h->lines, *end = h->start + h->len;
    reading r = {.w = w, .to = a, .pairs = pairs};

    while (at != end) {
        const uint8_t *lf = find_lf(at, end), *line_end = lf;
        if (line_end != at && line_end[-1] == '\r')
            --line_end;
        else if (lf != end)
            a->flags |= PICO_F_BARE_LF;
        if (line_end != at)
            read_line(&r, at, line_end, lf == end);
        at = lf == end ? end : lf + 1;
    }
    if (r.lines > PICO_MAX_HEADERS)
        a->flags |= PICO_F_TOO_MANY_HEADERS;
    h->num_headers = r.count;
}
