/* What a fuzzer drives of HPACK alone: its input becomes header blocks, which guest/http2/hpack.c and nghttp2's decoder both read.
 *
 * The first byte says how the decoder begins: 0: with a new connection; else: in its middle, where nghttp2 is left out. Then come
 * blocks, each behind its length in two bytes, the less significant first. The length may be more than there is.
 *
 * Built for 64 bits, as nghttp2's library is; the decoder has no address in anything that it keeps. */
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>

#include "http2/hpack.h"

/* As long as the guest lets a block be (guest/http2/state.h). */
#define MOST_BLOCK 65000u

#define REQUIRE(condition)                                                          \
    do {                                                                            \
        if (!(condition)) {                                                         \
            fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition); \
            abort();                                                                \
        }                                                                           \
    } while (0)

/* nghttp2_nv, and what of nghttp2.h is called. */
typedef struct pair {
    uint8_t *name, *value;
    size_t name_len, value_len;
    uint8_t flags;
} pair;
enum { EMITTED = 2 }; /* NGHTTP2_HD_INFLATE_EMIT */

static int (*inflate_new)(void **inflater);
static void (*inflate_del)(void *inflater);
static ssize_t (*inflate)(void *inflater, pair *out, int *flags, const uint8_t *in, size_t len, int last);
static int (*inflate_end)(void *inflater);

static void *function(void *library, const char *name)
{
    void *found = dlsym(library, name);
    if (found == NULL) {
        fprintf(stderr, "hpack: %s\n", dlerror());
        exit(2);
    }
    return found;
}

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc, (void)argv;
    void *library = dlopen("libnghttp2.so.14", RTLD_NOW);
    if (library == NULL) {
        fprintf(stderr, "hpack: %s\n", dlerror());
        exit(2);
    }
    inflate_new = (int (*)(void **))function(library, "nghttp2_hd_inflate_new");
    inflate_del = (void (*)(void *))function(library, "nghttp2_hd_inflate_del");
    inflate = (ssize_t(*)(void *, pair *, int *, const uint8_t *, size_t, int))function(library, "nghttp2_hd_inflate_hd2");
    inflate_end = (int (*)(void *))function(library, "nghttp2_hd_inflate_end_headers");
    return 0;
}

static table whole, packed;
static fields ours, theirs;
static uint8_t store[HPACK_ENTRIES * sizeof(slot) + HPACK_RING], again[sizeof(store)];

/* What always holds of a table. */
static void check_table(const table *t)
{
    uint32_t size = 0, used = 0;
    REQUIRE(t->count <= HPACK_ENTRIES && t->used <= HPACK_RING && t->end < HPACK_RING && t->next < HPACK_ENTRIES);
    for (uint32_t i = 0; i < t->count; ++i) {
        const slot *s = &t->slots[(t->next - 1 - i) % HPACK_ENTRIES];
        size += 32u + s->name_len + s->value_len;
        used += (s->name_unknown ? 0u : s->name_len) + (s->value_unknown ? 0u : s->value_len);
    }
    REQUIRE(size == t->size && used == t->used);
    REQUIRE(size <= (t->max == HPACK_SIZE_UNKNOWN ? HPACK_SIZE_ASSUMED : t->max) || t->count == 1);
}

static void check_text(const text *t, const fields *f)
{
    REQUIRE(!t->known || (t->at <= f->text_len && t->len <= f->text_len - t->at));
}

static void check_fields(const fields *f)
{
    bool unknown = false;
    REQUIRE(f->text_len <= HPACK_TEXT && f->count <= HPACK_FIELDS);
    for (uint32_t i = 0; i < f->count; ++i) {
        check_text(&f->list[i].name, f);
        check_text(&f->list[i].value, f);
        unknown |= !f->list[i].name.known || !f->list[i].value.known;
    }
    REQUIRE(f->unknown || !unknown);
}

static bool same_text(const text *one, const fields *of_one, const text *other, const fields *of_other)
{
    return one->known == other->known && one->len == other->len &&
           (!one->known || memcmp(of_one->text + one->at, of_other->text + other->at, one->len) == 0);
}

