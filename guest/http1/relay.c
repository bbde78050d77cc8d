/* Relays: SOCKS 4, 4a and 5 (RFC 1928, RFC 1929) and the PROXY protocol, versions 1 and 2. What follows them is a stream of
 * its own, which is not looked at here. */
#include <string.h>

#include "recognise.h"
#include "state.h"

/* Steps of the side that asks; the other side has the first three. Kept in side_state.tries. */
enum relay_step {
    RELAY_GREETING = 0, /* SOCKS 5: methods offered, method chosen */
    RELAY_LOGIN = 1,    /* SOCKS 5: user and password and their answer (RFC 1929), or the request and its answer */
    RELAY_REQUEST = 2,  /* the request, and its answer */
    RELAY_ASKED = 3     /* the request was sent: what follows waits for the answer */
};

/* Kept in side_state.failed. */
enum relay_version { RELAY_SOCKS4 = 4, RELAY_SOCKS5 = 5 };

enum { SOCKS_CONNECT = 1, SOCKS5_NO_LOGIN = 0, SOCKS5_LOGIN = 2, SOCKS5_IPV4 = 1, SOCKS5_NAME = 3, SOCKS5_IPV6 = 4, SOCKS4_GRANTED = 0x5a };

/* The longest user name of SOCKS 4, and the longest name of a target. An arbitrary number for the first. */
#define LONGEST_NAME 255u
/* The longest text of an address: of IPv6, with brackets, and a port; or a name with a port. With the word before it. */
#define LONGEST_ADDRESS 280u
/* The longest line of PROXY version 1, with its end. */
#define PROXY1_LIMIT 107u

/* ---- text ------------------------------------------------------------------------------------------------------------ */

COLD static void put_number(call *c, uint32_t number, unsigned base)
{
    static const char digits[] = "0123456789abcdef";
    uint8_t reversed[10];
    uint32_t len = 0;
    do {
        reversed[len++] = (uint8_t)digits[number % base];
        number /= base;
    } while (number != 0);
    while (len != 0)
        put_text(c, reversed[--len]);
}

COLD static void put_word(call *c, const char *word)
{
    while (*word != 0)
        put_text(c, (uint8_t)*word++);
}

static uint32_t big16(const uint8_t *at)
{
    return (uint32_t)at[0] << 8 | at[1];
}

COLD static void put_port(call *c, const uint8_t *port)
{
    put_text(c, ':');
    put_number(c, big16(port), 10);
}

COLD static void put_ipv4(call *c, const uint8_t *ip, const uint8_t *port)
{
    for (uint32_t i = 0; i < 4; ++i) {
        if (i != 0)
            put_text(c, '.');
        put_number(c, ip[i], 10);
    }
    put_port(c, port);
}

/* As RFC 5952 has it: the first of the longest runs of zeros is left out, if it has two groups at least. */
COLD static void put_ipv6(call *c, const uint8_t *ip, const uint8_t *port)
{
    uint32_t left_out = 8, zeros = 1;
    for (uint32_t i = 0, run; i < 8; i += run + 1) {
        for (run = 0; i + run < 8 && big16(ip + 2 * (i + run)) == 0; ++run)
            ;
        if (run > zeros) {
            left_out = i;
            zeros = run;
        }
    }
    put_text(c, '[');
    for (uint32_t i = 0; i < 8; ++i) {
        if (i == left_out) {
            put_word(c, "::");
            i += zeros - 1;
            continue;
        }
        if (i != 0 && i != left_out + zeros)
            put_text(c, ':');
        put_number(c, big16(ip + 2 * i), 16);
    }
    put_text(c, ']');
    put_port(c, port);
}

COLD static void put_name(call *c, const uint8_t *name, uint32_t len, const uint8_t *port)
{
    for (uint32_t i = 0; i < len; ++i)
        put_text(c, name[i]);
    put_port(c, port);
}

/* ---- SOCKS ------------------------------------------------------------------------------------------------------------ */

