// SPDX-License-Identifier: MIT OR GPL-2.0-only
//
// What probes do in the kernel: they copy the arguments of calls that derive secrets of TLS into a ring. Nothing is
// probed that is called for each read or write.
//
// Self-contained: no kernel headers, no libbpf. Layouts are those of the public interfaces (OSSL_PARAM(3),
// include/uapi/linux/ptrace.h, Go's ABIInternal).

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;

#define SEC(name) __attribute__((section(name), used))
#define INLINE static inline __attribute__((always_inline))
#define MAP_UINT(name, value) int(*name)[value]
#define MAP_TYPE(name, type) type *name

// Numbers of include/uapi/linux/bpf.h.
#define MAP_PERCPU_ARRAY 6
#define MAP_RINGBUF 27
#define NO_WAKEUP 1
static void *(*map_lookup)(void *map, const void *key) = (void *)1;
static u32 (*cpu_id)(void) = (void *)8;
static u64 (*pid_tgid)(void) = (void *)14;
static long (*read_user)(void *to, u32 size, const void *from) = (void *)112;
static long (*read_user_str)(void *to, u32 size, const void *from) = (void *)114;
static long (*ring_output)(void *ring, void *data, u64 size, u64 flags) = (void *)130;

// The registers at the beginning of a function: integer arguments of the C calling convention, and of Go's.
#if defined(PICO_X86_64)
struct registers {
  u64 r15, r14, r13, r12, bp, bx, r11, r10, r9, r8, ax, cx, dx, si, di, orig_ax, ip, cs, flags, sp, ss;
};
#define C_ARGUMENT_4(r) ((r)->cx)
#define GO_ARGUMENT_2(r) ((r)->bx)
#define GO_ARGUMENT_3(r) ((r)->cx)
#define GO_ARGUMENT_4(r) ((r)->di)
#define GO_ARGUMENT_7(r) ((r)->r9)
#define GO_ARGUMENT_8(r) ((r)->r10)
#elif defined(PICO_AARCH64)
struct registers {
  u64 x[31], sp, pc, pstate;
};
#define C_ARGUMENT_4(r) ((r)->x[3])
#define GO_ARGUMENT_2(r) ((r)->x[1])
#define GO_ARGUMENT_3(r) ((r)->x[2])
#define GO_ARGUMENT_4(r) ((r)->x[3])
#define GO_ARGUMENT_7(r) ((r)->x[6])
#define GO_ARGUMENT_8(r) ((r)->x[7])
#else
#error "no registers for this architecture"
#endif

#define MAX_BYTES 48
#define MAX_PARAMETERS 12

// What a call derives: src/probe/event.rs has the same numbers.
enum {
  EARLY = 1,
  HANDSHAKE = 2,
  APPLICATION = 3,
  KEY_BLOCK = 4,
  LOGGED = 16, // and what is logged, below
  LOG_MASTER = 0,
  LOG_CLIENT_EARLY = 1,
  LOG_CLIENT_HANDSHAKE = 2,
  LOG_SERVER_HANDSHAKE = 3,
  LOG_CLIENT_TRAFFIC = 4,
  LOG_SERVER_TRAFFIC = 5,
};

// 120 bytes, without padding.
struct call {
  u32 what;
  u32 process;
  u32 cpu;
  u16 secret_length;
  u16 with_length;
  // Calls that this processor could not put into the ring so far.
  u64 lost;
  u8 secret[MAX_BYTES];
  u8 with[MAX_BYTES];
};

struct {
  MAP_UINT(type, MAP_RINGBUF);
  MAP_UINT(max_entries, 1 << 20);
} ring SEC(".maps");

struct {
  MAP_UINT(type, MAP_PERCPU_ARRAY);
  MAP_UINT(max_entries, 1);
  MAP_TYPE(key, u32);
  MAP_TYPE(value, u64);
} lost SEC(".maps");

// A length that the verifier believes.
INLINE u64 bounded(u64 length) {
  length &= 63;
  return length > MAX_BYTES ? MAX_BYTES : length;
}

INLINE void tell(struct call *call) {
  u32 zero = 0;
  u64 *count = map_lookup(&lost, &zero);
  if (!count) return;
  call->process = pid_tgid() >> 32;
  call->cpu = cpu_id();
  call->lost = *count;
  // The reader looks by itself: a wake-up for each call would cost the caller.
  if (ring_output(&ring, call, sizeof *call, NO_WAKEUP)) *count += 1;
}

// OSSL_PARAM(3).
struct parameter {
  u64 name;
  u32 type, padding;
  u64 data, size, return_size;
};

#define WORD(a, b, c, d, e, f, g, h)                                                                               \
  ((u64)(a) | (u64)(b) << 8 | (u64)(c) << 16 | (u64)(d) << 24 | (u64)(e) << 32 | (u64)(f) << 40 | (u64)(g) << 48 | \
   (u64)(h) << 56)

