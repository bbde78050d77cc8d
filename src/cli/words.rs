//! The words behind the options: capture files, if no option says what to watch, and then a capture filter.

use std::path::{Path, PathBuf};

use super::Watch;

/// What the name of a capture has behind a dot; compression, numbers and patterns may follow.
const ENDINGS: [&str; 3] = ["pcap", "pcapng", "cap"];

/// Where Linux lists network interfaces.
const INTERFACES: &str = "/sys/class/net";

/// Why the words cannot be taken.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum WordsError {
    /// Nothing to watch, but a word that is neither a file nor the name of a capture.
    #[error("nothing to watch: there is no file {0:?}; needed a capture FILE, or -i IFACE (-D lists them)")]
    NoFile(String),
    /// The name of an interface alone.
    #[error("{0} is an interface: needed -i {0}")]
    Interface(String),
    /// A capture beside `-r` or `-i`.
    #[error(
        "{0:?} names a capture and stands where the filter does: needed -r in front of it, or all files without -r (beside -i \
         no file is read)"
    )]
    Beside(String),
}

impl Watch {
    /// Moves the files among the words behind the options to the inputs; the rest is the capture filter. `exists`: whether
    /// there is such a file.
    ///
    /// With `-r` or `-i` all words are the filter. Otherwise the leading words are files: one of an existing file, "-", or one
    /// that ends like a capture. An existing file behind the first needs `.` or `/` in its name, since `tcp` is likely the filter.
    ///
    /// # Errors
    /// See [`WordsError`].
    pub fn take_files(&mut self, exists: impl Fn(&Path) -> bool) -> Result<(), WordsError> {
        let Some(first) = self.filter_expression.first() else { return Ok(()) };
        if !self.pcap.is_empty() || !self.interface.is_empty() {
            return if names_capture(first) { Err(WordsError::Beside(first.clone())) } else { Ok(()) };
        }
        let is_file = |index: usize, word: &str| {
            word == "-" || names_capture(word) || ((index == 0 || word.contains(['.', '/'])) && exists(Path::new(word)))
        };
        let words = self.filter_expression.iter().enumerate();
        let count = words.take_while(|(index, word)| is_file(*index, word)).count();
        if count == 0 {
            let is_interface = !first.contains('/') && exists(&Path::new(INTERFACES).join(first));
            return match first == "any" || is_interface {
                true => Err(WordsError::Interface(first.clone())),
                false => Err(WordsError::NoFile(first.clone())),
            };
        }
        self.pcap = self.filter_expression.drain(..count).map(PathBuf::from).collect();
        Ok(())
    }
}

/// Whether a word ends like a capture: `x.pcap`, `x.pcapng.gz`, `x.pcap12`, `*.pcap*`.
fn names_capture(word: &str) -> bool {
    let is_ending = |part: &str| {
        let letters = part.find(|c: char| !c.is_ascii_alphabetic()).map_or(part, |end| part.get(..end).unwrap_or(part));
        ENDINGS.iter().any(|ending| letters.eq_ignore_ascii_case(ending))
    };
    let name = word.rsplit('/').next().unwrap_or(word);
    !word.contains(char::is_whitespace) && name.split('.').skip(1).any(is_ending)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::Cli;
    use clap::Parser;

    /// The files and the filter of a command line, where these files exist.
    fn taken(arguments: &[&str], existing: &[&str]) -> Result<(Vec<String>, String), WordsError> {
        let mut watch = Cli::try_parse_from(["picotap"].iter().chain(arguments)).expect("good arguments").watch;
        watch.take_files(|path| existing.iter().any(|name| Path::new(name) == path))?;
        let files = watch.pcap.iter().map(|path| path.display().to_string()).collect();
        Ok((files, watch.filter_expression.join(" ")))
    }

    #[test]
    fn leading_words_are_files_and_the_rest_is_the_filter() {
        for (arguments, existing, files, filter) in [
            (&["x.pcap"][..], &[][..], &["x.pcap"][..], ""),
            (&["x.pcap", "port 80"], &[], &["x.pcap"], "port 80"),
            (&["x.pcap", "--errors", "port", "80"], &[], &["x.pcap"], "port 80"),
            (
                &["--stats", "a.pcapng.gz", "b.PCAP12", "/c/*.pcap[0-9]", "tcp"],
                &[],
                &["a.pcapng.gz", "b.PCAP12", "/c/*.pcap[0-9]"],
                "tcp",
            ),
            (&["-", "port 80"], &[], &["-"], "port 80"),
            (&["tcp", "port", "80"], &["tcp"], &["tcp"], "port 80"),
            (&["x.pcap", "tcp", "port", "80"], &["tcp", "port"], &["x.pcap"], "tcp port 80"),
            (&["x.pcap", "./tcp", "tcp"], &["./tcp"], &["x.pcap", "./tcp"], "tcp"),
            (
                &["trace.1", "trace.2", "host", "10.0.0.7"],
                &["trace.1", "trace.2", "10.0.0.7"],
                &["trace.1", "trace.2"],
                "host 10.0.0.7",
            ),
            (&["-r", "x.pcap", "host", "x.pcap"], &["host"], &["x.pcap"], "host x.pcap"),
            (&["-i", "lo", "tcp"], &["tcp"], &[], "tcp"),
        ] {
            let files = files.iter().map(|name| (*name).to_owned()).collect();
            assert_eq!(taken(arguments, existing), Ok((files, filter.to_owned())), "{arguments:?}");
        }
    }

    #[test]
    fn a_word_that_is_no_file_is_answered_with_what_to_type() {
        let refused = |arguments: &[&str], existing: &[&str]| taken(arguments, existing).expect_err("refused");
        assert_eq!(refused(&["tcp", "port", "80"], &[]), WordsError::NoFile("tcp".into()));
        assert_eq!(refused(&["host x.pcap"], &[]), WordsError::NoFile("host x.pcap".into()));
        assert_eq!(refused(&["eth0"], &["/sys/class/net/eth0"]), WordsError::Interface("eth0".into()));
        assert_eq!(refused(&["any"], &[]), WordsError::Interface("any".into()));
        assert_eq!(refused(&["../net"], &["/sys/class/net/../net"]), WordsError::NoFile("../net".into()));
        assert_eq!(refused(&["-r", "a.pcap", "b.pcap"], &[]), WordsError::Beside("b.pcap".into()));
        assert_eq!(refused(&["-i", "lo", "b.cap"], &[]), WordsError::Beside("b.cap".into()));
    }
}
