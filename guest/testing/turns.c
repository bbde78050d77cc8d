/* A module for tests of what connections become: handed over to another module, or a tunnel. It is built several times, each
 * under a protocol's name. Both sides send lines; each line is an operation, and some are orders:
 *
 *     >NAME     the module of that protocol goes on behind this line
 *     <NAME     that module goes on with this line, and takes it like any other
 *     =NAME     as <NAME, but the next module does the same to the one before: back and forth without a byte
 *     T         what follows is inside a tunnel
 *     SNUMBER   so many bytes behind the line are passed over
 *     X         asks for extra state, and fills it
 *     !         a fault
 *
 * What is left of a connection when it is handed over is a note, which fills the block. */
#include "module.h"

#ifndef PROTOCOL
#define PROTOCOL "http1"
#endif

#ifndef STATE_FORMAT
#define STATE_FORMAT 3000u
#endif
#define NOTE 0xa7
#define LONGEST_LINE 4096u
#define MOST_RECORDS 4u

/* Codes of error records: what they stand for here. */
enum {
    SAID_BAD_NOTE = PICO_ERROR_BAD_START_LINE, /* the flag, the note and the state do not fit */
    SAID_GAP = PICO_ERROR_LOST_FRAMING,
    SAID_END = PICO_ERROR_LOST_HEAD,
    SAID_UNKNOWN = PICO_ERROR_BAD_HEADER       /* no such protocol */
};

typedef struct block {
    uint8_t kind;         /* NOTE: left for the next module */
    uint8_t from;         /* note: 1 + index of the protocol that left it */
    uint8_t tunnel;       /* the connection is a tunnel: nothing more may come */
    uint8_t bad;          /* to be said: the flag, the note and the state do not fit */
    uint32_t operations;
    uint64_t expected[2]; /* 1 + offset of the next byte of each side; 0: not known */
    uint64_t passing[2];  /* bytes of each side to be passed over */
    uint8_t rest[PICO_BLOCK_SIZE - 40];
} block;

_Static_assert(sizeof(block) == PICO_BLOCK_SIZE, "the block is all there is");

const module_properties properties = {.protocol = {PROTOCOL}, .state_format = STATE_FORMAT, .first_window = 2};

static void say(call *c, uint32_t index, unsigned code, uint32_t at)
{
    new_record(c, index, PICO_RECORD_ERROR, at, at)->code = (uint16_t)code;
}

static uint8_t note_byte(uint32_t at, uint32_t operations)
{
    return (uint8_t)(at * 31 + operations * 7 + 1);
}

static int own_index(const call *c)
{
    return protocol_index(c, &properties.protocol);
}

/* Whether the row is as the contract says it is in the first call after a hand-over. */
static bool is_handed_over(const call *c, const pico_row *row, const block *b)
{
    if (b->kind != NOTE || b->from != row->handed_by || b->from == 1 + own_index(c) || row->extra_size != 0 || row->extra_used != 0)
        return false;
    for (uint32_t i = 0; i < sizeof(b->rest); ++i)
        if (b->rest[i] != note_byte(i, b->operations))
            return false;
    return true;
}

/* What this module left is there, and nothing of another one. */
static bool is_own(const call *c, const pico_row *row, const block *b)
{
    const uint8_t *extra = c->states + row->extra;
    for (uint32_t i = 0; i < row->extra_size; ++i)
        if (extra[i] != (i < row->extra_used ? 0xee : 0))
            return false;
    return b->kind == 0;
}

/* Checks the row, before anything is answered. */
static void see(call *c, pico_row *row, block *b)
{
    if (!is_first_look(row))
        return;
    bool handed = (row->flags & PICO_ROW_HANDED_OVER) != 0;
    bool bad = b->tunnel || !(handed ? is_handed_over(c, row, b) : is_own(c, row, b));
    if (handed)
        *b = (block){.operations = b->operations};
    b->bad |= bad;
}

static void hand_over(call *c, pico_row *row, block *b, int to, pico_result *result, uint32_t consumed)
{
    *b = (block){.kind = NOTE, .from = (uint8_t)(1 + own_index(c)), .operations = b->operations};
    for (uint32_t i = 0; i < sizeof(b->rest); ++i)
        b->rest[i] = note_byte(i, b->operations);
    row->hand_to = (uint8_t)to;
    result->verdict = PICO_HAND_OVER;
    result->consumed = consumed;
}

/* An operation: the line is its name, and its target says who has read it. */
static void operation(call *c, uint32_t index, block *b, uint32_t start, uint32_t len, uint32_t end)
{
    pico_record *r = new_record(c, index, PICO_RECORD_OPERATION, start, end);
    r->number = ++b->operations;
    r->text = start;
    r->text_len = len;
    r->target = text_here(c);
    for (const char *at = PROTOCOL; *at != 0; ++at)
        put_text(c, (uint8_t)*at);
    r->target_len = text_here(c) - r->target;
}

static int named(const call *c, const uint8_t *name, uint32_t len)
{
    pico_protocol_name padded = {{0}};
    if (len == 0 || len > PICO_NAME_SIZE)
        return -1;
    __builtin_memcpy(padded.name, name, len);
    return protocol_index(c, &padded);
}

