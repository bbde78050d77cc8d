//! The parser modules of a run: one for each protocol, and perhaps a second one for one of them.

use std::ffi::OsString;
use std::fmt::{self, Debug, Display, Formatter};
use std::ops::Deref;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::abi::MAX_PROTOCOLS;
use crate::sandbox::protocol::{ENTRY, HTTP2, Protocol};
use crate::sandbox::{BUILTIN_GUEST, BUILTIN_HTTP2};

/// A parser module.
#[derive(Clone)]
pub struct Module {
    /// The protocol that it must be for.
    pub protocol: Protocol,
    /// The module, compiled to WebAssembly.
    pub wasm: Vec<u8>,
    /// The file that it was read from, and that a reload reads again; none for a built-in one.
    pub file: Option<PathBuf>,
}

impl Module {
    /// Those that are part of the program.
    fn built_in() -> [Self; 2] {
        let module = |protocol, wasm: &[u8]| Self { protocol, wasm: wasm.to_vec(), file: None };
        [module(ENTRY, BUILTIN_GUEST), module(HTTP2, BUILTIN_HTTP2)]
    }
}

/// As errors name it.
impl Display for Module {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match &self.file {
            Some(file) => write!(f, "{} parser {}", self.protocol, file.display()),
            None => write!(f, "built-in {} parser", self.protocol),
        }
    }
}

impl Debug for Module {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self { protocol, wasm, file } = self;
        f.debug_struct("Module").field("protocol", protocol).field("bytes", &wasm.len()).field("file", file).finish()
    }
}

/// One module for each protocol. Connections start with the first, which is that of HTTP/1; that of HTTP/2 is the second.
#[derive(Debug, Clone)]
pub struct Guests(Vec<Module>);

impl Default for Guests {
    fn default() -> Self {
        Self(Module::built_in().to_vec())
    }
}

/// Why modules cannot be used together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum GuestsError {
    /// Two for one protocol.
    #[error("two parser modules for {0}: needed at most one for each protocol (FILE without PROTOCOL= is for {ENTRY})")]
    Twice(Protocol),
    /// Too many.
    #[error("parser modules for {0} protocols, {ENTRY} and {HTTP2} included: allowed are {MAX_PROTOCOLS}")]
    TooMany(usize),
}

impl Guests {
    /// These modules, and the built-in ones of the protocols that none of them is for.
    ///
    /// # Errors
    /// See [`GuestsError`].
    pub fn new(modules: impl IntoIterator<Item = Module>) -> Result<Self, GuestsError> {
        let mut others: Vec<Module> = modules.into_iter().collect();
        let mut all = Vec::new();
        for built_in in Module::built_in() {
            let given = others.iter().position(|module| module.protocol == built_in.protocol);
            all.push(given.map_or(built_in, |at| others.remove(at)));
        }
        all.extend(others);
        for (at, module) in all.iter().enumerate() {
            if all.iter().take(at).any(|other| other.protocol == module.protocol) {
                return Err(GuestsError::Twice(module.protocol));
            }
        }
        match all.len() {
            count if count > MAX_PROTOCOLS => Err(GuestsError::TooMany(count)),
            _ => Ok(Self(all)),
        }
    }

    /// Reads each module from its file, if it has one.
    ///
    /// # Errors
    /// The first of `read`.
    pub(crate) fn read<E>(mut self, read: impl Fn(&Path) -> Result<Vec<u8>, E>) -> Result<Self, E> {
        for module in &mut self.0 {
            if let Some(file) = &module.file {
                module.wasm = read(file)?;
            }
        }
        Ok(self)
    }
}

impl Deref for Guests {
    type Target = [Module];
    fn deref(&self) -> &[Module] {
        &self.0
    }
}

/// A second parser, whose records are compared with those of the first one of its protocol.
#[derive(Clone)]
pub struct ShadowModule {
    /// The module, compiled to WebAssembly. Its protocol is the one that it names.
    pub wasm: Vec<u8>,
    /// The file that it was read from, for errors.
    pub file: Option<PathBuf>,
    /// It sees one in so many connections.
    pub sample: u64,
}

/// As errors name it.
impl Display for ShadowModule {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str("second parser")?;
        self.file.as_ref().map_or(Ok(()), |file| write!(f, " {}", file.display()))
    }
}

impl Debug for ShadowModule {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self { wasm, file, sample } = self;
        f.debug_struct("ShadowModule").field("bytes", &wasm.len()).field("file", file).field("sample", sample).finish()
    }
}

