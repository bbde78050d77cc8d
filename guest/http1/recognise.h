/* Recognition: what the first bytes of a side say about its protocol. */
#ifndef PICOTAP_RECOGNISE_H
#define PICOTAP_RECOGNISE_H

#include <stdbool.h>
#include <stdint.h>

/* A protocol is known by at most so many bytes. */
#define RECOGNISE_BYTES 32u
/* Answers of `recognise` besides a pico_not_http. */
#define RECOGNISE_HTTP 0   /* may be HTTP/1: the line decides */
#define RECOGNISE_MORE -1  /* more bytes are needed */

/* What begins with these bytes. Once it has answered other than RECOGNISE_MORE, further bytes do not change it. */
int recognise(const uint8_t *bytes, uint32_t len);
/* What a whole line that is no start line says: a pico_not_http, or RECOGNISE_HTTP if it is HTTP/1 gone wrong. */
int recognise_line(const uint8_t *line, uint32_t len);
/* Whether bytes that broke off in their first line may have been the front of a start line. */
bool may_be_http(const uint8_t *bytes, uint32_t len);

#endif