/* Takes the line at `start`. False: the event is answered. */
static bool take_line(call *c, uint32_t index, pico_row *row, pico_result *result, block *b, const uint8_t *bytes, uint32_t start,
                      uint32_t len, uint32_t end)
{
    const uint8_t *line = bytes + start;
    unsigned side = c->events[index].side;
    uint8_t order = len == 0 ? 0 : line[0];
    int to = order == '>' || order == '<' || order == '=' ? named(c, line + 1, len - 1) : -1;

    if (order == '!')
        __builtin_trap();
    if (order == '=') {
        hand_over(c, row, b, to == own_index(c) ? row->handed_by - 1 : to, result, start);
        return false;
    }
    if (order == '<' && to >= 0 && to != own_index(c)) {
        hand_over(c, row, b, to, result, start);
        return false;
    }
    if (order == 'X' && row->extra_size == 0 && !(row->flags & PICO_ROW_NO_GROWTH)) {
        row->grow = PICO_EXTRA_UNIT;
        result->verdict = PICO_GROW;
        result->consumed = start;
        return false;
    }
    operation(c, index, b, start, len, end);
    if (order == 'X') {
        row->extra_used = row->extra_size / 2;
        __builtin_memset(c->states + row->extra, 0xee, row->extra_used);
    }
    if (order == 'S')
        for (uint32_t i = 1; i < len; ++i)
            b->passing[side] = b->passing[side] * 10 + (line[i] - '0');
    if (order == '>' && (to < 0 || to == own_index(c)))
        say(c, index, SAID_UNKNOWN, end);
    else if (order == '>')
        hand_over(c, row, b, to, result, end);
    if (order == 'T' && row->depth < PICO_MAX_DEPTH) {
        pico_record *r = new_record(c, index, PICO_RECORD_TUNNEL, end, end);
        r->code = PICO_TUNNEL_OTHER;
        r->number = b->operations;
        b->tunnel = 1;
        result->verdict = PICO_INNER;
        result->consumed = end;
    }
    return result->verdict == 0;
}

static void read_bytes(call *c, uint32_t index, pico_row *row, pico_result *result, block *b)
{
    const pico_event *e = &c->events[index];
    const uint8_t *bytes = c->arena + e->data;
    uint64_t *passing = &b->passing[e->side];
    uint32_t pos = 0;

    while (pos < e->len) {
        if (*passing != 0) {
            uint32_t count = e->len - pos < *passing ? e->len - pos : (uint32_t)*passing;
            pos += count;
            *passing -= count;
            continue;
        }
        if (!has_records(c, MOST_RECORDS) || !has_text(c, PICO_NAME_SIZE)) {
            result->verdict = PICO_OUTPUT_FULL;
            break;
        }
        uint32_t at = pos;
        while (at < e->len && bytes[at] != '\n' && at - pos < LONGEST_LINE)
            ++at;
        if (at == e->len && at - pos < LONGEST_LINE && !(e->flags & PICO_EVENT_FINAL)) {
            result->verdict = PICO_NEED_MORE;
            result->wake = 1;
            result->wake_byte = '\n';
            break;
        }
        uint32_t end = at < e->len && bytes[at] == '\n' ? at + 1 : at;
        if (!take_line(c, index, row, result, b, bytes, pos, at - pos, end))
            return;
        pos = end;
    }
    result->consumed = pos;
}

bool answer(call *c, uint32_t index, pico_row *row, pico_result *result)
{
    const pico_event *e = &c->events[index];
    block *b = (block *)row->block;
    unsigned side = e->side;

    see(c, row, b);
    if (!has_records(c, MOST_RECORDS)) {
        result->verdict = PICO_OUTPUT_FULL;
        return true;
    }
    if (b->bad)
        say(c, index, SAID_BAD_NOTE, 0);
    b->bad = 0;
    uint64_t gap = b->expected[side] == 0 ? 0 : e->offset + 1 - b->expected[side];
    if (gap != 0) {
        b->passing[side] -= gap < b->passing[side] ? gap : b->passing[side];
        say(c, index, SAID_GAP, 0);
    }
    b->expected[side] = e->offset + 1;
    if (e->kind == PICO_EVENT_BYTES) {
        read_bytes(c, index, row, result, b);
        if (result->verdict == PICO_HAND_OVER)
            return true;
    } else if (e->kind == PICO_EVENT_VOID) {
        if (e->length > b->passing[side])
            say(c, index, SAID_BAD_NOTE, 0); /* nobody has asked for this */
        b->passing[side] -= e->length < b->passing[side] ? e->length : b->passing[side];
        if (e->lost != 0)
            say(c, index, SAID_GAP, 0);
    } else {
        say(c, index, SAID_END, 0);
    }
    b->expected[side] += result->consumed + e->length;
    if (result->verdict != 0)
        return true;
    result->verdict = PICO_DONE;
    if (e->kind != PICO_EVENT_END && b->passing[side] != 0)
        result->skip = b->expected[side] - 1 + b->passing[side];
    return true;
}