/// A module's file as an option names it: `[PROTOCOL=]FILE`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GuestFile {
    /// The protocol, if it is named.
    pub protocol: Option<Protocol>,
    /// The file.
    pub file: PathBuf,
}

impl GuestFile {
    /// Takes the option's text apart. What stands before the first `=` is a protocol, unless it has a `/`.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: OsString) -> Result<Self, String> {
        let bytes = text.as_bytes();
        let at = bytes.iter().position(|byte| matches!(byte, b'=' | b'/')).filter(|at| bytes.get(*at) == Some(&b'='));
        let (protocol, file) = match at.and_then(|at| bytes.split_at_checked(at)) {
            None => (None, text.into()),
            Some((name, file)) => {
                let name = String::from_utf8_lossy(name);
                let protocol = name.parse().map_err(|error| {
                    format!("{name:?} is no protocol: {error} (a file with = in its name needs its directory too, as ./{name}=...)")
                })?;
                (Some(protocol), OsString::from_vec(file.get(1..).unwrap_or_default().to_vec()).into())
            }
        };
        let this = Self { protocol, file };
        match this.file.as_os_str().is_empty() {
            true => Err("expected [PROTOCOL=]FILE, got no file".to_owned()),
            false => Ok(this),
        }
    }

    /// The module that is to be read from the file. Without a protocol it is for HTTP/1.
    pub(crate) fn unread(&self) -> Module {
        Module { protocol: self.protocol.unwrap_or(ENTRY), wasm: Vec::new(), file: Some(self.file.clone()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn module(protocol: &str) -> Module {
        Module { protocol: protocol.parse().unwrap(), wasm: Vec::new(), file: Some("x.wasm".into()) }
    }

    fn protocols(modules: &[&str]) -> Result<Vec<String>, GuestsError> {
        let guests = Guests::new(modules.iter().map(|name| module(name)))?;
        let shown = |module: &Module| module.to_string();
        Ok(guests.iter().map(shown).collect())
    }

    #[test]
    fn http_comes_first_and_is_built_in_unless_it_is_given() {
        let built_in = ["built-in http1 parser", "built-in http2 parser"];
        assert_eq!(protocols(&[]).unwrap(), built_in);
        let others = ["resp parser x.wasm", "b parser x.wasm"];
        assert_eq!(protocols(&["resp", "b"]).unwrap(), [built_in, others].concat());
        assert_eq!(protocols(&["resp", "http1"]).unwrap(), ["http1 parser x.wasm", built_in[1], others[0]]);
        assert_eq!(protocols(&["http2", "b"]).unwrap(), [built_in[0], "http2 parser x.wasm", others[1]]);
        assert_eq!(Guests::default().len(), 2);
    }

    #[test]
    fn a_protocol_has_one_module_and_there_are_sixteen_at_most() {
        for twice in [["resp", "resp"], ["http1", "http1"], ["http2", "http2"]] {
            assert_eq!(protocols(&twice), Err(GuestsError::Twice(twice[0].parse().unwrap())));
        }
        let names: Vec<String> = (0..16).map(|n| format!("p{n}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        assert_eq!(protocols(&names[..14]).unwrap().len(), 16);
        assert_eq!(protocols(&names[..15]), Err(GuestsError::TooMany(17)));
    }

    #[test]
    fn what_stands_before_the_first_equals_sign_is_a_protocol_unless_it_is_a_directory() {
        let parse = |text: &str| GuestFile::parse(text.into());
        let shown = |text: &str| {
            let GuestFile { protocol, file } = parse(text).unwrap();
            (protocol.map(|protocol| protocol.to_string()), file.to_str().unwrap().to_owned())
        };
        assert_eq!(shown("a.wasm"), (None, "a.wasm".into()));
        assert_eq!(shown("resp=a.wasm"), (Some("resp".into()), "a.wasm".into()));
        assert_eq!(shown("resp=d/a=b.wasm"), (Some("resp".into()), "d/a=b.wasm".into()));
        assert_eq!(shown("./a=b.wasm"), (None, "./a=b.wasm".into()));
        assert_eq!(shown("http1=a=b.wasm"), (Some("http1".into()), "a=b.wasm".into()));
        let error = parse("A=b.wasm").unwrap_err();
        assert!(error.contains("\"A\" is no protocol") && error.contains("./A=..."), "{error}");
        for text in ["", "resp="] {
            assert!(parse(text).unwrap_err().contains("got no file"), "{text:?}");
        }
        let odd = OsString::from_vec(b"resp=\xff.wasm".to_vec());
        assert_eq!(GuestFile::parse(odd).unwrap().file.as_os_str().as_bytes(), b"\xff.wasm", "any path can be named");
    }
}
