/* Tables of HPACK (RFC 7541, appendices A and B). */
#include "tables.h"

/* The codes of more than 8 bits. The code is canonical: codes of one length are consecutive numbers, in order of their symbols. So it is told by the symbols in
 * order of their codes, and how many codes there are of each length. EOS, the last one of 30 bits, is no symbol. */
/* clang-format off */
const uint8_t huffman_symbols[182] = {
    33, 34, 40, 41, 63, 39,
    43, 124, 35, 62, 0, 36, 64, 91, 93, 126, 94, 125, 60, 96, 123, 92, 195, 208, 128, 130,
    131, 162, 184, 194, 224, 226, 153, 161, 167, 172, 176, 177, 179, 209, 216, 217, 227, 229, 230, 129,
    132, 133, 134, 136, 146, 154, 156, 160, 163, 164, 169, 170, 173, 178, 181, 185, 186, 187, 189, 190,
    196, 198, 228, 232, 233, 1, 135, 137, 138, 139, 140, 141, 143, 147, 149, 150, 151, 152, 155, 157,
    158, 165, 166, 168, 174, 175, 180, 182, 183, 188, 191, 197, 231, 239, 9, 142, 144, 145, 148, 159,
    171, 206, 215, 225, 236, 237, 199, 207, 234, 235, 192, 193, 200, 201, 202, 205, 210, 213, 218, 219,
    238, 240, 242, 243, 255, 203, 204, 211, 212, 214, 221, 222, 223, 241, 244, 245, 246, 247, 248, 250,
    251, 252, 253, 254, 2, 3, 4, 5, 6, 7, 8, 11, 12, 14, 15, 16, 17, 18, 19, 20,
    21, 23, 24, 25, 26, 27, 28, 29, 30, 31, 127, 220, 249, 10, 13, 22,
};

const uint8_t huffman_counts[HUFFMAN_LONGEST + 1] = {
    [10] = 5, [11] = 3, [12] = 2, [13] = 6, [14] = 2, [15] = 3, [19] = 3, [20] = 8,
    [21] = 13, [22] = 26, [23] = 29, [24] = 12, [25] = 4, [26] = 15, [27] = 19, [28] = 29, [30] = 3,
};

/* The codes of at most 8 bits, each for all bytes that begin with it. */
#define CODE8(symbol) {symbol, 8}
#define TWICE(symbol, length) {symbol, length}, {symbol, length}
#define CODE7(symbol) TWICE(symbol, 7)
#define CODE6(symbol) TWICE(symbol, 6), TWICE(symbol, 6)
#define CODE5(symbol) TWICE(symbol, 5), TWICE(symbol, 5), TWICE(symbol, 5), TWICE(symbol, 5)

const huffman_code huffman_short[256] = {
    CODE5('0'), CODE5('1'), CODE5('2'), CODE5('a'), CODE5('c'), CODE5('e'), CODE5('i'), CODE5('o'), CODE5('s'), CODE5('t'),
    CODE6(' '), CODE6('%'), CODE6('-'), CODE6('.'), CODE6('/'), CODE6('3'), CODE6('4'), CODE6('5'), CODE6('6'), CODE6('7'),
    CODE6('8'), CODE6('9'), CODE6('='), CODE6('A'), CODE6('_'), CODE6('b'), CODE6('d'), CODE6('f'), CODE6('g'), CODE6('h'),
    CODE6('l'), CODE6('m'), CODE6('n'), CODE6('p'), CODE6('r'), CODE6('u'),
    CODE7(':'), CODE7('B'), CODE7('C'), CODE7('D'), CODE7('E'), CODE7('F'), CODE7('G'), CODE7('H'), CODE7('I'), CODE7('J'),
    CODE7('K'), CODE7('L'), CODE7('M'), CODE7('N'), CODE7('O'), CODE7('P'), CODE7('Q'), CODE7('R'), CODE7('S'), CODE7('T'),
    CODE7('U'), CODE7('V'), CODE7('W'), CODE7('Y'), CODE7('j'), CODE7('k'), CODE7('q'), CODE7('v'), CODE7('w'), CODE7('x'),
    CODE7('y'), CODE7('z'),
    CODE8('&'), CODE8('*'), CODE8(','), CODE8(';'), CODE8('X'), CODE8('Z'),
};

/* clang-format on */
#define FIELD(name, value) {sizeof(name) - 1, sizeof(value) - 1, name value}

const static_field static_fields[STATIC_FIELDS] = {
    FIELD(":authority", ""),
    FIELD(":method", "GET"),
    FIELD(":method", "POST"),
    FIELD(":path", "/"),
    FIELD(":path", "/index.html"),
    FIELD(":scheme", "http"),
    FIELD(":scheme", "https"),
    FIELD(":status", "200"),
    FIELD(":status", "204"),
    FIELD(":status", "206"),
    FIELD(":status", "304"),
    FIELD(":status", "400"),
    FIELD(":status", "404"),
    FIELD(":status", "500"),
    FIELD("accept-charset", ""),
    FIELD("accept-encoding", "gzip, deflate"),
    FIELD("accept-language", ""),
    FIELD("accept-ranges", ""),
    FIELD("accept", ""),
    FIELD("access-control-allow-origin", ""),
    FIELD("age", ""),
    FIELD("allow", ""),
    FIELD("authorization", ""),
    FIELD("cache-control", ""),
    FIELD("content-disposition", ""),
    FIELD("content-encoding", ""),
    FIELD("content-language", ""),
    FIELD("content-length", ""),
    FIELD("content-location", ""),
    FIELD("content-range", ""),
    FIELD("content-type", ""),
    FIELD("cookie", ""),
    FIELD("date", ""),
    FIELD("etag", ""),
    FIELD("expect", ""),
    FIELD("expires", ""),
    FIELD("from", ""),
    FIELD("host", ""),
    FIELD("if-match", ""),
    FIELD("if-modified-since", ""),
    FIELD("if-none-match", ""),
    FIELD("if-range", ""),
    FIELD("if-unmodified-since", ""),
    FIELD("last-modified", ""),
    FIELD("link", ""),
    FIELD("location", ""),
    FIELD("max-forwards", ""),
    FIELD("proxy-authenticate", ""),
    FIELD("proxy-authorization", ""),
    FIELD("range", ""),
    FIELD("referer", ""),
    FIELD("refresh", ""),
    FIELD("retry-after", ""),
    FIELD("server", ""),
    FIELD("set-cookie", ""),
    FIELD("strict-transport-security", ""),
    FIELD("transfer-encoding", ""),
    FIELD("user-agent", ""),
    FIELD("vary", ""),
    FIELD("via", ""),
    FIELD("www-authenticate", ""),
};