// int EVP_KDF_derive(EVP_KDF_CTX *ctx, unsigned char *key, size_t keylen, const OSSL_PARAM params[])
SEC("uprobe/openssl") int openssl(struct registers *registers) {
  struct call call = {0};
  u64 label[2] = {0, 0};
  u64 label_length = 0;
  u32 seeds = 0;
  u64 at = C_ARGUMENT_4(registers);
  for (int i = 0; i < MAX_PARAMETERS; i++, at += sizeof(struct parameter)) {
    struct parameter parameter;
    if (read_user(&parameter, sizeof parameter, (void *)at) || !parameter.name) break;
    u64 name = 0;
    if (read_user_str(&name, sizeof name, (void *)parameter.name) < 0) continue;
    u64 size = parameter.size;
    void *data = (void *)parameter.data;
    u32 fits = size > 0 && size <= MAX_BYTES;
    if (name == WORD('l', 'a', 'b', 'e', 'l', 0, 0, 0)) {
      if (size > sizeof label) return 0;
      label_length = size;
      if (read_user(label, size & 15, data)) return 0;
    } else if (name == WORD('k', 'e', 'y', 0, 0, 0, 0, 0) || name == WORD('s', 'e', 'c', 'r', 'e', 't', 0, 0)) {
      // read_user_str ends with a zero, so "secret" fits the word.
      if (!fits) return 0;
      call.secret_length = size;
      if (read_user(call.secret, bounded(size), data)) return 0;
    } else if (name == WORD('d', 'a', 't', 'a', 0, 0, 0, 0)) {
      if (!fits) continue;
      call.with_length = size;
      if (read_user(call.with, bounded(size), data)) return 0;
    } else if (name == WORD('s', 'e', 'e', 'd', 0, 0, 0, 0) && size) {
      // TLS 1.2: a label, and for keys the server's random and the client's.
      seeds++;
      if (seeds == 1) {
        if (size != 13 || read_user(label, 13, data)) return 0;
        label_length = size;
      } else if (seeds == 3) {
        if (size != 32 || read_user(call.with, 32, data)) return 0;
        call.with_length = size;
      }
    }
  }
  u64 first = label[0], second = label[1];
  if (seeds == 0) {
    // The two sides' secrets of one kind are derived from the same: one call tells both.
    if (label_length == 12 && second == WORD('f', 'f', 'i', 'c', 0, 0, 0, 0)) {
      if (first == WORD('c', ' ', 'h', 's', ' ', 't', 'r', 'a') || first == WORD('s', ' ', 'h', 's', ' ', 't', 'r', 'a'))
        call.what = HANDSHAKE;
      else if (first == WORD('c', ' ', 'a', 'p', ' ', 't', 'r', 'a') ||
               first == WORD('s', ' ', 'a', 'p', ' ', 't', 'r', 'a'))
        call.what = APPLICATION;
    } else if (label_length == 11 && first == WORD('c', ' ', 'e', ' ', 't', 'r', 'a', 'f') &&
               second == WORD('f', 'i', 'c', 0, 0, 0, 0, 0)) {
      call.what = EARLY;
    }
  } else if (seeds >= 3 && first == WORD('k', 'e', 'y', ' ', 'e', 'x', 'p', 'a') &&
             second == WORD('n', 's', 'i', 'o', 'n', 0, 0, 0)) {
    call.what = KEY_BLOCK;
  }
  if (call.what && call.secret_length && call.with_length) tell(&call);
  return 0;
}

// func (c *Config) writeKeyLog(label string, clientRandom, secret []byte) error, which is called whether there is a key log
// or not. A string is passed as pointer and length, a slice as pointer, length and capacity.
SEC("uprobe/go") int go(struct registers *registers) {
  struct call call = {0};
  u64 label_length = GO_ARGUMENT_3(registers);
  u64 secret_length = GO_ARGUMENT_8(registers);
  u8 first = 0;
  if (secret_length == 0 || secret_length > MAX_BYTES) return 0;
  if (read_user(&first, 1, (void *)GO_ARGUMENT_2(registers))) return 0;
  u32 server = first == 'S';
  if (!server && first != 'C') return 0;
  switch (label_length) {
  case sizeof "CLIENT_RANDOM" - 1: call.what = LOGGED + LOG_MASTER; break;
  case sizeof "CLIENT_EARLY_TRAFFIC_SECRET" - 1: call.what = LOGGED + LOG_CLIENT_EARLY; break;
  case sizeof "CLIENT_HANDSHAKE_TRAFFIC_SECRET" - 1: call.what = LOGGED + LOG_CLIENT_HANDSHAKE + server; break;
  case sizeof "CLIENT_TRAFFIC_SECRET_0" - 1: call.what = LOGGED + LOG_CLIENT_TRAFFIC + server; break;
  default: return 0;
  }
  call.secret_length = secret_length;
  call.with_length = 32;
  if (read_user(call.with, 32, (void *)GO_ARGUMENT_4(registers))) return 0;
  if (read_user(call.secret, bounded(secret_length), (void *)GO_ARGUMENT_7(registers))) return 0;
  tell(&call);
  return 0;
}

// Helpers that read the memory of users are only for programs under this licence.
char allowed_under[] SEC("license") = "Dual MIT/GPL";
