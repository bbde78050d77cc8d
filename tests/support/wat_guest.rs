//! A guest in a page of WAT that consumes every event and writes no records, and ways to make it misbehave.

/// The payload on which a guest made by [`guest_with`] misbehaves.
pub(crate) const POISON: &[u8] = b"poison!";

/// Returns that every event is done.
pub(crate) const HONEST: &str = "(call $all (local.get $n))";

/// A guest whose `pico_parse_events` has this body.
pub(crate) fn guest(body: &str) -> String {
    TEMPLATE.replace("BODY", body).replace("CONDITION", "(i32.const 0)").replace("BUG", "")
}

/// A guest that does this when an event contains [`POISON`], after it wrote a correct result for it.
pub(crate) fn guest_with(bug: &str) -> String {
    guest_when(IS_POISON, bug)
}

/// Sets a 32-bit field of the first record, or of what else `base` is the address of.
pub(crate) fn set(base: &str, offset: u32, value: i64) -> String {
    format!("(i32.store offset={offset} (local.get ${base}) (i32.const {value}))")
}

/// Gives the event at hand this verdict, with so much of it consumed, and defers what is behind it in its row.
pub(crate) fn turn(verdict: u8, consumed: u32) -> String {
    format!(
        "(i32.store8 (local.get $result) (i32.const {verdict})) {} {}",
        set("result", 4, consumed.into()),
        set("row", 132, 1)
    )
}

/// A guest that does this to each event for which the condition holds.
pub(crate) fn guest_when(condition: &str, bug: &str) -> String {
    TEMPLATE.replace("BODY", HONEST).replace("CONDITION", condition).replace("BUG", bug)
}

/// The same guest, for another protocol.
pub(crate) fn of_protocol(name: &str, guest: &str) -> String {
    guest.replace(&format!("\"http1{}\"", "\\00".repeat(11)), &format!("\"{name}{}\"", "\\00".repeat(16 - name.len())))
}

/// Returns for the current event that the output is full, with a record about it and nothing consumed.
pub(crate) const STALL: &str = "
        (call $record (local.get $event) (i32.const 6) (i32.const 1) (i32.const 0) (i32.const 0))
        (i32.store8 (local.get $result) (i32.const 3))
        (i32.store offset=4 (local.get $result) (i32.const 0))
        (i32.store offset=8 (local.get $out) (i32.add (local.get $at) (i32.const 1)))
        (return (i32.const 0))";

const IS_POISON: &str = "
        (i32.and (i32.eq (i32.load8_u offset=5 (local.get $event)) (i32.const 1))
                 (i32.eq (i32.load (i32.add (local.get $arena) (i32.load offset=24 (local.get $event)))) (i32.const 0x73696f70)))";

const TEMPLATE: &str = r#"(module
  (type $nothing (func))
  (table 1 funcref)
  (memory (export "memory") 64)
  (global $done (mut i32) (i32.const 0))
  (func (export "pico_abi_version") (result i32) (i32.const 2)) ;; version
  (func (export "pico_state_format") (result i32) (i32.const 7))
  (data (i32.const 1024) "http1\00\00\00\00\00\00\00\00\00\00\00") ;; name
  (func (export "pico_protocol") (result i32) (i32.const 1024)) ;; protocol
  (func (export "pico_first_window") (result i32) (i32.const 1)) ;; window
  (func (export "allocate_input_output_bufs") (param i32 i32) (result i32) (i32.const 0))
  (func (export "free_input_output_bufs"))
  (func (export "get_input_buf") (result i32) (i32.const 65536)) ;; input
  (func (export "get_output_buf") (result i32) (i32.const 3145728)) ;; output
  (func (export "get_output_item_count") (result i32) (i32.const 0))
  (func (export "get_output_item_size") (result i32) (i32.const 80)) ;; item size
  (func $recurse (call $recurse) (drop (i32.load (i32.const 0))))
  ;; Writes the first record: kind, code, start and end.
  (func $record (param $event i32) (param $kind i32) (param $code i32) (param $start i32) (param $end i32)
    (local $records i32)
    (local.set $records (i32.add (i32.const 3145728) (i32.load (i32.add (i32.const 65536) (i32.const 40)))))
    (i32.store offset=12 (i32.const 3145728) (i32.const 1))
    (memory.fill (local.get $records) (i32.const 0) (i32.const 80))
    (i32.store8 (local.get $records) (local.get $kind))
    (i32.store8 offset=1 (local.get $records) (i32.load8_u offset=4 (local.get $event)))
    (i32.store16 offset=4 (local.get $records) (local.get $code))
    (i32.store offset=12 (local.get $records) (i32.load offset=4 (i32.const 3145728)))
    (i32.store offset=20 (local.get $records) (local.get $start))
    (i32.store offset=24 (local.get $records) (local.get $end)))
  (func $all (param $n i32) (result i32)
    (local $at i32) (local $event i32) (local $result i32) (local $out i32) (local $records i32) (local $pairs i32)
    (local $in i32) (local $arena i32) (local $row i32)
    (local.set $in (i32.const 65536))
    (local.set $out (i32.const 3145728))
    (local.set $records (i32.add (local.get $out) (i32.load offset=40 (local.get $in))))
    (local.set $pairs (i32.add (local.get $out) (i32.load offset=48 (local.get $in))))
    (local.set $arena (i32.add (local.get $in) (i32.load offset=28 (local.get $in))))
    (i32.store (local.get $out) (i32.const 2))
    (i32.store offset=12 (local.get $out) (i32.const 0))
    (i32.store offset=16 (local.get $out) (i32.const 0))
    (i32.store offset=20 (local.get $out) (i32.const 0))
    (global.set $done (i32.const 0))
    (block $end (loop $next
      (br_if $end (i32.ge_u (local.get $at) (local.get $n)))
      (i32.store offset=4 (local.get $out) (local.get $at))
      (local.set $event (i32.add (i32.add (local.get $in) (i32.load offset=16 (local.get $in))) (i32.mul (local.get $at) (i32.const 64))))
      (local.set $result (i32.add (i32.add (local.get $out) (i32.load offset=36 (local.get $in))) (i32.mul (local.get $at) (i32.const 16))))
      (i64.store (local.get $result) (i64.const 1))
      (i32.store offset=4 (local.get $result) (i32.load offset=28 (local.get $event)))
      (i64.store offset=8 (local.get $result) (i64.const 0))
      (local.set $row (i32.add (i32.add (local.get $in) (i32.load offset=20 (local.get $in))) (i32.mul (i32.load (local.get $event)) (i32.const 160))))
      (if (i32.load offset=132 (local.get $row))
        (then (i64.store (local.get $result) (i64.const 4)))
        (else (if CONDITION (then BUG))))
      (local.set $at (i32.add (local.get $at) (i32.const 1)))
      (br $next)))
    (i32.store offset=8 (local.get $out) (i32.add (local.get $at) (global.get $done)))
    (if (i32.eq (global.get $done) (i32.const -1)) (then (i32.store offset=8 (local.get $out) (i32.const 0))))
    (i32.const 0))
  (func (export "pico_parse_events") (param $n i32) (result i32) BODY))"#;
