//! Where in a function a probe costs least: at its first jump. The kernel computes where a jump goes; any other instruction it has the
//! processor run in a single step, which traps, and in many virtual machines leaves these: some 20 us each time.
//!
//! Only beginnings are known that compilers make all the time, byte for byte, so that a probe is never within an instruction.

/// So many bytes of a function are looked at.
pub(super) const BEGINNING: usize = 32;

/// Bytes of a function, of which some may be any.
type Pattern = &'static [Option<u8>];

/// What compilers put in front of the first jump, where all arguments are still in their registers: of C, test rdi, rdi.
const C: Pattern = &[Some(0x48), Some(0x85), Some(0xff)];
/// Of Go, in a function that needs some stack, which compares what there is with what it needs.
const GO: [Pattern; 3] = [
    // cmp rsp, [r14+16]
    &[Some(0x49), Some(0x3b), Some(0x66), Some(0x10)],
    // lea r12, [rsp-N]; cmp r12, [r14+16]
    &[Some(0x4c), Some(0x8d), Some(0x64), Some(0x24), None, Some(0x4d), Some(0x3b), Some(0x66), Some(0x10)],
    // The same with a larger N.
    &[
        Some(0x4c),
        Some(0x8d),
        Some(0xa4),
        Some(0x24),
        None,
        None,
        None,
        None,
        Some(0x4d),
        Some(0x3b),
        Some(0x66),
        Some(0x10),
    ],
];
const ENDBR64: &[u8] = &[0xf3, 0x0f, 0x1e, 0xfa];

/// The place of the first jump, from the beginning of the function; 0 if it is not known.
pub(super) fn first_jump(code: &[u8; BEGINNING]) -> u64 {
    if !cfg!(target_arch = "x86_64") {
        return 0;
    }
    let (start, rest) = code.strip_prefix(ENDBR64).map_or((0, &code[..]), |rest| (ENDBR64.len(), rest));
    // je, jbe: with an offset of one byte, or of four.
    let jumps = |behind: &[u8]| matches!(behind, [0x74 | 0x76, ..] | [0x0f, 0x84 | 0x86, ..]);
    let fits = |before: &&Pattern| behind(rest, before).is_some_and(jumps);
    let found = GO.iter().chain([&C]).find(fits).map_or(0, |before| start + before.len());
    u64::try_from(found).unwrap_or_default()
}

/// Whether bytes are the beginning of a function that Go compiled and that needs some stack. A probe elsewhere would change what the
/// program does.
pub(super) fn begins_go(code: &[u8; BEGINNING]) -> bool {
    if cfg!(target_arch = "aarch64") {
        // ldr x16, [x28, #16]
        return code.starts_with(&[0x90, 0x0b, 0x40, 0xf9]);
    }
    GO.iter().any(|pattern| behind(code, pattern).is_some())
}

/// What follows a pattern in code that begins with it.
fn behind(code: &[u8], pattern: Pattern) -> Option<&[u8]> {
    let (begins, behind) = code.split_at_checked(pattern.len())?;
    let same = begins.iter().zip(pattern).all(|(byte, wanted)| wanted.is_none_or(|wanted| wanted == *byte));
    same.then_some(behind)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn jump(bytes: &[u8]) -> u64 {
        let mut code = [0; BEGINNING];
        code[..bytes.len()].copy_from_slice(bytes);
        first_jump(&code)
    }

    #[test]
    fn beginnings_of_functions() {
        if !cfg!(target_arch = "x86_64") {
            return;
        }
        // OpenSSL 3.0.19 of Debian 12, and the same as Ubuntu compiles it.
        assert_eq!(jump(&[0x48, 0x85, 0xff, 0x74, 0x13, 0x48, 0x8b, 0x07]), 3);
        assert_eq!(jump(&[0xf3, 0x0f, 0x1e, 0xfa, 0x48, 0x85, 0xff, 0x74, 0x13]), 7);
        // Go.
        assert_eq!(jump(&[0x49, 0x3b, 0x66, 0x10, 0x0f, 0x86, 0x35, 0x01, 0x00, 0x00]), 4);
        assert_eq!(jump(&[0x4c, 0x8d, 0x64, 0x24, 0xd8, 0x4d, 0x3b, 0x66, 0x10, 0x76, 0x13]), 9);
        assert_eq!(jump(&[0x4c, 0x8d, 0xa4, 0x24, 0x58, 0xff, 0xff, 0xff, 0x4d, 0x3b, 0x66, 0x10, 0x0f, 0x86]), 12);
        // Others.
        for other in
            [&[][..], &[0x55, 0x48, 0x89, 0xe5], &[0x48, 0x85, 0xff, 0x75, 0x13], &[0x48, 0x85, 0xf6, 0x74, 0x13]]
        {
            assert_eq!(jump(other), 0);
        }
    }

    #[test]
    fn functions_begin_with_a_look_at_the_stack() {
        let code = |bytes: &[u8]| {
            let mut code = [0; BEGINNING];
            code[..bytes.len()].copy_from_slice(bytes);
            begins_go(&code)
        };
        if cfg!(target_arch = "x86_64") {
            assert!(code(&[0x49, 0x3b, 0x66, 0x10, 0x0f, 0x86]));
            assert!(code(&[0x4c, 0x8d, 0x64, 0x24, 0xd8, 0x4d, 0x3b, 0x66, 0x10]));
            assert!(code(&[0x4c, 0x8d, 0xa4, 0x24, 0x58, 0xff, 0xff, 0xff, 0x4d, 0x3b, 0x66, 0x10]));
        }
        assert!(!code(&[0x55, 0x48, 0x89, 0xe5]));
    }
}
