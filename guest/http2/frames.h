/* What is recognised as frames of HTTP/2, where they may begin: for the search after loss, and for the module that recognises
 * protocols. */
#ifndef PICOTAP_FRAMES_H
#define PICOTAP_FRAMES_H

#include <stdbool.h>
#include <stdint.h>

/* The head of a frame (RFC 9113, section 4.1). */
#define FRAME_HEAD 9u
/* The longest frame that is taken for one in a search: what every endpoint accepts (RFC 9113, section 4.2). */
#define USUAL_FRAME 16384u

enum frame_type {
    FRAME_DATA = 0,
    FRAME_HEADERS = 1,
    FRAME_PRIORITY = 2,
    FRAME_RST_STREAM = 3,
    FRAME_SETTINGS = 4,
    FRAME_PUSH_PROMISE = 5,
    FRAME_PING = 6,
    FRAME_GOAWAY = 7,
    FRAME_WINDOW_UPDATE = 8,
    FRAME_CONTINUATION = 9
};

enum frame_flag { FRAME_END_STREAM = 1, FRAME_ACK = 1, FRAME_END_HEADERS = 4, FRAME_PADDED = 8, FRAME_PRIORITISED = 32 };

typedef struct frame {
    uint32_t length, stream;
    uint8_t type, flags;
} frame;

static inline frame frame_at(const uint8_t *at)
{
    return (frame){.length = (uint32_t)at[0] << 16 | (uint32_t)at[1] << 8 | at[2],
                   .type = at[3],
                   .flags = at[4],
                   .stream = (uint32_t)(at[5] & 127) << 24 | (uint32_t)at[6] << 16 | (uint32_t)at[7] << 8 | at[8]};
}

/* Whether a frame breaks no rule about its length and its stream (RFC 9113, section 6). */
static inline bool frame_holds(const frame *f)
{
    switch (f->type) {
    case FRAME_DATA:
    case FRAME_HEADERS:
    case FRAME_PUSH_PROMISE:
    case FRAME_CONTINUATION:
        return f->stream != 0;
    case FRAME_PRIORITY:
        return f->stream != 0 && f->length == 5;
    case FRAME_RST_STREAM:
        return f->stream != 0 && f->length == 4;
    case FRAME_SETTINGS:
        return f->stream == 0 && f->length % 6 == 0 && (!(f->flags & FRAME_ACK) || f->length == 0);
    case FRAME_PING:
        return f->stream == 0 && f->length == 8;
    case FRAME_GOAWAY:
        return f->stream == 0 && f->length >= 8;
    case FRAME_WINDOW_UPDATE:
        return f->length == 4;
    default:
        return true;
    }
}

/* Whether these nine bytes are the head of a usual frame: of a known type, with no flags but its own. */
static inline bool is_usual_frame(const uint8_t *at)
{
    /* clang-format off */
    static const uint8_t flags[] = {FRAME_END_STREAM | FRAME_PADDED,
                                    FRAME_END_STREAM | FRAME_END_HEADERS | FRAME_PADDED | FRAME_PRIORITISED,
                                    0, 0, FRAME_ACK, FRAME_END_HEADERS | FRAME_PADDED, FRAME_ACK, 0, 0, FRAME_END_HEADERS};
    /* clang-format on */
    frame f = frame_at(at);
    return f.type < sizeof(flags) && !(f.flags & ~flags[f.type]) && f.length <= USUAL_FRAME && !(at[5] & 128) && frame_holds(&f);
}

enum frames { FRAMES_FOUND, FRAMES_CUT /* more bytes may show */, FRAMES_NONE };

/* Whether frames begin here: one that is followed by another, or that is all there is. It cannot be the rest of a header
 * block. */
static inline enum frames frames_at(const uint8_t *at, uint32_t len)
{
    if (len < FRAME_HEAD)
        return len == 0 || at[0] == 0 ? FRAMES_CUT : FRAMES_NONE;
    frame f = frame_at(at);
    if (!is_usual_frame(at) || f.type == FRAME_CONTINUATION)
        return FRAMES_NONE;
    uint32_t end = FRAME_HEAD + f.length;
    if (len == end)
        return FRAMES_FOUND;
    if (len < end + FRAME_HEAD)
        return FRAMES_CUT;
    return is_usual_frame(at + end) ? FRAMES_FOUND : FRAMES_NONE;
}

/* Whether a server's first frame begins here: SETTINGS of at most 511 bytes that acknowledge none. */
static inline enum frames settings_at(const uint8_t *at, uint32_t len)
{
    for (uint32_t i = 0; i < FRAME_HEAD; ++i) {
        if (i == len)
            return FRAMES_CUT;
        bool fits = i == 1 ? at[1] <= 1 : i == 2 || (i == 3 ? at[3] == FRAME_SETTINGS : at[i] == 0);
        if (!fits)
            return FRAMES_NONE;
    }
    frame f = frame_at(at);
    return f.length % 6 == 0 ? FRAMES_FOUND : FRAMES_NONE;
}

#endif
