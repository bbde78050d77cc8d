//! The table of functions that every Go program has, with symbols or without: its runtime needs it for stack traces
//! (`runtime.pcHeader` in Go's `runtime/symtab.go`, and `debug/gosym`).
//!
//! It is read from files that may be anybody's: whatever is in it, reading ends, and takes time linear in its length.

use memchr::memmem;

use super::elf::{u32_at, u64_at};

/// The function that is probed: it is called with each secret, whether there is a key log or not.
pub(super) const WRITE_KEY_LOG: &str = "crypto/tls.(*Config).writeKeyLog";
/// Where the address of the text is in the description of a module (`runtime.moduledata`): behind a pointer, six slices, and three
/// pointers.
pub(super) const MODULE_TEXT: u64 = 176;
/// Where the same address is in the table's own header, up to Go 1.25.
pub(super) const HEADER_TEXT: u64 = 24;

/// The beginnings of tables, for programs of 64 bits: since Go 1.20, and of Go 1.18 and 1.19. The byte that is left out is the
/// unit of instructions.
const MAGIC: [u32; 2] = [0xffff_fff1, 0xffff_fff0];
/// Before, arguments were passed otherwise on some machines.
const OLD_MAGIC: [u32; 2] = [0xffff_fffa, 0xffff_fffb];

/// Where a function is behind the beginning of the text. `None` if there is none of this name.
///
/// # Errors
/// The table is not one that is read: what it is.
pub(super) fn find(table: &[u8], name: &str) -> Result<Option<u64>, &'static str> {
    const UNKNOWN: &str = "Go with a table of functions that is not known";
    match u32_at(table, 0) {
        Some(magic) if MAGIC.contains(&magic) => {}
        Some(magic) if OLD_MAGIC.contains(&magic) => return Err("Go before 1.18"),
        _ => return Err(UNKNOWN),
    }
    // The length of a pointer.
    if table.get(7) != Some(&8) {
        return Err(UNKNOWN);
    }
    let word = |number: usize| u64_at(table, 8 + 8 * number);
    let at = |number: usize| word(number).and_then(|at| usize::try_from(at).ok());
    let fields = (at(0), at(3), at(4), at(7));
    let (Some(functions), Some(names), Some(names_end), Some(places)) = fields else {
        return Err(UNKNOWN);
    };
    let (Some(names), Some(places)) = (table.get(names..names_end), table.get(places..)) else {
        return Err(UNKNOWN);
    };
    let Some(number) = number(names, name) else { return Ok(None) };
    for entry in places.chunks_exact(8).take(functions) {
        let (Some(offset), Some(described)) = (u32_at(entry, 0), u32_at(entry, 4)) else { break };
        let described = places.get(described as usize..).unwrap_or_default();
        if u32_at(described, 0) == Some(offset) && u32_at(described, 4) == Some(number) {
            return Ok(Some(offset.into()));
        }
    }
    Ok(None)
}

/// Where a name begins among the names, which end with a zero each.
fn number(names: &[u8], name: &str) -> Option<u32> {
    let whole = [b"\0", name.as_bytes(), b"\0"].concat();
    let at = memmem::find(names, &whole).map(|at| at + 1);
    let first = || names.starts_with(whole.get(1..).unwrap_or(&whole)).then_some(0);
    at.or_else(first).and_then(|at| u32::try_from(at).ok())
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A table of these functions, a hundred bytes of text each.
    pub(in crate::probe) fn table(text: u64, functions: &[&str]) -> Vec<u8> {
        let mut names = vec![0];
        let mut numbers = Vec::new();
        for name in functions {
            numbers.push(u32::try_from(names.len()).unwrap());
            names.extend([name.as_bytes(), b"\0"].concat());
        }
        let (names_at, places_at) = (72_u64, 72 + names.len() as u64);
        let count = functions.len() as u64;
        let fields = [count, 1, text, names_at, places_at, places_at, places_at, places_at];
        let mut out = [&MAGIC[0].to_le_bytes()[..], &[0, 0, 1, 8]].concat();
        out.extend(fields.iter().flat_map(|field| field.to_le_bytes()));
        out.extend(names);
        for at in 0..u32::try_from(count).unwrap() {
            let described = u32::try_from(count).unwrap() * 8 + 8 + at * 40;
            out.extend([at * 100, described].map(u32::to_le_bytes).concat());
        }
        out.extend([0; 8]);
        for (at, number) in (0..).zip(numbers) {
            out.extend([at * 100, number].map(u32::to_le_bytes).concat());
            out.extend([0; 32]);
        }
        out
    }

    #[test]
    fn a_function_is_found_by_its_whole_name() {
        let of = |functions: &[&str], name: &str| find(&table(0x40_1000, functions), name);
        let names = ["main", "a.main", "main.b", "b"];
        for (at, name) in (0..).zip(names) {
            assert_eq!(of(&names, name), Ok(Some(at * 100)), "{name}");
        }
        assert_eq!(of(&names, "mai"), Ok(None));
        assert_eq!(of(&[], "main"), Ok(None));
        let mut old = table(0, &names);
        old[0] = 0xfb;
        assert_eq!(find(&old, "main"), Err("Go before 1.18"));
        assert!(find(&[], "main").is_err());
    }

    proptest! {
        #[test]
        fn any_table_is_survived(changes in prop::collection::vec((0_usize..400, any::<u8>()), 0..8), length in 0_usize..400) {
            let mut bytes = table(0x1000, &["main", WRITE_KEY_LOG, "b"]);
            for (at, byte) in changes {
                if let Some(place) = bytes.get_mut(at) {
                    *place = byte;
                }
            }
            bytes.truncate(length.max(8));
            let _any = find(&bytes, WRITE_KEY_LOG);
        }
    }
}
