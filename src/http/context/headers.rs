//! Headers of a message: which are kept, without their secrets.

use super::HttpContext;
use crate::http::flags::Flags;
use crate::http::record::Headers;
use crate::http::transaction::{Kept, MAX_HEADERS, MAX_TEXT, Transaction};
use crate::http::{forwarded, trace};

impl HttpContext {
    pub(super) fn headers(&mut self, transaction: &mut Transaction, headers: Headers<'_>, of_request: bool) {
        let mut pairs = headers.iter().peekable();
        let mut folded = std::mem::take(&mut self.folded);
        let mut traces = 0;
        let mut forwarded = of_request && !self.trusted_proxies.is_empty();
        if forwarded {
            self.forwarded.iter_mut().for_each(Vec::clear);
        }
        while let Some((name, mut value)) = pairs.next() {
            if name.is_empty() {
                continue; // belongs to a header that is not kept, or to none
            }
            let standard = of_request && matches!(name.len(), 4 | 6 | 7 | 10 | 11);
            let asked = self.wanted.iter().position(|(wanted, _)| wanted.eq_ignore_ascii_case(name));
            let all = self.all_headers && !name.starts_with(b":");
            let names_client = forwarded && matches!(name.len(), 9 | 15);
            if !standard && asked.is_none() && !all && !names_client {
                continue;
            }
            if pairs.peek().is_some_and(|(next, _)| next.is_empty()) {
                // RFC 9112, section 5.2: a continued line reads as a space. Joined first, so that a secret across lines
                // is found.
                folded.clear();
                folded.extend_from_slice(value);
                while let Some((_, more)) = pairs.next_if(|(next, _)| next.is_empty()) {
                    folded.push(b' ');
                    folded.extend_from_slice(more.trim_ascii());
                }
                value = &folded;
            }
            if standard && name.eq_ignore_ascii_case(b"traceparent") {
                traces += 1;
                // Of several, none says which trace it is.
                let context = trace::parse(value).filter(|_| traces == 1);
                transaction.trace = transaction.store(trace::LEN, |out| out.extend(context.unwrap_or_default()));
            } else if standard {
                self.standard_header(transaction, name, value);
            }
            if names_client {
                forwarded = self.note_forwarded(name, value);
            }
            if all {
                self.keep_any(transaction, of_request, name, value);
            } else if let Some(index) = asked {
                self.keep(transaction, of_request, index, value);
            }
        }
        if forwarded {
            let [by_rfc, by_habit] = &self.forwarded;
            let peer = transaction.client.ip;
            transaction.client_forwarded = forwarded::client(peer, &self.trusted_proxies, by_rfc, by_habit);
        }
        self.folded = folded;
    }

    /// Keeps a header that may name the client behind proxies. Whether there is not too much of them.
    #[cold]
    fn note_forwarded(&mut self, name: &[u8], value: &[u8]) -> bool {
        let [by_rfc, by_habit] = &mut self.forwarded;
        let text = match name {
            name if name.eq_ignore_ascii_case(b"forwarded") => by_rfc,
            name if name.eq_ignore_ascii_case(b"x-forwarded-for") => by_habit,
            _ => return true,
        };
        if !text.is_empty() {
            text.push(b',');
        }
        text.extend_from_slice(value);
        text.len() <= forwarded::LONGEST
    }

    /// Keeps the value of a header that is always kept. Of several with one name, the first counts.
    fn standard_header(&self, transaction: &mut Transaction, name: &[u8], value: &[u8]) {
        let Self { redaction, shapes, .. } = self;
        let host = name.eq_ignore_ascii_case(b"host") || name == b":authority";
        if host && transaction.host().is_none() {
            transaction.host = transaction.store(MAX_TEXT, |out| redaction.write(shapes.host, value, out));
        } else if name.eq_ignore_ascii_case(b"user-agent") && transaction.user_agent().is_none() {
            transaction.user_agent = transaction.store(MAX_TEXT, |out| redaction.write(shapes.user_agent, value, out));
        } else if name.eq_ignore_ascii_case(b"referer") && transaction.referer().is_none() {
            transaction.referer = transaction.store(MAX_TEXT, |out| redaction.write(shapes.referer, value, out));
        } else if name.eq_ignore_ascii_case(b"origin") && transaction.origin().is_none() {
            transaction.origin = transaction.store(MAX_TEXT, |out| redaction.write(shapes.origin, value, out));
        }
    }

    /// Keeps the value of a header that was not asked for by its name.
    #[cold]
    fn keep_any(&self, transaction: &mut Transaction, of_request: bool, name: &[u8], value: &[u8]) {
        if transaction.kept.len() >= MAX_HEADERS {
            transaction.flags |= Flags::TEXT_CUT;
            return;
        }
        let name = name.to_ascii_lowercase();
        let shape = self.redaction.shape(&name);
        // Values of one name follow each other.
        let same = transaction
            .kept
            .iter()
            .find(|kept| kept.of_request == of_request && transaction.text_of(kept.name).unwrap_or_default() == name);
        let index = same.map_or(transaction.kept.len(), |kept| usize::from(kept.index));
        let name = match same.map(|kept| kept.name) {
            Some(name) => name,
            None => transaction.store(MAX_TEXT, |out| out.extend_from_slice(&name)),
        };
        let value = transaction.store(MAX_TEXT, |out| self.redaction.write(shape, value, out));
        let index = u16::try_from(index).unwrap_or(u16::MAX);
        transaction.kept.push(Kept { of_request, index, name, value });
    }

    /// Keeps the value of a header that was asked for: the one at `index` of the names.
    fn keep(&self, transaction: &mut Transaction, of_request: bool, index: usize, value: &[u8]) {
        if transaction.kept.len() >= MAX_HEADERS {
            transaction.flags |= Flags::TEXT_CUT;
            return;
        }
        let Some((name, shape)) = self.wanted.get(index) else {
            debug_assert!(false, "the index is one of the names asked for");
            return;
        };
        let name = transaction.store(MAX_TEXT, |out| out.extend_from_slice(name));
        let value = transaction.store(MAX_TEXT, |out| self.redaction.write(*shape, value, out));
        let index = u16::try_from(index).unwrap_or(u16::MAX);
        transaction.kept.push(Kept { of_request, index, name, value });
    }
}
