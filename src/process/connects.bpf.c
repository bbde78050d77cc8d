// SPDX-License-Identifier: MIT OR GPL-2.0-only
//
// Which process opens a connection: the kernel is asked at the moment, for connections that are over before anybody could look.
//
// Self-contained: no kernel headers, no libbpf. The kernel's structures have only the members that are read, whose places the loader takes
// from the kernel's own description (CO-RE).

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;

#define SEC(name) __attribute__((section(name), used))
#define OF_KERNEL __attribute__((preserve_access_index))
#define PLACE(member) __builtin_preserve_access_index(&(member))
#define MAP_UINT(name, value) int(*name)[value]
#define MAP_TYPE(name, type) type *name

// Numbers of include/uapi/linux/bpf.h.
#define MAP_ARRAY 2
#define MAP_LRU_HASH 9
#define MAP_RINGBUF 27
#define NO_WAKEUP 1
static void *(*map_lookup)(void *map, const void *key) = (void *)1;
static long (*map_update)(void *map, const void *key, const void *value, u64 flags) = (void *)2;
static long (*map_delete)(void *map, const void *key) = (void *)3;
static u64 (*now)(void) = (void *)5;
static u64 (*pid_tgid)(void) = (void *)14;
static u64 (*current_task)(void) = (void *)35;
static long (*read_kernel)(void *to, u32 size, const void *from) = (void *)113;
static long (*ring_output)(void *ring, void *data, u64 size, u64 flags) = (void *)130;

// Of include/net/tcp_states.h and include/linux/socket.h.
#define ESTABLISHED 1
#define SYN_SENT 2
#define INET 2
#define INET6 10

struct address6 {
  u8 octets[16];
};
// A pointer in a structure of its own.
struct network {
  void *net;
};
struct sock_common {
  u32 skc_daddr, skc_rcv_saddr;
  u16 skc_dport, skc_num, skc_family;
  struct network skc_net;
  struct address6 skc_v6_daddr, skc_v6_rcv_saddr;
} OF_KERNEL;
struct sock {
  struct sock_common __sk_common;
} OF_KERNEL;
struct ns_common {
  u32 inum;
} OF_KERNEL;
struct net {
  struct ns_common ns;
} OF_KERNEL;
struct task_struct {
  struct task_struct *group_leader;
  char comm[16];
} OF_KERNEL;

struct who {
  u32 process;
  char command[16];
};

// src/process/connects.rs has the same. 80 bytes, without padding.
struct connect {
  u8 local[16], remote[16];
  u16 local_port, remote_port;
  u32 namespace;
  u32 process;
  // Connections that could not be told so far.
  u32 lost;
  u64 time;
  char command[16];
};

struct {
  MAP_UINT(type, MAP_RINGBUF);
  MAP_UINT(max_entries, 1 << 18);
} ring SEC(".maps");

// Sockets whose handshake is under way: the local port is known at its end, the process at its beginning.
struct {
  MAP_UINT(type, MAP_LRU_HASH);
  MAP_UINT(max_entries, 8192);
  MAP_TYPE(key, u64);
  MAP_TYPE(value, struct who);
} opening SEC(".maps");

struct {
  MAP_UINT(type, MAP_ARRAY);
  MAP_UINT(max_entries, 1);
  MAP_TYPE(key, u32);
  MAP_TYPE(value, u32);
} lost SEC(".maps");

// As an address of IPv6: ::ffff:a.b.c.d.
static inline __attribute__((always_inline)) void mapped(u8 *to, const u32 *from) {
  to[10] = to[11] = 0xff;
  read_kernel(to + 12, 4, from);
}

// TRACE_EVENT(inet_sock_set_state, (const struct sock *sk, const int oldstate, const int newstate))
SEC("tp_btf/inet_sock_set_state") int connects(u64 *arguments) {
  struct sock *sock = (struct sock *)arguments[0];
  struct sock_common *common = PLACE(sock->__sk_common);
  u64 key = arguments[0];
  int before = arguments[1], state = arguments[2];
  if (state == SYN_SENT) {
    struct who who = {0};
    struct task_struct *task = (struct task_struct *)current_task(), *leader = 0;
    who.process = pid_tgid() >> 32;
    read_kernel(&leader, sizeof leader, PLACE(task->group_leader));
    read_kernel(who.command, sizeof who.command, PLACE(leader->comm));
    map_update(&opening, &key, &who, 0);
    return 0;
  }
  if (before != SYN_SENT) return 0;
  struct who *who = map_lookup(&opening, &key);
  if (!who) return 0;
  if (state == ESTABLISHED) {
    struct connect told = {0};
    u16 family = 0, port = 0;
    void *net = 0;
    u32 zero = 0;
    read_kernel(&family, sizeof family, PLACE(common->skc_family));
    if (family == INET) {
      mapped(told.local, PLACE(common->skc_rcv_saddr));
      mapped(told.remote, PLACE(common->skc_daddr));
    } else if (family == INET6) {
      read_kernel(told.local, 16, PLACE(common->skc_v6_rcv_saddr));
      read_kernel(told.remote, 16, PLACE(common->skc_v6_daddr));
    }
    read_kernel(&told.local_port, 2, PLACE(common->skc_num));
    read_kernel(&port, 2, PLACE(common->skc_dport));
    told.remote_port = __builtin_bswap16(port);
    read_kernel(&net, sizeof net, PLACE(common->skc_net));
    read_kernel(&told.namespace, 4, PLACE(((struct net *)net)->ns.inum));
    told.process = who->process;
    told.time = now();
    __builtin_memcpy(told.command, who->command, 16);
    u32 *count = map_lookup(&lost, &zero);
    if (count) {
      told.lost = *count;
      // The reader looks by itself.
      if (ring_output(&ring, &told, sizeof told, NO_WAKEUP)) __sync_fetch_and_add(count, 1);
    }
  }
  map_delete(&opening, &key);
  return 0;
}

// Helpers that read the kernel's memory are only for programs under this licence.
char allowed_under[] SEC("license") = "Dual MIT/GPL";
