//! A filter chooses frames by a BPF expression, compiled by libpcap for each link type when its first frame comes.

use pcap::{BpfProgram, Capture, Linktype};

use super::{Error, Frame};

/// Link types that one filter is compiled for. Frames of further ones are left out, as if the expression did not compile.
const MAX_LINKS: usize = 64;

/// LINKTYPE_ number of Ethernet.
const ETHERNET: i32 = 1;
/// Link types that have words of their own in filters: PPP, raw IP, 802.11 with radio information, cooked (1 and 2), PF's log.
const OTHER_LINKS: [i32; 6] = [9, 101, 127, 113, 276, 117];

/// A BPF expression (pcap-filter(7)) for the frames of files.
///
/// libpcap's program gets the captured length as the original length too (the binding offers nothing else), so `len`,
/// `less` and `greater` see the captured length of frames that the snap length cut.
pub struct Filter {
    expression: String,
    /// Per link type its program, or none if the expression does not compile for it.
    programs: Vec<(i32, Option<BpfProgram>)>,
}

impl Filter {
    /// Takes an expression; nothing is checked before the first frame.
    #[must_use]
    pub fn new(expression: &str) -> Self {
        Self { expression: expression.to_owned(), programs: Vec::new() }
    }

    /// Whether the expression chooses a frame.
    ///
    /// # Errors
    /// [`Error::Filter`] with libpcap's message at the first frame of a link type that the expression does not compile
    /// for; later frames of it are not chosen.
    pub fn accepts(&mut self, frame: &Frame<'_>) -> Result<bool, Error> {
        if !self.programs.iter().any(|(link, _)| *link == frame.link) && self.programs.len() < MAX_LINKS {
            self.compile(frame.link)?;
        }
        let program =
            self.programs.iter().find(|(link, _)| *link == frame.link).and_then(|(_, program)| program.as_ref());
        Ok(program.is_some_and(|program| program.filter(frame.data)))
    }

    #[cold]
    fn compile(&mut self, link: i32) -> Result<(), Error> {
        let (program, failed) = match compile(&self.expression, link) {
            Ok(program) => (Some(program), None),
            Err(message) => (None, Some(message)),
        };
        self.programs.push((link, program));
        match failed {
            None => Ok(()),
            Some(message) => Err(Error::Filter { expression: self.expression.clone(), link, message }),
        }
    }
}

/// Whether the expression can be a filter at all: whether it compiles for Ethernet or another common link type.
///
/// # Errors
/// libpcap's message for Ethernet.
pub fn check_filter(expression: &str) -> Result<(), String> {
    let Err(message) = compile(expression, ETHERNET) else { return Ok(()) };
    // A name that is not known is not asked for again: that may take seconds.
    let known = !message.contains("unknown ");
    match known && OTHER_LINKS.iter().any(|link| compile(expression, *link).is_ok()) {
        true => Ok(()),
        false => Err(message),
    }
}

/// libpcap's program for a LINKTYPE_ number, or its message.
fn compile(expression: &str, link: i32) -> Result<BpfProgram, String> {
    let compiled = Capture::dead(Linktype(data_link(link))).and_then(|dead| dead.compile(expression, true));
    compiled.map_err(|error| match error {
        pcap::Error::PcapError(message) => message,
        other => other.to_string(),
    })
}

/// The DLT_ number that libpcap has for a LINKTYPE_ number on Linux. They differ where systems once disagreed.
fn data_link(link: i32) -> i32 {
    match link {
        100 => 11,  // ATM, RFC 1483
        101 => 12,  // raw IP
        102 => 15,  // SLIP, BSD/OS
        103 => 16,  // PPP, BSD/OS
        104 => 104, // Cisco HDLC
        106 => 19,  // ATM, Classical IP
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_expression_is_refused_only_if_no_link_type_takes_it() {
        for good in
            ["", "tcp port 80", "ether host 00:00:5e:00:53:01", "wlan type mgt", "inbound", "ifindex 2", "vlan 5"]
        {
            assert_eq!(check_filter(good), Ok(()), "{good}");
        }
        for bad in ["tcp prot 80", "port", "host=x", "(tcp", "port 99999", "len &"] {
            assert!(check_filter(bad).is_err(), "{bad}");
        }
    }
}
