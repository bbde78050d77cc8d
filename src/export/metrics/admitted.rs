//! Admitted values are label values that come from the wire: the first, up to a cap for all workers together. Others are
//! [`OTHER`].

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::labels::OTHER;

/// Texts that one worker remembers, so that a known one needs no clean-up. Forgotten when full.
const MAX_TEXTS: usize = 4096;
/// Number of the value of those that have none.
const NONE: u16 = 0;
/// Number of [`OTHER`].
const BEYOND: u16 = 1;

/// The values of one label, shared by the workers.
#[derive(Debug)]
pub(super) struct Admission {
    cap: usize,
    values: Mutex<Vec<Arc<str>>>,
}

impl Admission {
    pub(super) const fn new(cap: usize) -> Self {
        Self { cap, values: Mutex::new(Vec::new()) }
    }

    /// The value, admitted if there is room; and every one there is, once there is no more room.
    fn admit(&self, value: &str) -> (Option<Arc<str>>, Option<Vec<Arc<str>>>) {
        // A poisoned list is still a list: nothing below leaves it half changed.
        let mut values = self.values.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = values.iter().find(|known| &***known == value) {
            return (Some(Arc::clone(known)), None);
        }
        if values.len() >= self.cap {
            return (None, Some(values.clone()));
        }
        let admitted: Arc<str> = Arc::from(value);
        values.push(Arc::clone(&admitted));
        (Some(admitted), None)
    }
}

/// What one worker knows of them.
#[derive(Debug)]
pub(super) struct Admitted {
    /// Numbers by the text as sent; bounded by [`MAX_TEXTS`].
    numbers: HashMap<Vec<u8>, u16, foldhash::fast::RandomState>,
    /// By number: `""`, [`OTHER`], then those admitted.
    values: Vec<Arc<str>>,
    /// There is no room for another: what is not known is [`OTHER`].
    full: bool,
}

impl Default for Admitted {
    fn default() -> Self {
        Self { numbers: HashMap::default(), values: vec![Arc::from(""), Arc::from(OTHER)], full: false }
    }
}

impl Admitted {
    /// The value with a number.
    pub(super) fn value(&self, number: u16) -> &str {
        self.values.get(usize::from(number)).map_or(OTHER, |value| value)
    }

    /// Number of the value for a text. `clean`: makes the value of it, or finds it unworthy of one.
    pub(super) fn number(
        &mut self,
        text: Option<&[u8]>,
        admission: &Admission,
        clean: impl FnOnce(&[u8]) -> Option<String>,
    ) -> u16 {
        let Some(text) = text else { return NONE };
        if let Some(number) = self.numbers.get(text) {
            return *number;
        }
        let number = clean(text).map_or(BEYOND, |value| self.number_of(&value, admission));
        if self.numbers.len() >= MAX_TEXTS {
            self.numbers.clear();
        }
        self.numbers.insert(text.to_vec(), number);
        number
    }

    fn number_of(&mut self, value: &str, admission: &Admission) -> u16 {
        let known = |values: &[Arc<str>]| values.iter().position(|known| &**known == value);
        let mut number = known(&self.values);
        if number.is_none() && !self.full {
            match admission.admit(value) {
                (Some(admitted), _) => self.values.push(admitted),
                (None, all) => {
                    self.full = true;
                    for admitted in all.unwrap_or_default() {
                        if !self.values.contains(&admitted) {
                            self.values.push(admitted);
                        }
                    }
                }
            }
            number = known(&self.values);
        }
        number.and_then(|number| u16::try_from(number).ok()).unwrap_or(BEYOND)
    }
}