/* The version of SOCKS that a client's first bytes speak; RECOGNISE_HTTP: none. */
COLD static int socks_version(const uint8_t *bytes, uint32_t len)
{
    if (bytes[0] == RELAY_SOCKS5) /* so many methods, of which at least one */
        return len == 1 ? RECOGNISE_MORE : bytes[1] != 0 ? RELAY_SOCKS5 : RECOGNISE_HTTP;
    if (bytes[0] == RELAY_SOCKS4) /* connect or bind */
        return len == 1 ? RECOGNISE_MORE : bytes[1] == 1 || bytes[1] == 2 ? RELAY_SOCKS4 : RECOGNISE_HTTP;
    return RECOGNISE_HTTP;
}

COLD static void begin_socks(work *w, unsigned version)
{
    block *b = w->block;
    b->shared |= w->me == 0 ? SHARED_CLIENT0 : SHARED_CLIENT1;
    for (unsigned side = 0; side < 2; ++side) {
        b->phase[side] = PHASE_RELAY;
        b->sides[side].tries = version == RELAY_SOCKS4 ? RELAY_REQUEST : RELAY_GREETING;
        b->sides[side].failed = version;
        b->side_flags[side] |= SIDE_SPOKE;
    }
}

/* Nothing more of the connection is understood. */
COLD static enum step not_relayed(work *w)
{
    give_up(w, PICO_NOT_HTTP_OTHER, w->pos);
    w->block->phase[w->me ^ 1u] = PHASE_OVER;
    w->pos = w->len;
    return STEP_ON;
}

static enum step consume(work *w, uint32_t bytes, unsigned next)
{
    w->pos += bytes;
    w->side->tries = next;
    return STEP_ON;
}

/* The operation that a request is, of `bytes` bytes: its name. */
COLD static pico_record *write_operation(work *w, unsigned command, uint32_t bytes)
{
    static const char *const names[] = {"", "connect", "bind", "associate"};
    call *c = w->call;
    pico_record *r = add_record(w, PICO_RECORD_OPERATION, w->pos, w->pos + bytes);

    r->number = w->block->requests = 1;
    r->text = text_here(c);
    put_word(c, names[command]);
    r->target = text_here(c);
    r->text_len = r->target - r->text;
    w->side->command = command;
    return r;
}

/* The operation's outcome. If it is granted, a tunnel begins. */
COLD static enum step write_outcome(work *w, bool granted, const char *status, uint32_t bytes)
{
    block *b = w->block;
    call *c = w->call;
    side_state *client = &b->sides[w->me ^ 1u];
    bool tunnel = granted && client->command == SOCKS_CONNECT;
    pico_record *r = add_record(w, PICO_RECORD_OUTCOME, w->pos, w->pos + bytes);

    r->number = b->requests;
    r->flags = granted ? 0 : PICO_F_FAILED;
    r->text = text_here(c);
    put_word(c, status);
    r->text_len = text_here(c) - r->text;
    w->pos += bytes;
    if (!tunnel || !w->nests)
        return not_relayed(w);
    r = add_record(w, PICO_RECORD_TUNNEL, w->pos, w->pos);
    r->code = PICO_TUNNEL_SOCKS;
    r->number = b->requests;
    return STEP_INNER;
}

COLD static enum step socks5_request(work *w, const uint8_t *at, uint32_t len)
{
    if (len < 5)
        return STEP_MORE;
    uint32_t address = at[3] == SOCKS5_IPV4 ? 4 : at[3] == SOCKS5_IPV6 ? 16 : at[3] == SOCKS5_NAME ? 1u + at[4] : 0;
    if (at[0] != RELAY_SOCKS5 || at[1] == 0 || at[1] > 3 || at[2] != 0 || address == 0)
        return not_relayed(w);
    if (len < 4 + address + 2)
        return STEP_MORE;
    const uint8_t *port = at + 4 + address;
    pico_record *r = write_operation(w, at[1], 4 + address + 2);
    if (at[3] == SOCKS5_IPV4)
        put_ipv4(w->call, at + 4, port);
    else if (at[3] == SOCKS5_IPV6)
        put_ipv6(w->call, at + 4, port);
    else
        put_name(w->call, at + 5, at[4], port);
    r->target_len = text_here(w->call) - r->target;
    return consume(w, 4 + address + 2, RELAY_ASKED);
}

