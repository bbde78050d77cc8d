/* The argv way: a program whose arguments are requests. It prints what it parsed, and its results can be read from its memory
 * afterwards. Without arguments it parses built-in requests.
 *
 * Exit code: 0 all parsed, 1 some not, 2 out of memory or no output. */
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ways.h"

enum status { PARSED = 1, PARTIAL = 2, MALFORMED = 3 };

/* The result for one argument, as src/parse/argv.rs mirrors it. Offsets are in bytes within the argument. */
typedef struct pico_parsed {
    uint32_t status;
    uint32_t kind; /* malformed: pico_record_kind of the record that reports it (a response is not a request), and its code */
    uint32_t code;
    uint32_t bytes; /* of the head, including its empty line */
    uint32_t minor;
    uint32_t method;
    uint32_t method_len;
    uint32_t target;
    uint32_t target_len;
    pico_pair *headers; /* num_headers entries; a continued line has a name of length 0 */
    uint32_t num_headers;
} pico_parsed;

PICO_LAYOUT(pico_parsed, 44);
PICO_FIELD(pico_parsed, headers, 36);

static pico_parsed *results;
static uint32_t result_count;

EXPORT("get_result_buf") pico_parsed *get_result_buf(void)
{
    return results;
}

EXPORT("get_result_count") uint32_t get_result_count(void)
{
    return result_count;
}

EXPORT("get_result_struct_size") uint32_t get_result_struct_size(void)
{
    return sizeof(pico_parsed);
}

static const char *const built_in[] = {
    "GET /api/v1/bpf HTTP/1.1\r\nHost: tricorder.dev\r\nAccept: */*\r\n\r\n",
    "PUT /api/v2/wasm HTTP/1.1\r\nHost: tricorder.dev\r\nContent-Type: application/wasm\r\nContent-Length: 0\r\n\r\n",
    /* the request of picohttpparser's own benchmark (bench.c) */
    "GET /wp-content/uploads/2010/03/hello-kitty-darth-vader-pink.jpg HTTP/1.1\r\n"
    "Host: www.kittyhell.com\r\n"
    "User-Agent: Mozilla/5.0 (Macintosh; U; Intel Mac OS X 10.6; ja-JP-mac; rv:1.9.2.3) Gecko/20100401 Firefox/3.6.3 "
    "Pathtraq/0.9\r\n"
    "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\n"
    "Accept-Language: ja,en-us;q=0.7,en;q=0.3\r\n"
    "Accept-Encoding: gzip,deflate\r\n"
    "Accept-Charset: Shift_JIS,utf-8;q=0.7,*;q=0.7\r\n"
    "Keep-Alive: 115\r\n"
    "Connection: keep-alive\r\n"
    "Cookie: wp_ozh_wsa_visits=2; wp_ozh_wsa_visit_lasttime=xxxxxxxxxx; "
    "__utma=xxxxxxxxx.xxxxxxxxxx.xxxxxxxxxx.xxxxxxxxxx.xxxxxxxxxx.x; "
    "__utmz=xxxxxxxxx.xxxxxxxxxx.x.x.utmccn=(referral)|utmcsr=reader.livedoor.com|utmcct=/reader/|utmcmd=referral\r\n"
    "\r\n",
};

/* ---- printing ------------------------------------------------------------------------------------------------------ */

static char printed[16384];
static size_t printed_len;

static _Noreturn void fail(const char *why)
{
    /* If this fails too, nothing can be done. */
    if (write(2, why, strlen(why)) < 0)
        exit(2);
    exit(2);
}

static void flush(void)
{
    for (size_t done = 0; done < printed_len;) {
        ssize_t written = write(1, printed + done, printed_len - done);
        if (written <= 0)
            fail("pico: standard output cannot be written\n");
        done += (size_t)written;
    }
    printed_len = 0;
}

static void put(char c)
{
    if (printed_len == sizeof(printed))
        flush();
    printed[printed_len++] = c;
}

static void put_text(const char *text)
{
    while (*text)
        put(*text++);
}

/* A line for a terminal: bytes other than printable ASCII become \xHH, and so does a backslash before an x, so that it can
 * be reversed. ascii_line in src/escape.rs does the same. */
static void put_line(const char *label, const uint8_t *bytes, uint32_t len)
{
    static const char digits[] = "0123456789abcdef";

    put_text(label);
    for (uint32_t i = 0; i < len; ++i) {
        uint8_t byte = bytes[i];
        bool like_ours = byte == '\\' && i + 1 < len && bytes[i + 1] == 'x';
        if (byte >= ' ' && byte <= '~' && !like_ours) {
            put((char)byte);
        } else {
            put_text("\\x");
            put(digits[byte >> 4]);
            put(digits[byte & 15]);
        }
    }
    put('\n');
}

/* The reason as text; src/parse/reply.rs has the same texts. */
static const char *reason(const pico_parsed *result)
{
    if (result->kind == PICO_RECORD_RESPONSE)
        return "a response, not a request";
    if (result->kind == PICO_RECORD_NOT_HTTP) {
        switch (result->code) {
        case PICO_NOT_HTTP_TLS:
            return "not HTTP/1 but TLS";
        case PICO_NOT_HTTP_HTTP2:
            return "not HTTP/1 but HTTP/2";
        case PICO_NOT_HTTP_SSH:
            return "not HTTP/1 but SSH";
        case PICO_NOT_HTTP_HTTP09:
            return "not HTTP/1 but HTTP/0.9";
        case PICO_NOT_HTTP_SMTP:
            return "not HTTP/1 but SMTP";
        default:
            return "not HTTP/1";
        }
    }
    switch (result->code) {
    case PICO_ERROR_BAD_START_LINE:
        return "bad start line";
    case PICO_ERROR_BAD_HEADER:
        return "bad header";
    case PICO_ERROR_TOO_MANY_HEADERS:
        return "too many headers";
    case PICO_ERROR_HEAD_TOO_LONG:
        return "head too long";
    case PICO_ERROR_BAD_CONTENT_LENGTH:
        return "bad content length";
    case PICO_ERROR_BAD_TRANSFER_CODING:
        return "bad transfer coding";
    default:
        return "not understood";
    }
}

