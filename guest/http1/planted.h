/* Planted faults: what a bug or a hostile parser might do, triggered by a request's header. Only test modules have them
 * (-DPICO_PLANTED); elsewhere the hooks are empty.
 *
 *     X-Poison: trap | loop | stack | store | overflow VALUE | positions | counts | consumed | progress | stall |
 *               lengths
 */
#ifndef PICOTAP_PLANTED_H
#define PICOTAP_PLANTED_H

#include <stdint.h>

#ifdef PICO_PLANTED

struct call;
struct pico_result;

/* Called for each header of a head. */
void planted_header(const uint8_t *name, uint32_t name_len, const uint8_t *value, uint32_t value_len);
/* Called with the result of each event: puts the fault into the reply. */
void planted_reply(const struct call *c, struct pico_result *result);

#else

#define planted_header(name, name_len, value, value_len) ((void)0)
#define planted_reply(call, result) ((void)0)

#endif
#endif