COLD static enum step socks4_request(work *w, const uint8_t *at, uint32_t len)
{
    const uint8_t *user = at + 8, *name = NULL;
    if (len < 9)
        return STEP_MORE;
    bool named = at[4] == 0 && at[5] == 0 && at[6] == 0 && at[7] != 0;
    const uint8_t *end = memchr(user, 0, len - 8);
    if (end != NULL && named) {
        name = end + 1;
        end = memchr(name, 0, len - (uint32_t)(name - at));
    }
    uint32_t limit = 8 + (named ? 2 : 1) * (LONGEST_NAME + 1);
    if (end == NULL)
        return len < limit ? STEP_MORE : not_relayed(w);
    if ((uint32_t)(end - at) >= limit || (named && (uint32_t)(end - name) > LONGEST_NAME))
        return not_relayed(w);
    pico_record *r = write_operation(w, at[1], (uint32_t)(end + 1 - at));
    if (named)
        put_name(w->call, name, (uint32_t)(end - name), at + 2);
    else
        put_ipv4(w->call, at + 4, at + 2);
    r->target_len = text_here(w->call) - r->target;
    return consume(w, (uint32_t)(end + 1 - at), RELAY_ASKED);
}

/* User name and password: passed over. */
COLD static enum step socks5_login(work *w, const uint8_t *at, uint32_t len)
{
    if (len < 2 || len < 3u + at[1] || len < 3u + at[1] + at[2 + at[1]])
        return STEP_MORE;
    return consume(w, 3u + at[1] + at[2 + at[1]], RELAY_REQUEST);
}

COLD static enum step step_asking(work *w, const uint8_t *at, uint32_t len)
{
    switch (w->side->tries) {
    case RELAY_GREETING:
        if (len < 2 || len < 2u + at[1])
            return STEP_MORE;
        return consume(w, 2u + at[1], RELAY_LOGIN);
    case RELAY_LOGIN:
        if (at[0] == 1)
            return socks5_login(w, at, len);
        return socks5_request(w, at, len);
    case RELAY_REQUEST:
        return w->side->failed == RELAY_SOCKS4 ? socks4_request(w, at, len) : socks5_request(w, at, len);
    default: /* as after CONNECT */
        return len < UNIT_LIMIT ? STEP_MORE : not_relayed(w);
    }
}

COLD static enum step socks5_answer(work *w, const uint8_t *at, uint32_t len)
{
    static const char *const texts[] = {"succeeded",           "general failure",       "not allowed",
                                        "network unreachable", "host unreachable",      "connection refused",
                                        "TTL expired",         "command not supported", "address type not supported"};
    if (len < 5)
        return STEP_MORE;
    uint32_t address = at[3] == SOCKS5_IPV4 ? 4 : at[3] == SOCKS5_IPV6 ? 16 : at[3] == SOCKS5_NAME ? 1u + at[4] : 0;
    if (at[0] != RELAY_SOCKS5 || address == 0)
        return not_relayed(w);
    if (len < 4 + address + 2)
        return STEP_MORE;
    return write_outcome(w, at[1] == 0, at[1] < 9 ? texts[at[1]] : "failed", 4 + address + 2);
}

COLD static enum step socks4_answer(work *w, const uint8_t *at, uint32_t len)
{
    if (at[0] != 0)
        return not_relayed(w);
    if (len < 8)
        return STEP_MORE;
    return write_outcome(w, at[1] == SOCKS4_GRANTED, at[1] == SOCKS4_GRANTED ? "granted" : "rejected", 8);
}

COLD static enum step step_answering(work *w, const uint8_t *at, uint32_t len)
{
    bool asked = w->block->sides[w->me ^ 1u].tries == RELAY_ASKED;
    switch (w->side->tries) {
    case RELAY_GREETING:
        if (len < 2)
            return STEP_MORE;
        if (at[0] != RELAY_SOCKS5 || (at[1] != SOCKS5_NO_LOGIN && at[1] != SOCKS5_LOGIN)) /* GSSAPI wraps what follows */
            return not_relayed(w);
        return consume(w, 2, RELAY_LOGIN);
    case RELAY_LOGIN:
        if (at[0] == 1)
            return len < 2 ? STEP_MORE : consume(w, 2, RELAY_REQUEST);
        break;
    default:
        break;
    }
    if (!asked) /* captured before what it answers */
        return len < UNIT_LIMIT ? STEP_MORE : not_relayed(w);
    return w->side->failed == RELAY_SOCKS4 ? socks4_answer(w, at, len) : socks5_answer(w, at, len);
}

