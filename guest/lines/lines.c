/* A second parser, of HTTP start lines alone. It shows how little the contract requires of a guest.
 *
 * Every line of a stream that is a request line or a status line is a message without headers and body; all other lines
 * are skipped. So it knows no framing: a start line in a body counts, one that follows a body without a final LF does not
 * unless the other side has sent in between, and sizes are always zero. Its records do not depend on how the bytes were cut,
 * since a line is parsed when its LF is there, and rejected at the first byte that cannot belong to a start line. */
#include "module.h"

/* The number of the layout of `block`; no other parser uses it. */
#define STATE_FORMAT 1000u
/* Longest start line; a longer line is skipped up to its LF. An arbitrary number, far below PICO_MAX_WAITING. */
#define LONGEST_LINE 8192u
#define LONGEST_METHOD 24u
/* Records of one line: a head and its end. */
#define UNIT_RECORDS 2u

typedef struct block {
    uint64_t expected[2]; /* offset of the next byte of each side */
    uint32_t requests;
    uint32_t answered;
    uint8_t passing[2];   /* within a line that is no start line: skip up to its LF */
    uint8_t spoke;        /* which side sent last: 1 + side */
    uint8_t reserved[PICO_BLOCK_SIZE - 27];
} block;

_Static_assert(sizeof(block) == PICO_BLOCK_SIZE, "the block is all there is");

const module_properties properties = {.protocol = {"http1"}, .state_format = STATE_FORMAT, .first_window = 1};

/* ---- a line ----------------------------------------------------------------------------------------------------------- */

/* A range of a line. */
typedef struct text {
    uint32_t at, len;
} text;

/* Whether the byte is unprintable or ends a token. */
static bool ends_token(uint8_t byte)
{
    return byte <= 0x20 || byte == 0x7f;
}

/* The token at `*at`, and the single space after it. */
static bool token(const uint8_t *line, uint32_t *at, uint32_t len, text *token)
{
    token->at = *at;
    while (*at < len && !ends_token(line[*at]))
        ++*at;
    token->len = *at - token->at;
    return token->len != 0 && *at < len && line[(*at)++] == ' ';
}

/* "HTTP/1." and a digit, at `at`. */
static bool version(const uint8_t *line, uint32_t at, uint32_t len, uint8_t *minor)
{
    static const char prefix[7] = "HTTP/1.";
    if (len < at || len - at < 8)
        return false;
    for (uint32_t i = 0; i < sizeof(prefix); ++i)
        if (line[at + i] != (uint8_t)prefix[i])
            return false;
    *minor = (uint8_t)(line[at + 7] - '0');
    return *minor <= 9;
}

/* "GET /target HTTP/1.1". `r` already has its offset in the stream; offsets here are within the line. */
static bool read_request(const uint8_t *line, uint32_t len, pico_record *r)
{
    text method, target;
    uint32_t at = 0;
    if (!token(line, &at, len, &method) || !token(line, &at, len, &target) || len - at != 8 || !version(line, at, len, &r->minor) ||
        method.len > LONGEST_METHOD)
        return false;
    for (uint32_t i = 0; i < method.len; ++i)
        if (line[i] < 'A' || line[i] > 'Z')
            return false;
    r->kind = PICO_RECORD_REQUEST;
    r->text_len = method.len;
    r->target = target.at;
    r->target_len = target.len;
    return true;
}

/* "HTTP/1.1 200 OK". */
static bool read_status(const uint8_t *line, uint32_t len, pico_record *r)
{
    if (!version(line, 0, len, &r->minor) || len < 12 || line[8] != ' ')
        return false;
    for (uint32_t i = 9; i < 12; ++i) {
        if (line[i] < '0' || line[i] > '9')
            return false;
        r->code = (uint16_t)(r->code * 10 + (line[i] - '0'));
    }
    if (r->code < 100 || (len > 12 && line[12] != ' '))
        return false;
    r->kind = PICO_RECORD_RESPONSE;
    r->text = len > 12 ? 13 : 12;
    r->text_len = len - r->text;
    return true;
}

/* Whether these first bytes of a line can be the beginning of a start line. */
static bool may_start(const uint8_t *line, uint32_t len)
{
    static const char prefix[5] = "HTTP/";
    uint32_t letters = 0, same = 0;
    while (letters < len && letters < LONGEST_METHOD && line[letters] >= 'A' && line[letters] <= 'Z')
        ++letters;
    while (same < len && same < sizeof(prefix) && line[same] == (uint8_t)prefix[same])
        ++same;
    return letters == len || (letters != 0 && line[letters] == ' ') || same == sizeof(prefix);
}

/* ---- an event --------------------------------------------------------------------------------------------------------- */

/* The line from `start` to its LF at `end - 1`: writes a head and its end, or nothing. */
static void take_line(call *c, const pico_event *e, uint32_t index, block *b, const uint8_t *bytes, uint32_t start, uint32_t end)
{
    pico_record r = {.side = e->side, .event = index, .start = start, .end = end};
    uint32_t len = end - 1 - start;
    if (len != 0 && bytes[start + len - 1] == '\r')
        --len;
    if (read_request(bytes + start, len, &r)) {
        r.number = ++b->requests;
    } else if (read_status(bytes + start, len, &r)) {
        if (b->answered == b->requests)
            r.flags = PICO_F_UNSOLICITED;
        else
            r.number = b->answered + 1;
        if (r.code < 200)
            r.flags |= PICO_F_INTERIM;
        else
            b->answered += r.number != 0;
    } else {
        return;
    }
    r.text += start;
    r.target += r.kind == PICO_RECORD_REQUEST ? start : 0;
    c->records[c->out->num_records++] = r;
    new_record(c, index, PICO_RECORD_END, end, end)->number = r.number;
}

bool answer(call *c, uint32_t index, pico_row *row, pico_result *result)
{
    const pico_event *e = &c->events[index];
    block *b = (block *)row->block;
    const uint8_t *bytes = c->arena + e->data;
    uint8_t *passing = &b->passing[e->side];
    uint32_t pos = 0;

    *result = (pico_result){.verdict = PICO_DONE};
    if (e->offset > b->expected[e->side]) /* a gap: what follows is the rest of a line */
        *passing = 1;
    else if (e->len != 0 && b->spoke != e->side + 1)
        *passing = 0;
    b->spoke = e->len != 0 ? e->side + 1 : b->spoke;
    while (pos < e->len) {
        uint32_t at = pos, most = *passing || e->len - pos <= LONGEST_LINE ? e->len : pos + LONGEST_LINE;
        if (!has_records(c, UNIT_RECORDS)) {
            result->verdict = PICO_OUTPUT_FULL;
            break;
        }
        while (at < most && bytes[at] != '\n')
            ++at;
        if (at < most) {
            if (!*passing)
                take_line(c, e, index, b, bytes, pos, at + 1);
            *passing = 0;
            pos = at + 1;
        } else if (*passing || e->len - pos >= LONGEST_LINE || !may_start(bytes + pos, e->len - pos)) {
            *passing = 1;
            pos = at;
        } else if (e->flags & PICO_EVENT_FINAL) {
            pos = at;
        } else {
            *result = (pico_result){.verdict = PICO_NEED_MORE, .wake = 1, .wake_byte = '\n'};
            break;
        }
    }
    result->consumed = pos;
    b->expected[e->side] = e->offset + pos + e->length;
    return true;
}
