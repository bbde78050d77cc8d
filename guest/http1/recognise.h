/* Recognition: what the first bytes of a side say about its protocol. */
#ifndef PICOTAP_RECOGNISE_H
#define PICOTAP_RECOGNISE_H

#include <stdbool.h>
#include <stdint.h>

/* The most bytes needed to recognise a protocol. */
#define RECOGNISE_BYTES 32u
/* What `recognise` returns besides a pico_not_http. */
#define RECOGNISE_HTTP 0   /* may be HTTP/1: the line decides */
#define RECOGNISE_MORE -1  /* more bytes are needed */

/* The protocol that begins with these bytes. Further bytes do not change an answer other than RECOGNISE_MORE. */
int recognise(const uint8_t *bytes, uint32_t len);
/* The protocol of a complete line that is not a start line: a pico_not_http, or RECOGNISE_HTTP for malformed HTTP/1. */
int recognise_line(const uint8_t *line, uint32_t len);
/* Whether bytes that end within their first line may be the front of a start line. */
bool may_be_http(const uint8_t *bytes, uint32_t len);

#endif