COLD enum step step_relay(work *w)
{
    const uint8_t *at = w->bytes + w->pos;
    uint32_t len = w->len - w->pos;
    if (!has_text(w->call, LONGEST_ADDRESS))
        return STEP_FULL;
    enum step done = is_client(w->block, w->me) ? step_asking(w, at, len) : step_answering(w, at, len);
    return done == STEP_MORE && w->final ? not_relayed(w) : done;
}

/* ---- PROXY ------------------------------------------------------------------------------------------------------------ */

static const uint8_t signature1[6] = {'P', 'R', 'O', 'X', 'Y', ' '};
static const uint8_t signature2[12] = {'\r', '\n', '\r', '\n', 0, '\r', '\n', 'Q', 'U', 'I', 'T', '\n'};

/* Whether the bytes begin as the signature does, as far as they go. */
static bool begins(const uint8_t *bytes, uint32_t len, const uint8_t *signature, uint32_t size)
{
    return memcmp(bytes, signature, len < size ? len : size) == 0;
}

COLD static bool may_be_proxy(const uint8_t *bytes, uint32_t len)
{
    return begins(bytes, len, signature1, sizeof(signature1)) || begins(bytes, len, signature2, sizeof(signature2));
}

COLD static enum step write_proxy(work *w, pico_record *r, uint32_t bytes)
{
    w->pos += bytes;
    r->start = r->end = w->pos;
    return STEP_INNER;
}

COLD static enum step step_proxy2(work *w, const uint8_t *at, uint32_t len)
{
    if (len < 16)
        return STEP_MORE;
    uint32_t size = 16 + big16(at + 14);
    unsigned family = at[13] >> 4, transport = at[13] & 15;
    bool local = (at[12] & 15) == 0;
    if (at[12] >> 4 != 2 || (at[12] & 15) > 1 || size > UNIT_LIMIT)
        return not_relayed(w);
    if (len < size)
        return STEP_MORE;
    call *c = w->call;
    pico_record *r = add_record(w, PICO_RECORD_TUNNEL, w->pos, w->pos);
    r->code = PICO_TUNNEL_PROXY;
    const uint8_t *a = at + 16;
    if (!local && transport == 1 && ((family == 1 && size >= 16 + 12) || (family == 2 && size >= 16 + 36))) {
        r->text = text_here(c);
        family == 1 ? put_ipv4(c, a, a + 8) : put_ipv6(c, a, a + 32);
        r->target = text_here(c);
        r->text_len = r->target - r->text;
        family == 1 ? put_ipv4(c, a + 4, a + 10) : put_ipv6(c, a + 16, a + 34);
        r->target_len = text_here(c) - r->target;
    }
    return write_proxy(w, r, size);
}

/* The next word of a line: up to a space or the end. */
typedef struct line_word {
    const uint8_t *at;
    uint32_t len;
} line_word;

COLD static line_word next_word(const uint8_t **at, const uint8_t *end)
{
    line_word word = {*at, 0};
    while (*at != end && **at != ' ')
        ++*at;
    word.len = (uint32_t)(*at - word.at);
    if (*at != end)
        ++*at;
    return word;
}

COLD static uint32_t put_endpoint(call *c, line_word address, line_word port, bool brackets)
{
    uint32_t before = c->out->text_len;
    if (brackets)
        put_text(c, '[');
    for (uint32_t i = 0; i < address.len; ++i)
        put_text(c, address.at[i]);
    if (brackets)
        put_text(c, ']');
    put_text(c, ':');
    for (uint32_t i = 0; i < port.len; ++i)
        put_text(c, port.at[i]);
    return c->out->text_len - before;
}

