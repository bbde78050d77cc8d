/* Redis' protocol, RESP 2 and 3: an example of a module for a protocol that is not HTTP. Each command is an operation, each
 * reply an outcome; what a command or a reply holds is counted over, not read. The HTTP/1 module hands connections over
 * whose client begins like "*2\r\n$".
 *
 * Loss ends it: which reply answers what is not known after a gap, so that the rest of the connection is left out. */
#include "module.h"

#define STATE_FORMAT 1u
/* The longest name of a command; a longer one is cut. The longest line: longer, and it is not RESP. Arbitrary numbers. */
#define LONGEST_NAME 64u
#define LONGEST_LINE 4096u
/* Arrays within arrays. */
#define DEEPEST 8u
#define LONGEST_BULK (UINT64_C(1) << 32)

/* Where a side stands. */
typedef struct side_state {
    uint64_t expected;      /* offset of the next byte */
    uint64_t remaining;     /* bytes of a bulk string still to come, with its end */
    uint32_t left[DEEPEST]; /* items still to come, of each array that is open */
    uint8_t depth;          /* arrays open */
    uint8_t phase;
    uint8_t reserved[6];
} side_state;

enum phase { PHASE_TOP = 0, PHASE_INSIDE = 1, PHASE_OVER = 2 };

typedef struct block {
    uint8_t client; /* 1 + the side that sends commands: the note of the module that handed over */
    uint8_t reserved[7];
    uint32_t commands;
    uint32_t answered;
    side_state sides[2];
} block;

_Static_assert(sizeof(block) == PICO_BLOCK_SIZE, "the block is all there is");

const module_properties properties = {.protocol = {"resp"}, .state_format = STATE_FORMAT, .first_window = 8};

typedef struct work {
    call *call;
    const pico_event *event;
    block *block;
    side_state *side;
    const uint8_t *bytes;
    uint32_t len, pos, index;
    bool is_client;
} work;

enum step { STEP_ON, STEP_MORE, STEP_FULL };

/* A line: its first byte says what it is. */
typedef struct line {
    uint8_t kind;
    uint32_t text, text_len; /* behind the first byte, without the end */
    uint32_t end;            /* position behind its LF */
    bool negative;
    uint64_t number;         /* in kinds that have one */
} line;

/* ---- lines ------------------------------------------------------------------------------------------------------------- */

static bool has_number(uint8_t kind)
{
    return kind == '$' || kind == '*' || kind == '!' || kind == '=' || kind == '~' || kind == '>' || kind == '%' || kind == '|';
}

/* Of '|' what is read is not an item: attributes of the item that follows them. */
static bool is_item(uint8_t kind)
{
    return kind != '|' &&
           (has_number(kind) || kind == '+' || kind == '-' || kind == ':' || kind == '_' || kind == '#' || kind == ',' || kind == '(');
}

/* The line at `pos`. False: it is not whole. `over`: it is none. */
static bool read_line(const work *w, uint32_t pos, line *l, bool *over)
{
    uint32_t at = pos;
    *over = false;
    while (at < w->len && at - pos < LONGEST_LINE && w->bytes[at] != '\n')
        ++at;
    if (at == w->len || at - pos == LONGEST_LINE) {
        *over = at - pos == LONGEST_LINE;
        return false;
    }
    *l = (line){.kind = w->bytes[pos], .text = pos + 1, .end = at + 1};
    if (at == pos || w->bytes[at - 1] != '\r') {
        *over = true;
        return false;
    }
    if (at == pos + 1) /* an empty line */
        return true;
    l->text_len = at - 1 - l->text;
    if (!has_number(l->kind))
        return true;
    uint32_t digit = l->text;
    l->negative = l->text_len != 0 && w->bytes[digit] == '-';
    digit += l->negative;
    *over = digit == at - 1 || at - 1 - digit > 10;
    for (; digit < at - 1 && !*over; ++digit) {
        *over = w->bytes[digit] < '0' || w->bytes[digit] > '9';
        l->number = l->number * 10 + (w->bytes[digit] - '0');
    }
    *over |= l->number > LONGEST_BULK;
    return !*over;
}

/* ---- items ------------------------------------------------------------------------------------------------------------- */

/* Nothing more of the connection is read. */
static enum step give_up(work *w)
{
    for (unsigned side = 0; side < 2; ++side)
        w->block->sides[side].phase = PHASE_OVER;
    w->pos = w->len;
    return STEP_ON;
}

/* An item is whole: so may be arrays around it. */
static void item_done(side_state *side)
{
    while (side->depth != 0 && --side->left[side->depth - 1] == 0)
        --side->depth;
    if (side->depth == 0)
        side->phase = PHASE_TOP;
}

/* Takes the line with which an item begins. */
static enum step take_item(work *w, const line *l)
{
    side_state *side = w->side;
    uint64_t items = 0;

    side->phase = PHASE_INSIDE;
    w->pos = l->end;
    switch (l->kind) {
    case '$':
    case '!':
    case '=':
        if (l->negative)
            break;
        side->remaining = l->number + 2;
        return STEP_ON;
    case '*':
    case '~':
    case '>':
        items = l->negative ? 0 : l->number;
        break;
    case '%':
        items = l->negative ? 0 : 2 * l->number;
        break;
    default:
        if (!is_item(l->kind))
            return give_up(w);
    }
    if (items > UINT32_MAX || (items != 0 && side->depth == DEEPEST))
        return give_up(w);
    if (items != 0)
        side->left[side->depth++] = (uint32_t)items;
    else
        item_done(side);
    return STEP_ON;
}