/* The second table is packed between blocks, as the guest does: that changes nothing. */
static void decode_packed(const uint8_t *block, uint32_t len, bool good)
{
    uint32_t most = hpack_packed_after(&packed, block, len);
    REQUIRE(hpack_decode(&packed, block, len, &theirs) == good);
    REQUIRE(ours.count == theirs.count && ours.unknown == theirs.unknown && ours.cut == theirs.cut);
    for (uint32_t i = 0; i < ours.count; ++i) {
        REQUIRE(same_text(&ours.list[i].name, &ours, &theirs.list[i].name, &theirs));
        REQUIRE(same_text(&ours.list[i].value, &ours, &theirs.list[i].value, &theirs));
    }
    uint32_t bytes = hpack_packed(&packed), count = packed.count, max = packed.max;
    REQUIRE(!good || bytes <= most);
    REQUIRE(hpack_pack(&packed, store) == store + bytes);
    hpack_reset(&packed, max);
    REQUIRE(hpack_unpack(&packed, count, store, store + bytes) == store + bytes);
    check_table(&packed);
    /* Slots say where their bytes were; packed again they say where these are now. */
    REQUIRE(hpack_packed(&packed) == bytes && hpack_pack(&packed, again) == again + bytes);
}

/* Whether nghttp2 takes the block, too; then its fields are ours. */
static bool decode_elsewhere(void *inflater, uint8_t *block, uint32_t len, bool good)
{
    uint32_t count = 0;
    for (uint32_t at = 0;;) {
        pair p;
        int flags = 0;
        ssize_t used = inflate(inflater, &p, &flags, block + at, len - at, 1);
        if (used < 0)
            return false;
        at += (uint32_t)used;
        if (!(flags & EMITTED))
            break;
        if (good && count < ours.count && !ours.cut) {
            const field *f = &ours.list[count];
            REQUIRE(f->name.known && f->name.len == p.name_len && memcmp(ours.text + f->name.at, p.name, p.name_len) == 0);
            REQUIRE(f->value.known && f->value.len == p.value_len && memcmp(ours.text + f->value.at, p.value, p.value_len) == 0);
        }
        ++count;
    }
    inflate_end(inflater);
    REQUIRE(good);
    REQUIRE(ours.cut || (count == ours.count && !ours.unknown));
    return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const uint8_t *end = data + size;
    void *inflater = NULL;
    if (size == 0)
        return 0;
    bool begins = *data++ == 0;
    hpack_reset(&whole, begins ? HPACK_SIZE_DEFAULT : HPACK_SIZE_UNKNOWN);
    hpack_reset(&packed, whole.max);
    REQUIRE(!begins || inflate_new(&inflater) == 0);
    ours.text = malloc(HPACK_TEXT + HPACK_SLACK);
    theirs.text = malloc(HPACK_TEXT + HPACK_SLACK);
    while (end - data >= 2) {
        uint32_t len = (uint32_t)(data[0] | data[1] << 8), left = (uint32_t)(end - data - 2);
        data += 2;
        len = len < left ? len : left;
        len = len < MOST_BLOCK ? len : MOST_BLOCK;
        /* Alone, so that a byte too far is seen. */
        uint8_t *block = malloc(len == 0 ? 1 : len);
        memcpy(block, data, len);
        data += len;
        bool good = hpack_decode(&whole, block, len, &ours);
        check_table(&whole);
        check_fields(&ours);
        decode_packed(block, len, good);
        /* nghttp2 refuses more: sizes above 4,096 or in the middle, and large numbers. Behind a block that one refuses the two have
         * nothing in common. */
        if (inflater != NULL && (!decode_elsewhere(inflater, block, len, good) || ours.cut)) {
            inflate_del(inflater);
            inflater = NULL;
        }
        free(block);
    }
    if (inflater != NULL)
        inflate_del(inflater);
    free(ours.text);
    free(theirs.text);
    return 0;
}