COLD static enum step step_proxy1(work *w, const uint8_t *at, uint32_t len)
{
    const uint8_t *lf = memchr(at, '\n', len < PROXY1_LIMIT ? len : PROXY1_LIMIT);
    if (lf == NULL)
        return len < PROXY1_LIMIT ? STEP_MORE : not_relayed(w);
    if (lf[-1] != '\r')
        return not_relayed(w);
    const uint8_t *next = at + sizeof(signature1), *end = lf - 1;
    line_word family = next_word(&next, end), source = next_word(&next, end), target = next_word(&next, end);
    line_word source_port = next_word(&next, end), target_port = next_word(&next, end);
    bool known = family.len == 4 && memcmp(family.at, "TCP", 3) == 0 && (family.at[3] == '4' || family.at[3] == '6');
    if (known ? next != end || target_port.len == 0 : family.len != 7 || memcmp(family.at, "UNKNOWN", 7) != 0)
        return not_relayed(w);
    call *c = w->call;
    pico_record *r = add_record(w, PICO_RECORD_TUNNEL, w->pos, w->pos);
    r->code = PICO_TUNNEL_PROXY;
    if (known) {
        r->text = text_here(c);
        r->text_len = put_endpoint(c, source, source_port, family.at[3] == '6');
        r->target = text_here(c);
        r->target_len = put_endpoint(c, target, target_port, family.at[3] == '6');
    }
    return write_proxy(w, r, (uint32_t)(lf + 1 - at));
}

COLD static enum step step_proxy(work *w)
{
    const uint8_t *at = w->bytes + w->pos;
    uint32_t len = w->len - w->pos;
    enum step done;
    if (!has_text(w->call, 2 * LONGEST_ADDRESS))
        return STEP_FULL;
    if (len >= sizeof(signature1) && begins(at, len, signature1, sizeof(signature1)))
        done = step_proxy1(w, at, len);
    else if (len >= sizeof(signature2))
        done = step_proxy2(w, at, len);
    else
        done = STEP_MORE;
    return done == STEP_MORE && w->final ? not_relayed(w) : done;
}

/* ---- another module ---------------------------------------------------------------------------------------------------- */

/* A command of Redis' protocol begins like "*2\r\n$": its module goes on, where there is one. */
COLD static enum step start_resp(work *w, const uint8_t *at, uint32_t len)
{
    static const pico_protocol_name resp = {"resp"};
    uint32_t digits = 1;
    while (digits < len && digits < 8 && at[digits] >= '0' && at[digits] <= '9')
        ++digits;
    for (uint32_t i = 0; i < 3; ++i)
        if (digits + i < len && at[digits + i] != "\r\n$"[i])
            return STEP_ON;
    if (digits == len || digits + 2 >= len)
        return w->final ? STEP_ON : STEP_MORE;
    int index = digits == 1 ? -1 : protocol_index(w->call, &resp);
    if (index < 0)
        return STEP_ON;
    memset(w->block, 0, sizeof(*w->block));
    *(uint8_t *)w->block = (uint8_t)(1 + w->me); /* the note: who sends commands */
    w->hand_to = (uint8_t)index;
    return STEP_HAND_OVER;
}

/* ---- the start of a connection ------------------------------------------------------------------------------------------ */

/* A server's first bytes wait so long for the client's, where these were captured later. */
#define PATIENCE 1024u

COLD enum step start_relay(work *w)
{
    const block *b = w->block;
    unsigned other = w->me ^ 1u;
    const uint8_t *at = w->bytes + w->pos;
    uint32_t len = w->len - w->pos;
    bool first = b->phase[other] == PHASE_START && b->sides[other].expected == 0;

    if (!first || !w->nests || offset_at(w, w->pos) != 0)
        return STEP_ON;
    if (at[0] == '*')
        return start_resp(w, at, len);
    if (may_be_proxy(at, len)) {
        if (w->final && len < sizeof(signature2))
            return STEP_ON;
        return step_proxy(w);
    }
    if (w->opener == other) { /* it may be an answer */
        bool may_be_answer = at[0] == 0 || at[0] == RELAY_SOCKS5;
        return may_be_answer && !w->final && len < PATIENCE ? STEP_MORE : STEP_ON;
    }
    int version = socks_version(at, len);
    if (version == RECOGNISE_HTTP)
        return STEP_ON;
    if (version == RECOGNISE_MORE)
        return w->final ? STEP_ON : STEP_MORE;
    begin_socks(w, (unsigned)version);
    return step_relay(w);
}
