//! Reading one record: in the clear, with the keys of the side, or with those of several that fit.

use super::{Connection, Record};
use crate::tls::half::{Keys, Phase};
use crate::tls::negotiation::Early;
use crate::tls::outcome::{Buffers, Context, Dark, Output};

/// Bytes of records that no known key opens, where these are to be expected; beyond it the side is given up.
const MAX_PASSED: usize = 1 << 20;

impl Connection {
    /// Reads one record.
    pub(super) fn record(&mut self, context: &mut Context<'_>, record: Record<'_>, output: &mut impl Output) {
        let Record { side, header, .. } = record;
        let tls13 = self.negotiation.is_tls13();
        let half = self.half_mut(side);
        match &mut half.phase {
            Phase::Clear => {
                context.counters.handshake += header.record() as u64;
                let kind = header.kind;
                let Record { body, .. } = record;
                self.clear_record(context, side, kind, body);
            }
            Phase::Open(keys) => {
                let expanded = &mut context.buffers.expanded;
                let Some(opened) = keys.opener.open(expanded, keys.number, &header, record.body) else {
                    context.counters.darken(Dark::BadTag, header.record());
                    self.bad_record(side, record.end - header.record() as u64, record.end, Dark::BadTag);
                    return;
                };
                keys.number += 1;
                let epoch = keys.epoch;
                half.count(header.record());
                let Record { body, .. } = &record;
                let plaintext = body.get(opened.plaintext).unwrap_or_default();
                self.content(context, &record, (epoch, opened.kind, plaintext), output);
            }
            Phase::Choosing(_) => self.choose(context, record, output),
            Phase::Needs(_) | Phase::Lost(_) | Phase::Dark(_) => {
                debug_assert!(tls13, "a record is read when its keys are known");
            }
        }
    }

    /// A record was opened with these keys: if the server's hello was lost, they tell the suite, and others are not tried any more.
    pub(super) fn proven(&mut self, keys: &Keys) {
        if self.negotiation.prove(keys) {
            let cipher = keys.opener.aead();
            self.halves.iter_mut().for_each(|half| half.keep_cipher(cipher));
        }
    }

    /// Finds the keys that open the first record.
    fn choose(&mut self, context: &mut Context<'_>, record: Record<'_>, output: &mut impl Output) {
        let (side, header, length) = (record.side, record.header, record.header.record());
        let sends_early = self.is_client(side) && self.info().early_data != Early::None;
        let refused = self.info().early_data == Early::Rejected;
        let half = self.half_mut(side);
        let Phase::Choosing(choosing) = &mut half.phase else { return };
        let Buffers { copy, expanded, .. } = &mut *context.buffers;
        let mut found = None;
        for at in 0..choosing.candidates.len() {
            let Some(keys) = choosing.candidates.get(at) else { break };
            copy.clear();
            copy.extend_from_slice(record.body);
            if at > 0 || choosing.tolerant {
                half.searched += header.length as u64;
                context.counters.searched += header.length as u64;
            }
            if let Some(opened) = keys.opener.open(expanded, 0, &header, copy) {
                found = Some((choosing.candidates.swap_remove(at), opened));
                break;
            }
        }
        let Some((mut keys, opened)) = found else {
            choosing.passed += length;
            if !choosing.tolerant || choosing.passed > MAX_PASSED {
                context.counters.darken(Dark::BadTag, length);
                self.darken(context, side, Dark::BadTag);
            } else if sends_early {
                let greatest = choosing.candidates.first().map_or(0, |keys| keys.opener.greatest(header.length));
                if !refused {
                    half.missing.add(greatest as u64, false);
                }
                context.counters.early_data += length as u64;
            } else {
                // The keys of the handshake are not known, those that follow are.
                context.counters.handshake += length as u64;
            }
            return;
        };
        keys.number = 1;
        let epoch = keys.epoch;
        self.proven(&keys);
        let half = self.half_mut(side);
        half.phase = Phase::Open(keys);
        half.count(length);
        // Processing needs the rest of the context.
        let copy = std::mem::take(&mut context.buffers.copy);
        let plaintext = copy.get(opened.plaintext).unwrap_or_default();
        self.content(context, &record, (epoch, opened.kind, plaintext), output);
        context.buffers.copy = copy;
    }
}
