//! A row is a connection as a call shows it to the guest.

use crate::abi::{self, row_flag};
use crate::sandbox::call::{Allowed, RowInput};
use crate::sandbox::connection::ConnectionState;
use crate::sandbox::extra::Extra;
use crate::stream::Opener;

/// A connection as its row shows it.
pub(super) fn row_input<S>(connection: &ConnectionState<S>) -> RowInput<'_> {
    let info = &connection.info;
    let extra = connection.extra.as_deref();
    let hand_over = connection.hand_over;
    let flag = |set: bool, flag: u8| if set { flag } else { 0 };
    let may_grow = extra.is_none_or(Extra::may_grow);
    RowInput {
        block: &connection.block,
        extra: extra.map_or(&[], Extra::bytes),
        extra_size: extra.map_or(0, Extra::size),
        opener: match info.opener {
            Opener::First => abi::opener::SIDE0,
            Opener::Second => abi::opener::SIDE1,
            Opener::Unknown => abi::opener::UNKNOWN,
        },
        flags: flag(info.midstream, row_flag::MIDSTREAM)
            | flag(extra.is_some_and(Extra::lost), row_flag::EXTRA_LOST)
            | flag(!may_grow, row_flag::NO_GROWTH)
            | flag(hand_over.unseen, row_flag::HANDED_OVER),
        depth: info.depth(),
        handed_by: hand_over.by,
        allowed: Allowed {
            grow: may_grow,
            hand_over: hand_over.count < abi::MAX_HAND_OVERS,
            just_handed_over: hand_over.unconsumed,
            inner: info.depth() < abi::MAX_DEPTH,
            protocol: connection.format.protocol,
        },
    }
}
