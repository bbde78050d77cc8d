/* What clang has for wasm32 alone, for a native build of the guest: included before each of its files. The contract's addresses
 * are 32 bits wide, so the build has to be for a processor of 32 bits. */
#ifndef PICOTAP_NATIVE_WASM_H
#define PICOTAP_NATIVE_WASM_H

_Static_assert(sizeof(void *) == 4, "addresses of the contract have 32 bits");

/* In pages of 64 KiB, up to the end of the harness' memory. */
unsigned long native_memory_size(void);
#define __builtin_wasm_memory_size(memory) native_memory_size()
/* Exports have their names anyway. */
#define export_name(name) used

#endif
