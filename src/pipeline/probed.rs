//! What probes tell goes to the store that the workers share.

use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError};

use super::shared::Shared;
use crate::probe::Probes;

/// Time between two looks at an empty ring, which holds 8,000 calls: those of some 2,000 handshakes. The probes wake nobody.
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// Takes what probes tell, until `stop` is disconnected.
pub(super) fn take(mut probes: Probes, shared: &Arc<Shared>, stop: &Receiver<()>) {
    loop {
        let more = probes.take(|| shared.keys_mut());
        let wait = if more { Duration::ZERO } else { LOOK_AGAIN };
        if stop.recv_timeout(wait) != Err(RecvTimeoutError::Timeout) {
            return;
        }
    }
}