/* A command: an array whose first item names it, or a line of words. */
static enum step take_command(work *w, const line *l)
{
    line name = {.text = w->pos, .end = l->end};
    bool over = false;

    if (l->kind == '*') {
        if (l->negative || l->number == 0)
            return take_item(w, l);
        if (l->end < w->len && w->bytes[l->end] != '$')
            return give_up(w);
        if (!read_line(w, l->end, &name, &over))
            return over ? give_up(w) : STEP_MORE;
        if (name.negative)
            return give_up(w);
        name.text = name.end;
        name.text_len = name.number < LONGEST_NAME ? (uint32_t)name.number : LONGEST_NAME;
        if (w->len - name.text < name.text_len)
            return STEP_MORE;
    } else {
        while (name.text + 2 < l->end && w->bytes[name.text] == ' ')
            ++name.text;
        if (name.text + 2 == l->end) { /* an empty line is not answered */
            w->pos = l->end;
            return STEP_ON;
        }
        while (name.text + name.text_len + 2 < l->end && w->bytes[name.text + name.text_len] > ' ' && name.text_len < LONGEST_NAME)
            ++name.text_len;
    }
    uint32_t end = l->kind == '*' ? name.text + name.text_len : l->end;
    pico_record *r = new_record(w->call, w->index, PICO_RECORD_OPERATION, w->pos, end);
    r->number = ++w->block->commands;
    r->text = name.text;
    r->text_len = name.text_len;
    if (l->kind != '*') {
        w->pos = l->end;
        return STEP_ON;
    }
    w->side->phase = PHASE_INSIDE;
    w->side->depth = 1;
    w->side->left[0] = (uint32_t)l->number;
    w->side->remaining = name.number - name.text_len + 2;
    w->pos = end;
    return STEP_ON;
}

static enum step take_reply(work *w, const line *l)
{
    block *b = w->block;
    if (!is_item(l->kind))
        return give_up(w);
    if (l->kind != '>' && b->answered < b->commands) {
        pico_record *r = new_record(w->call, w->index, PICO_RECORD_OUTCOME, w->pos, l->end);
        r->number = ++b->answered;
        if (l->kind == '-' || l->kind == '+') {
            r->text = l->text;
            r->text_len = l->text_len;
        }
        r->flags = l->kind == '-' || l->kind == '!' ? PICO_F_FAILED : 0;
    }
    return take_item(w, l);
}

static enum step step(work *w)
{
    side_state *side = w->side;
    line l;
    bool over;

    if (side->phase == PHASE_OVER)
        return give_up(w);
    if (side->remaining != 0) {
        uint32_t count = w->len - w->pos;
        if (count > side->remaining)
            count = (uint32_t)side->remaining;
        w->pos += count;
        side->remaining -= count;
        if (side->remaining == 0)
            item_done(side);
        return STEP_ON;
    }
    if (!read_line(w, w->pos, &l, &over))
        return over || w->event->flags & PICO_EVENT_FINAL ? give_up(w) : STEP_MORE;
    if (side->phase == PHASE_INSIDE)
        return take_item(w, &l);
    if (!has_records(w->call, 1))
        return STEP_FULL;
    enum step done = w->is_client ? take_command(w, &l) : take_reply(w, &l);
    return done == STEP_MORE && w->event->flags & PICO_EVENT_FINAL ? give_up(w) : done;
}

/* ---- the answer -------------------------------------------------------------------------------------------------------- */

/* Bytes that were not shown: those of strings that were asked to be left out, or loss. */
static void pass_unseen(work *w, uint64_t count, bool lost)
{
    side_state *side = w->side;
    side->expected += count;
    if (lost || side->remaining < count) {
        give_up(w);
        return;
    }
    side->remaining -= count;
    if (side->remaining == 0 && side->phase == PHASE_INSIDE)
        item_done(side);
}

bool answer(call *c, uint32_t index, pico_row *row, pico_result *result)
{
    const pico_event *e = &c->events[index];
    block *b = (block *)row->block;
    work w = {.call = c, .event = e, .block = b, .side = &b->sides[e->side], .bytes = c->arena + e->data, .len = e->len, .index = index};
    enum step done = STEP_ON;

    w.is_client = b->client == 1 + e->side;
    if (e->offset > w.side->expected)
        pass_unseen(&w, e->offset - w.side->expected, !(e->flags & PICO_EVENT_SHED) || w.side->remaining == 0);
    if (e->kind == PICO_EVENT_VOID)
        pass_unseen(&w, e->length, e->lost != 0 && w.side->phase != PHASE_OVER);
    while (e->kind == PICO_EVENT_BYTES && w.pos < w.len && done == STEP_ON)
        done = step(&w);
    if (e->kind != PICO_EVENT_VOID)
        w.side->expected = e->offset + w.pos;
    result->consumed = w.pos;
    result->verdict = done == STEP_FULL ? PICO_OUTPUT_FULL : done == STEP_MORE ? PICO_NEED_MORE : PICO_DONE;
    if (done == STEP_ON && e->kind != PICO_EVENT_END && w.side->phase == PHASE_OVER)
        result->skip = PICO_FOREVER;
    else if (done == STEP_ON && e->kind != PICO_EVENT_END && w.side->remaining != 0)
        result->skip = w.side->expected + w.side->remaining;
    return true;
}