static void print(const pico_parsed *result, const uint8_t *request)
{
    if (result->status == PARTIAL) {
        put_text("Error     : partial\n");
        return;
    }
    if (result->status == MALFORMED) {
        put_text("Error     : malformed, ");
        put_text(reason(result));
        put('\n');
        return;
    }
    put_line("Method    : ", request + result->method, result->method_len);
    put_line("Path      : ", request + result->target, result->target_len);
    for (uint32_t i = 0; i < result->num_headers; ++i) {
        const pico_pair *header = &result->headers[i];
        if (header->name_len > 0)
            put_line("Header    : ", request + header->name, header->name_len);
        put_line("          : ", request + header->value, header->value_len);
    }
}

/* ---- parsing ------------------------------------------------------------------------------------------------------- */

#define MAX_REQUEST (1u << 20)

/* Memory of the parser's two buffers. In a library they follow the data, up to the end of memory; in a program that memory
 * belongs to malloc, so build.rs defines __heap_base as this array. */
_Alignas(64) unsigned char ways_buffers[MAX_REQUEST + (64u << 10)];

/* Space for the first request of an argument: the library requires 8 records and the pairs of one head. */
#define MAX_RECORDS 8u

/* Why the strict reader refuses a request that the lenient one has read: an error code, or 0. */
static uint32_t refused_by(uint32_t flags)
{
    if (flags & PICO_F_BAD_START_LINE)
        return PICO_ERROR_BAD_START_LINE;
    if (flags & PICO_F_BAD_HEADER)
        return PICO_ERROR_BAD_HEADER;
    if (flags & PICO_F_TOO_MANY_HEADERS)
        return PICO_ERROR_TOO_MANY_HEADERS;
    return flags & PICO_F_HEAD_CUT ? PICO_ERROR_HEAD_TOO_LONG : 0;
}

static void parse(const uint8_t *request, uint32_t len, pico_parsed *result)
{
    uint8_t *in = at_address(get_input_buf());
    const uint8_t *out = at_address(get_output_buf());
    pico_input input = ways_layout(1, 1, MAX_RECORDS, PICO_MAX_PAIRS);
    pico_event event = ways_event(0, 0, len);

    input.arena_len = len;
    memcpy(in, &input, sizeof(input));
    memcpy(in + input.events, &event, sizeof(event));
    ways_rows(in + input.rows, 1);
    memcpy(in + input.arena, request, len);
    if (pico_parse_events(1) != 0)
        fail("pico: the parser refused its input\n");

    const pico_output *output = (const pico_output *)out;
    const pico_record *record = (const pico_record *)(out + input.records);
    *result = (pico_parsed){.status = PARTIAL};
    if (output->num_records == 0)
        return;
    uint32_t refused = record->kind == PICO_RECORD_REQUEST ? refused_by(record->flags) : 0;
    if (record->kind != PICO_RECORD_REQUEST || refused != 0) {
        result->status = MALFORMED;
        result->kind = refused != 0 ? PICO_RECORD_ERROR : record->kind;
        result->code = refused != 0 ? refused : record->kind == PICO_RECORD_RESPONSE ? 0 : record->code;
        return;
    }
    result->status = PARSED;
    result->bytes = record->end;
    result->minor = record->minor;
    result->method = record->text;
    result->method_len = record->text_len;
    result->target = record->target;
    result->target_len = record->target_len;
    result->num_headers = record->num_pairs;
    if (record->num_pairs > 0) {
        size_t bytes = record->num_pairs * sizeof(pico_pair);
        result->headers = malloc(bytes);
        if (!result->headers)
            fail("pico: out of memory\n");
        memcpy(result->headers, (const pico_pair *)(out + input.pairs) + record->first_pair, bytes);
    }
}

int main(int argc, char **argv)
{
    const char *const *requests = argc > 1 ? (const char *const *)argv + 1 : built_in;
    uint32_t count = argc > 1 ? (uint32_t)argc - 1 : sizeof(built_in) / sizeof(built_in[0]);
    size_t longest = 0;
    bool all = true;

    for (uint32_t i = 0; i < count; ++i) {
        size_t len = strlen(requests[i]);
        longest = len > longest ? len : longest;
    }
    if (longest > MAX_REQUEST)
        fail("pico: a request is longer than 1048576 bytes\n");
    pico_input sizes = ways_layout(1, 1, MAX_RECORDS, PICO_MAX_PAIRS);
    if (allocate_input_output_bufs(sizes.arena + (uint32_t)longest, ways_output_bytes(&sizes)) != 0)
        fail("pico: out of memory\n");
    results = calloc(count, sizeof(*results));
    if (!results)
        fail("pico: out of memory\n");
    for (uint32_t i = 0; i < count; ++i) {
        const uint8_t *request = (const uint8_t *)requests[i];
        parse(request, (uint32_t)strlen(requests[i]), &results[i]);
        result_count = i + 1;
        if (i > 0)
            put('\n');
        print(&results[i], request);
        all = all && results[i].status == PARSED;
    }
    flush();
    return all ? 0 : 1;
}
