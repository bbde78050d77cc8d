//! What is told of connections, kept once for those of which the same is told: a service has many connections, and few kinds of them.

use std::hash::BuildHasher;
use std::sync::Arc;

use foldhash::fast::RandomState;

use crate::stream::Secured;

/// So many are kept. Each has one place: at worst nothing is shared.
const PLACES: usize = 64;

/// What was told of connections last.
#[derive(Default)]
pub(super) struct Shared {
    told: Vec<Option<Arc<Secured>>>,
    state: RandomState,
}

impl Shared {
    /// The same, shared with the connections of which it was told before.
    pub(super) fn of(&mut self, secured: Secured) -> Arc<Secured> {
        if self.told.is_empty() {
            self.told.resize(PLACES, None);
        }
        let at = usize::try_from(self.state.hash_one(&secured) % PLACES as u64).unwrap_or(0);
        let place = self.told.get_mut(at);
        if let Some(Some(known)) = &place
            && **known == secured
        {
            return Arc::clone(known);
        }
        let new = Arc::new(secured);
        if let Some(place) = place {
            *place = Some(Arc::clone(&new));
        }
        new
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_the_same_is_kept_once() {
        let named = |name: &str| Secured { server_name: Some(name.into()), ..Secured::default() };
        let mut shared = Shared::default();
        let first = shared.of(named("a.test"));
        assert!(Arc::ptr_eq(&first, &shared.of(named("a.test"))));
        for number in 0..10 * PLACES {
            let name = format!("{number}.test");
            assert_eq!(*shared.of(named(&name)), named(&name));
        }
        assert_eq!(shared.told.len(), PLACES);
    }
}
