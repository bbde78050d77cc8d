#include "abi.h"
uint32_t pico_abi_version(void) { return PICO_ABI_VERSION; }
