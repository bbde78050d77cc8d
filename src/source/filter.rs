//! A filter chooses frames by a BPF expression, compiled by libpcap for each link type when its first frame comes.

use pcap::{BpfProgram, Capture, Linktype};

use super::{Error, Frame};

/// Link types that one filter is compiled for. Frames of further ones are left out, as if the expression did not compile.
const MAX_LINKS: usize = 64;

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
        let compiled = Capture::dead(Linktype(data_link(link))).and_then(|dead| dead.compile(&self.expression, true));
        let (program, failed) = match compiled {
            Ok(program) => (Some(program), None),
            Err(pcap::Error::PcapError(message)) => (None, Some(message)),
            Err(other) => (None, Some(other.to_string())),
        };
        self.programs.push((link, program));
        match failed {
            None => Ok(()),
            Some(message) => Err(Error::Filter { expression: self.expression.clone(), link, message }),
        }
    }
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
