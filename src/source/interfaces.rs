//! An interface is what frames were captured on, numbered once over all files of a run.

/// Interfaces that are distinguished in one run. Real captures have tens; a file that describes more is damaged or hostile.
pub(super) const MAX_INTERFACES: usize = 4096;

/// Bytes of an interface's name that are kept. Linux names have at most 15, Windows names about 60.
const MAX_NAME: usize = 256;

/// A capture interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interface {
    /// Its name, if the file has it (pcapng does, pcap does not).
    pub name: Option<String>,
    /// LINKTYPE_ number of its frames.
    pub link: i32,
}

/// All interfaces of a run. Equal ones of several files or sections are one.
#[derive(Debug, Default)]
pub(super) struct Interfaces(Vec<Interface>);

impl Interfaces {
    /// The number of an interface, new or known; `None` if there are too many.
    pub(super) fn number(&mut self, name: Option<&[u8]>, link: i32) -> Option<u32> {
        let name = name.map(|name| String::from_utf8_lossy(name.get(..MAX_NAME).unwrap_or(name)).into_owned());
        let wanted = Interface { name, link };
        let known = self.0.iter().position(|known| *known == wanted);
        if known.is_none() && self.0.len() == MAX_INTERFACES {
            return None;
        }
        let index = known.unwrap_or(self.0.len());
        if known.is_none() {
            self.0.push(wanted);
        }
        u32::try_from(index).ok()
    }

    /// In the order of their numbers.
    pub(super) fn all(&self) -> &[Interface] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_interfaces_share_a_number() {
        let mut all = Interfaces::default();
        assert_eq!(all.number(Some(b"eth0"), 1), Some(0));
        assert_eq!(all.number(Some(b"eth0"), 101), Some(1));
        assert_eq!(all.number(None, 1), Some(2));
        assert_eq!(all.number(Some(b"eth0"), 1), Some(0));
        assert_eq!(all.all().len(), 3);
    }

    #[test]
    fn their_number_is_bounded() {
        let mut all = Interfaces::default();
        for link in 0..i32::try_from(MAX_INTERFACES).unwrap() {
            assert!(all.number(None, link).is_some());
        }
        assert_eq!(all.number(None, -1), None);
        assert_eq!(all.number(None, 7), Some(7));
    }
}
