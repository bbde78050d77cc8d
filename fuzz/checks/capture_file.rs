//! What must hold for any file: no panic, no more than one error, frames within their bound, and the same frames
//! whether the file comes at once or in small pieces, and whether they are taken one by one or read ahead.

use std::io::{Cursor, Read};

use picotap::source::{Captures, MAX_FRAME};

/// Frames looked at: a compressed input may hold very many.
const FRAMES: usize = 10_000;

/// A reader that gives few bytes at a time.
struct Slowly(Cursor<Vec<u8>>);

impl Read for Slowly {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        let length = into.len().min(3);
        self.0.read(&mut into[..length])
    }
}

/// A hash stands for a frame's bytes.
type Seen = (i64, i32, u32, u32, usize, u64);

/// The input is a file.
pub(crate) fn check(input: &[u8]) {
    let at_once = read(Box::new(Cursor::new(input.to_vec())), 1);
    let ahead = read(Box::new(Cursor::new(input.to_vec())), 7);
    assert_eq!(at_once, ahead);
    let slowly = read(Box::new(Slowly(Cursor::new(input.to_vec()))), 1);
    if matches!(input, [0x1f, 0x8b, ..] | [0x28, 0xb5, ..] | [0x50..=0x5f, ..]) {
        // How much a decompressor gives before it finds damage depends on how it was asked.
        let both = at_once.0.len().min(slowly.0.len());
        assert_eq!(at_once.0[..both], slowly.0[..both]);
    } else {
        assert_eq!(at_once, slowly);
    }
}

/// `most`: frames taken at once.
fn read(reader: Box<dyn Read + Send>, most: usize) -> (Vec<Seen>, Vec<String>) {
    let (mut seen, mut errors) = (Vec::new(), Vec::new());
    let mut captures = match Captures::from_reader("input", reader, None) {
        Ok(captures) => captures,
        Err(error) => return (seen, vec![error.to_string()]),
    };
    while seen.len() < FRAMES {
        let before = seen.len();
        match captures.next_frames(most.min(FRAMES - before)) {
            Ok(frames) => {
                for frame in frames {
                    assert!(frame.data.len() <= MAX_FRAME);
                    assert!(frame.original_len as usize >= frame.data.len());
                    let hash =
                        frame.data.iter().fold(0, |sum: u64, byte| sum.wrapping_mul(31).wrapping_add((*byte).into()));
                    let length = frame.data.len();
                    seen.push((frame.time, frame.link, frame.interface, frame.original_len, length, hash));
                }
                if seen.len() == before {
                    break;
                }
            }
            Err(error) => errors.push(error.to_string()),
        }
    }
    assert!(errors.len() <= 1, "{errors:?}");
    for frame in &seen {
        assert!((frame.2 as usize) < captures.interfaces().len());
    }
    (seen, errors)
}
