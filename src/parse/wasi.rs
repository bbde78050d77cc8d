//! The part of WASI preview 1 that `pico.wasm` imports: arguments, standard output and error, exit code. No files, no clock,
//! no environment.
//!
//! The functions take the guest's memory as a slice, so that both runtimes share them. Every address comes from the guest and
//! is checked: outside of memory, the call fails with `fault` and has no effect.

/// Error numbers of preview 1.
const SUCCESS: u32 = 0;
const BAD_DESCRIPTOR: u32 = 8;
const FAULT: u32 = 21;
const INVALID: u32 = 28;
const NO_SPACE: u32 = 51;

/// Limit of standard output: the lines of a full batch, in which each byte may become four and each line has a label.
const STDOUT_BYTES: usize = 16 << 20;
/// Limit of standard error, which takes a line or two.
const STDERR_BYTES: usize = 4096;

/// The input and output of one run of the program.
#[derive(Debug, Default)]
pub(super) struct Wasi {
    /// The arguments, each terminated by NUL.
    arguments: Vec<u8>,
    /// Offset of each argument.
    starts: Vec<u32>,
    /// What it wrote to standard output.
    pub(super) stdout: Vec<u8>,
    /// What it wrote to standard error.
    pub(super) stderr: Vec<u8>,
    /// Its exit code, if it called `proc_exit`.
    pub(super) exit: Option<u32>,
}

impl Wasi {
    /// A run with these arguments, none of which contains NUL, after the name of the program.
    pub(super) fn new(arguments: &[&[u8]]) -> Self {
        let mut wasi = Self::default();
        for argument in [b"pico".as_slice()].iter().chain(arguments) {
            wasi.starts.push(u32::try_from(wasi.arguments.len()).unwrap_or(u32::MAX));
            wasi.arguments.extend_from_slice(argument);
            wasi.arguments.push(0);
        }
        wasi
    }

    /// `args_sizes_get`.
    pub(super) fn args_sizes_get(&self, memory: &mut [u8], count: u32, bytes: u32) -> u32 {
        let done = put_word(memory, count, length(&self.starts))
            .and_then(|()| put_word(memory, bytes, length(&self.arguments)));
        errno(done)
    }

    /// `args_get`: writes the addresses to `table` and the arguments to `buffer`.
    pub(super) fn args_get(&self, memory: &mut [u8], table: u32, buffer: u32) -> u32 {
        let copy = |memory: &mut [u8]| {
            part_mut(memory, buffer, length(&self.arguments))?.copy_from_slice(&self.arguments);
            for (&start, offset) in self.starts.iter().zip((0..).step_by(4)) {
                put_word(memory, table.checked_add(offset)?, buffer.checked_add(start)?)?;
            }
            Some(())
        };
        errno(copy(memory))
    }

    /// `fd_write` of `count` buffers listed at `pieces`; writes the number of bytes to `written`.
    pub(super) fn fd_write(
        &mut self,
        memory: &mut [u8],
        descriptor: u32,
        pieces: u32,
        count: u32,
        written: u32,
    ) -> u32 {
        let (sink, limit) = match descriptor {
            1 => (&mut self.stdout, STDOUT_BYTES),
            2 => (&mut self.stderr, STDERR_BYTES),
            _ => return BAD_DESCRIPTOR,
        };
        if count > 1024 {
            return INVALID;
        }
        let mut total = 0_u32;
        for index in 0..count {
            let piece = |at: u32| word(memory, pieces.checked_add(index * 8)?.checked_add(at)?);
            let bytes = piece(0).zip(piece(4)).and_then(|(start, len)| part(memory, start, len));
            let Some(bytes) = bytes else { return FAULT };
            if sink.len() + bytes.len() > limit {
                return NO_SPACE;
            }
            sink.extend_from_slice(bytes);
            total = total.saturating_add(length(bytes));
        }
        errno(put_word(memory, written, total))
    }
}

fn errno(done: Option<()>) -> u32 {
    if done.is_some() { SUCCESS } else { FAULT }
}

