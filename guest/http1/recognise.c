/* Recognition of what is not HTTP/1, by content alone: ports do not count. */
#include "recognise.h"

#include "abi.h"
#include "scan.h"

static bool is_digit(uint8_t byte)
{
    return byte >= '0' && byte <= '9';
}

/* A greeting: three digits, then a space or a hyphen. */
static int greeting(const uint8_t *bytes, uint32_t len)
{
    for (uint32_t i = 0; i < 3; ++i) {
        if (i == len)
            return RECOGNISE_MORE;
        if (!is_digit(bytes[i]))
            return RECOGNISE_HTTP;
    }
    if (len == 3)
        return RECOGNISE_MORE;
    return bytes[3] == ' ' || bytes[3] == '-' ? PICO_NOT_HTTP_SMTP : RECOGNISE_HTTP;
}

int recognise(const uint8_t *bytes, uint32_t len)
{
    static const char preface[] = "PRI * HTTP/2.0", ssh[] = "SSH-", status[] = "HTTP/";

    if (len == 0)
        return RECOGNISE_MORE;
    /* The common case, a short method and a space: of the checks below only those for HTTP/2 and SSH could say otherwise. */
    if (len >= 16 && !is_digit(bytes[0]) && !is_word(bytes, preface, 4)) {
        uint32_t mask = wasm_i8x16_bitmask(no_token(wasm_v128_load(bytes)));
        if (mask != 0 && !(mask & 1) && bytes[__builtin_ctz(mask)] == ' ' && !is_word(bytes, ssh, sizeof(ssh) - 1))
            return RECOGNISE_HTTP;
    }
    if (bytes[0] == 0x16) /* a TLS handshake record of any version from 3.0 */
        return len == 1 ? RECOGNISE_MORE : bytes[1] == 3 ? PICO_NOT_HTTP_TLS : PICO_NOT_HTTP_OTHER;
    if (starts_like(bytes, len, preface, sizeof(preface) - 1))
        return len >= sizeof(preface) - 1 ? PICO_NOT_HTTP_HTTP2 : RECOGNISE_MORE;
    if (starts_like(bytes, len, ssh, sizeof(ssh) - 1))
        return len >= sizeof(ssh) - 1 ? PICO_NOT_HTTP_SSH : RECOGNISE_MORE;
    if (starts_like(bytes, len, status, sizeof(status) - 1))
        return len >= sizeof(status) - 1 ? RECOGNISE_HTTP : RECOGNISE_MORE;
    if (is_digit(bytes[0]))
        if (greeting(bytes, len) != RECOGNISE_HTTP)
            return greeting(bytes, len);
    for (uint32_t i = 0; i < RECOGNISE_BYTES; ++i) {
        if (i == len)
            return RECOGNISE_MORE;
        if (is_token(bytes[i]))
            continue;
        /* A text protocol is decided by its whole line; a byte that is not text is in no start line. */
        bool text = bytes[i] == '\r' || bytes[i] == '\n' || bytes[i] == '\t' || (bytes[i] >= 0x20 && bytes[i] < 0x7f);
        return text ? RECOGNISE_HTTP : PICO_NOT_HTTP_OTHER;
    }
    return RECOGNISE_HTTP;
}

int recognise_line(const uint8_t *line, uint32_t len)
{
    while (len != 0 && (line[len - 1] == '\r' || line[len - 1] == '\n'))
        --len;
    for (uint32_t i = 0; i + 5 <= len; ++i)
        if (is_word(line + i, "HTTP/", 5) && (i == 0 || line[i - 1] == ' ' || line[i - 1] == '\t'))
            return RECOGNISE_HTTP;
    if (len > 4 && is_word(line, "GET /", 5) && scan_target(line + 4, line + len) == line + len)
        return PICO_NOT_HTTP_HTTP09;
    return PICO_NOT_HTTP_OTHER;
}

bool may_be_http(const uint8_t *bytes, uint32_t len)
{
    uint32_t i = 0;
    if (starts_like(bytes, len, "HTTP/", 5))
        return true;
    while (i < len && bytes[i] >= 'A' && bytes[i] <= 'Z')
        ++i;
    return i != 0 && i < RECOGNISE_BYTES && (i == len || bytes[i] == ' ');
}
