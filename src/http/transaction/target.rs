//! The target of a request, taken apart (RFC 9112, section 3.2).

use super::{MAX_TEXT, TextRange, Transaction};
use crate::http::route::Routes;

impl Transaction {
    /// Scheme of the URL: as the request names it; else `https` if it was decrypted; otherwise, and where only the connection
    /// around a tunnel was, `http`.
    #[must_use]
    pub fn scheme(&self) -> &[u8] {
        let decrypted = self.secured.is_some() && self.secured_itself;
        self.named_scheme().unwrap_or(if decrypted { b"https" } else { b"http" })
    }

    /// Authority of the target in absolute form and of CONNECT, else `None`.
    #[must_use]
    pub fn authority(&self) -> Option<&[u8]> {
        match self.parts()? {
            (authority, _) if !authority.is_empty() => Some(authority),
            _ => None,
        }
    }

    /// Path of the target: without query, and without scheme and authority in absolute form. `None` without a request
    /// and for CONNECT.
    #[must_use]
    pub fn path(&self) -> Option<&[u8]> {
        let (_, path) = self.parts()?;
        path.split(|byte| matches!(byte, b'?' | b'#')).next().filter(|path| !path.is_empty())
    }

    /// Route of the path, if routes are wanted: see [`crate::http::route`].
    #[must_use]
    pub fn route(&self) -> Option<&[u8]> {
        self.text_of(self.route)
    }

    /// Query of the target, without its question mark.
    #[must_use]
    pub fn query(&self) -> Option<&[u8]> {
        let target = self.target()?;
        let query = target.get(memchr::memchr(b'?', target)?.saturating_add(1)..)?;
        query.split(|byte| *byte == b'#').next()
    }

    /// Authority (may be empty) and path with query of the target, by the forms of RFC 9112, section 3.2.
    fn parts(&self) -> Option<(&[u8], &[u8])> {
        let target = self.target()?;
        if self.method() == Some(b"CONNECT") {
            return Some((target, b""));
        }
        if target.starts_with(b"/") {
            return Some((b"", target));
        }
        let Some(scheme) = crate::http::redact::scheme(target) else {
            return Some((b"", target));
        };
        let rest = target.get(scheme.saturating_add(3)..).unwrap_or_default();
        let (authority, path) = rest.split_at(memchr::memchr3(b'/', b'?', b'#', rest).unwrap_or(rest.len()));
        Some((authority, if path.starts_with(b"/") { path } else { b"/" }))
    }

    /// Adds the route of its path, if it has one and is of HTTP.
    pub(crate) fn add_route(&mut self, routes: &Routes) {
        if self.protocol.len != 0 {
            return;
        }
        let Some((_, path)) = self.parts() else { return };
        let end = (self.target.start as usize).saturating_add(self.target.len as usize);
        let range = end.saturating_sub(path.len())..end;
        let is_there = path.len() == self.target.len as usize || self.text.get(range.clone()) == Some(path);
        self.route = match is_there {
            true => TextRange::new(routes.append(&mut self.text, range)),
            // The path of a URL that has none.
            false => self.store(MAX_TEXT, |out| out.push(b'/')),
        };
    }
}