/// The length as the guest sees it. Arguments and buffers are bounded, far below 4 GiB.
fn length<T>(items: &[T]) -> u32 {
    debug_assert!(u32::try_from(items.len()).is_ok(), "{} bytes", items.len());
    u32::try_from(items.len()).unwrap_or(u32::MAX)
}

fn part(memory: &[u8], start: u32, len: u32) -> Option<&[u8]> {
    memory.get(start as usize..(start as usize).checked_add(len as usize)?)
}

fn part_mut(memory: &mut [u8], start: u32, len: u32) -> Option<&mut [u8]> {
    memory.get_mut(start as usize..(start as usize).checked_add(len as usize)?)
}

fn word(memory: &[u8], at: u32) -> Option<u32> {
    Some(u32::from_le_bytes(part(memory, at, 4)?.try_into().ok()?))
}

fn put_word(memory: &mut [u8], at: u32, value: u32) -> Option<()> {
    part_mut(memory, at, 4)?.copy_from_slice(&value.to_le_bytes());
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_written_with_their_addresses() {
        let wasi = Wasi::new(&[b"GET /", b""]);
        let mut memory = [0xff; 64];
        assert_eq!(wasi.args_sizes_get(&mut memory, 0, 4), SUCCESS);
        assert_eq!(memory[..8], [3, 0, 0, 0, 12, 0, 0, 0]);
        assert_eq!(wasi.args_get(&mut memory, 8, 32), SUCCESS);
        assert_eq!(memory[8..20], [32, 0, 0, 0, 37, 0, 0, 0, 43, 0, 0, 0]);
        assert_eq!(&memory[32..44], b"pico\0GET /\0\0");
        assert_eq!(memory[44], 0xff);
    }

    #[test]
    fn pieces_are_written_in_order() {
        let mut wasi = Wasi::new(&[]);
        let mut memory = *b"\x10\0\0\0\x02\0\0\0\x12\0\0\0\x03\0\0\0abcde...";
        assert_eq!(wasi.fd_write(&mut memory, 1, 0, 2, 20), SUCCESS);
        assert_eq!(wasi.stdout, b"abcde");
        assert_eq!(memory[20..24], [5, 0, 0, 0]);
    }

    #[test]
    fn an_address_outside_of_memory_is_a_fault() {
        let mut wasi = Wasi::new(&[b"x"]);
        let mut memory = [0; 16];
        assert_eq!(wasi.args_sizes_get(&mut memory, 13, 0), FAULT);
        assert_eq!(wasi.args_get(&mut memory, 0, u32::MAX), FAULT);
        assert_eq!(wasi.fd_write(&mut memory, 1, u32::MAX - 3, 1, 0), FAULT);
        memory[..8].copy_from_slice(&[8, 0, 0, 0, 9, 0, 0, 0]);
        assert_eq!(wasi.fd_write(&mut memory, 1, 0, 1, 8), FAULT);
        assert!(wasi.stdout.is_empty());
    }

    #[test]
    fn only_standard_output_and_error_can_be_written_up_to_a_limit() {
        let mut wasi = Wasi::new(&[]);
        let mut memory = vec![0; 8192];
        memory[..8].copy_from_slice(&[0, 0, 0, 0, 0, 8, 0, 0]);
        assert_eq!(wasi.fd_write(&mut memory, 0, 0, 1, 100), BAD_DESCRIPTOR);
        assert_eq!(wasi.fd_write(&mut memory, 3, 0, 1, 100), BAD_DESCRIPTOR);
        assert_eq!(wasi.fd_write(&mut memory, 2, 0, 1, 100), SUCCESS);
        memory[..8].copy_from_slice(&[0, 0, 0, 0, 0, 8, 0, 0]);
        assert_eq!(wasi.fd_write(&mut memory, 2, 0, 1, 100), SUCCESS);
        assert_eq!(wasi.fd_write(&mut memory, 2, 0, 1, 100), NO_SPACE);
    }
}
