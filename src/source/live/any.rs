//! On `any` the kernel gives the number of the interface of each frame with it (LINKTYPE_LINUX_SLL2). Here it becomes a name.

use std::collections::HashMap;
use std::os::fd::AsFd;
use std::os::unix::net::UnixDatagram;

use super::socket;
use crate::stream::InterfaceNames;

/// LINKTYPE_LINUX_SLL2, which is libpcap's DLT_ number too.
pub(super) const SLL2: i32 = 276;

/// Interfaces that are distinguished on `any` in one run. Further ones are called `any`.
pub const MOST_INTERFACES: usize = 4096;

/// The interfaces that frames of `any` were captured on.
#[derive(Debug)]
pub(super) struct Interfaces {
    names: InterfaceNames,
    /// The number in the run of each of the kernel's.
    known: HashMap<u32, u32>,
    last: Option<(u32, u32)>,
    /// To ask the kernel. Made before privileges are dropped, which forbids to make any.
    socket: UnixDatagram,
}

impl Interfaces {
    /// # Errors
    /// What the system says.
    pub(super) fn new(names: InterfaceNames) -> std::io::Result<Self> {
        Ok(Self { names, known: HashMap::new(), last: None, socket: UnixDatagram::unbound()? })
    }

    /// The number of a frame's interface; `any` if its name is not known.
    pub(super) fn number(&mut self, frame: &[u8], any: u32) -> u32 {
        // Protocol, two bytes of zero, and the number, all in network order.
        let Some([.., a, b, c, d]) = frame.first_chunk::<8>() else { return any };
        let index = u32::from_be_bytes([*a, *b, *c, *d]);
        match self.last {
            Some((last, number)) if last == index => number,
            _ => self.find(index, any),
        }
    }

    #[cold]
    fn find(&mut self, index: u32, any: u32) -> u32 {
        let full = self.known.len() >= MOST_INTERFACES;
        let number = match self.known.get(&index) {
            Some(number) => *number,
            None if full => any,
            None => {
                let name = socket::name(self.socket.as_fd(), index);
                let number = name.and_then(|name| self.names.number(&name)).unwrap_or(any);
                self.known.insert(index, number);
                number
            }
        };
        self.last = Some((index, number));
        number
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_s_numbers_become_names() {
        let names = InterfaceNames::new(vec!["any".to_owned()], 2);
        let mut interfaces = Interfaces::new(names.clone()).unwrap();
        let lo = nix::net::if_::if_nametoindex("lo").unwrap();
        let frame = |index: u32| [&[8, 0, 0, 0][..], &index.to_be_bytes(), &[0; 12]].concat();
        for _ in 0..2 {
            assert_eq!(interfaces.number(&frame(lo), 0), 1);
            assert_eq!(interfaces.number(&frame(1 << 30), 0), 0, "there is none");
            assert_eq!(interfaces.number(&[8, 0], 0), 0);
        }
        assert_eq!(names.get(1), Some("lo"));
    }
}
