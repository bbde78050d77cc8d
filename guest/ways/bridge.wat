;; The bridge copies bytes between two memories of the host and the memory of a C guest, which can address only its own.
;;
;; It imports all three. Instructions select a memory by index, so `memory.copy` copies from one to another, and the engine
;; checks both ranges. The guest cannot import these functions, since they import its memory: each would have to exist before
;; the other. So the bridge puts them into the guest's table when it starts, and passes their indexes to the guest, whose C
;; code uses them as function pointers.
(module
  (import "host" "input" (memory $input 1))
  (import "host" "output" (memory $output 1))
  (import "guest" "memory" (memory $guest 1))
  (import "guest" "__indirect_function_table" (table $functions 1 funcref))
  (import "guest" "bridge_connect" (func $connect (param i32 i32)))

  (func $read (param $to i32) (param $from i32) (param $len i32)
    (memory.copy $guest $input (local.get $to) (local.get $from) (local.get $len)))

  (func $write (param $to i32) (param $from i32) (param $len i32)
    (memory.copy $output $guest (local.get $to) (local.get $from) (local.get $len)))

  (elem declare func $read $write)

  (func $start (local $slot i32)
    (local.set $slot (table.grow $functions (ref.func $read) (i32.const 2)))
    (if (i32.lt_s (local.get $slot) (i32.const 0)) (then unreachable))
    (table.set $functions (i32.add (local.get $slot) (i32.const 1)) (ref.func $write))
    (call $connect (local.get $slot) (i32.add (local.get $slot) (i32.const 1))))

  (start $start))
