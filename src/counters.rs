//! A counter is declared once, in the stage that counts. The declaration gives its field, the sum over threads, the
//! metric with its help, and the line of the ledger: so everything that is counted is shown.

/// How a family's values behave, and how they are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// It only grows.
    Counter,
    /// It grows and falls.
    Gauge,
    /// It only grows; counted in nanoseconds, shown in seconds.
    Seconds,
}

/// Counters that are shown together: one metric, and one heading of the ledger.
#[derive(Debug, PartialEq, Eq)]
pub struct Family {
    /// Name of the metric.
    pub name: &'static str,
    /// The label whose value distinguishes its counters; empty if it has only one.
    pub label: &'static str,
    /// Heading in the ledger.
    pub title: &'static str,
    /// Help of the metric.
    pub help: &'static str,
    /// How its values behave.
    pub kind: Kind,
}

/// Receives a counter: its family, the value of the family's label, and the count.
pub type Visitor<'a> = dyn FnMut(&'static Family, &str, u64) + 'a;

/// Declares families: `NAME = kind "metric" ["label"] "heading", "help";`.
macro_rules! families {
    ($($name:ident = $kind:ident $metric:literal [$($label:literal)?] $title:literal, $help:literal;)+) => {
        $(
            #[doc = $help]
            pub(crate) static $name: $crate::counters::Family = $crate::counters::Family {
                name: $metric,
                label: concat!($($label)?),
                title: $title,
                help: $help,
                kind: $crate::counters::Kind::$kind,
            };
        )+
    };
}

/// Declares a structure of counters. Each field names its family and, if the family has a label, the label's value. An
/// array gives its length, and the values of the label in the order of its elements. If a value is left out, the caller
/// of `visit` gives it: for counters of each interface or queue.
macro_rules! counters {
    (
        $(#[$meta:meta])*
        pub struct $name:ident {
            $($(#[$doc:meta])* $field:ident $(: [$len:expr; $values:expr])? => $family:ident $([$value:literal])?,)+
        }
    ) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub struct $name {
            $($(#[$doc])* pub $field: counters!(@type $($len)?),)+
        }

        impl Default for $name {
            fn default() -> Self {
                Self { $($field: counters!(@zero $($len)?),)+ }
            }
        }

        impl $name {
            /// Adds another thread's.
            pub fn add(&mut self, other: &Self) {
                $(counters!(@add self, other, $field $(, $len)?);)+
            }

            /// Gives each counter to `to`. `value`: the value of the label where none is declared.
            pub fn visit(&self, value: &str, to: &mut $crate::counters::Visitor<'_>) {
                let _unused = value;
                $(counters!(@visit self, to, value, $field, $family, [$($values)?] [$($value)?]);)+
            }
        }
    };
    (@type) => { u64 };
    (@type $len:expr) => { [u64; $len] };
    (@zero) => { 0 };
    (@zero $len:expr) => { [0; $len] };
    (@add $own:ident, $other:ident, $field:ident) => {
        $own.$field = $own.$field.wrapping_add($other.$field);
    };
    (@add $own:ident, $other:ident, $field:ident, $len:expr) => {
        for (mine, other) in $own.$field.iter_mut().zip($other.$field) {
            *mine = mine.wrapping_add(other);
        }
    };
    (@visit $own:ident, $to:ident, $given:ident, $field:ident, $family:ident, [] []) => {
        $to(&$family, $given, $own.$field);
    };
    (@visit $own:ident, $to:ident, $given:ident, $field:ident, $family:ident, [] [$value:literal]) => {
        $to(&$family, $value, $own.$field);
    };
    (@visit $own:ident, $to:ident, $given:ident, $field:ident, $family:ident, [$values:expr] []) => {
        for (name, count) in $values.iter().zip($own.$field) {
            $to(&$family, name, count);
        }
    };
}

pub(crate) use {counters, families};

families! {
    PAYLOAD = Counter "picotap_payload_bytes_total" ["account"] "payload bytes by account", "TCP payload bytes, by what became of them.";
    HELD = Gauge "picotap_held_bytes" ["where"] "payload bytes held", "TCP payload bytes held until more arrives; not in an account yet.";
}

/// Sums of counters by family and label, in the order in which they were first added.
#[derive(Debug, Default)]
pub struct Tally {
    families: Vec<(&'static Family, Vec<(String, u64)>)>,
}

impl Tally {
    /// Adds a counter.
    pub fn add(&mut self, family: &'static Family, value: &str, count: u64) {
        let index = match self.families.iter().position(|(known, _)| *known == family) {
            Some(index) => index,
            None => {
                self.families.push((family, Vec::new()));
                self.families.len() - 1
            }
        };
        let Some((_, counts)) = self.families.get_mut(index) else {
            debug_assert!(false, "the family is found or has just been added");
            return;
        };
        let value = if family.label.is_empty() { "" } else { value };
        match counts.iter_mut().find(|(known, _)| known == value) {
            Some((_, sum)) => *sum = sum.wrapping_add(count),
            None => counts.push((value.to_owned(), count)),
        }
    }

    /// Every family with its counts by value of its label.
    #[must_use]
    pub fn families(&self) -> &[(&'static Family, Vec<(String, u64)>)] {
        &self.families
    }

    /// The sum of a family's counts.
    #[must_use]
    pub fn sum(&self, family: &Family) -> u64 {
        let counts = self.families.iter().filter(|(known, _)| *known == family).flat_map(|(_, counts)| counts);
        counts.fold(0, |sum, (_, count)| sum.wrapping_add(*count))
    }
}

impl std::fmt::Display for Tally {
    /// The counters that are not zero: a line for each family, and below it one for each value of its label.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (family, counts) in &self.families {
            let sum = self.sum(family);
            if sum == 0 {
                continue;
            }
            let mut line = |name: &str, count: u64| match family.kind {
                Kind::Seconds => writeln!(f, "  {name:<40}{:>18.6} s", count as f64 / 1e9),
                Kind::Counter | Kind::Gauge => writeln!(f, "  {name:<40}{count:>18}"),
            };
            line(family.title, sum)?;
            for (value, count) in counts.iter().filter(|(value, count)| !value.is_empty() && *count != 0) {
                line(&format!("  {value}"), *count)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
#[expect(unreachable_pub, reason = "a structure of counters is always public")]
mod tests {
    use super::*;

    families! {
        PLAIN = Counter "plain_total" [] "plain things", "Plain.";
        SORTED = Counter "sorted_total" ["kind"] "sorted things", "Sorted.";
        WAITED = Seconds "waited_seconds_total" [] "waited", "Waited.";
        QUEUED = Gauge "queued" ["queue"] "queued things", "Queued.";
    }

    const KINDS: &[&str] = &["red", "green"];

    counters! {
        /// Some of each.
        pub struct Sample {
            /// One.
            plain => PLAIN,
            /// Of a kind.
            blue => SORTED["blue"],
            /// Of two kinds.
            colours: [2; KINDS] => SORTED,
            /// Nanoseconds.
            waited => WAITED,
            /// Of the caller of `visit`.
            queued => QUEUED,
        }
    }

    #[test]
    fn sums_over_threads_and_queues_are_by_family_and_label() {
        let one = Sample { plain: 1, blue: 2, colours: [3, 0], waited: 1_500_000_000, queued: 5 };
        let mut both = one;
        both.add(&one);
        let mut tally = Tally::default();
        both.visit("a", &mut |family, value, count| tally.add(family, value, count));
        one.visit("b", &mut |family, value, count| tally.add(family, value, count));
        assert_eq!((tally.sum(&PLAIN), tally.sum(&SORTED), tally.sum(&QUEUED)), (3, 15, 15));
        let text = tally.to_string();
        let words: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
        let wanted = [
            vec!["plain", "things", "3"],
            vec!["sorted", "things", "15"],
            vec!["blue", "6"],
            vec!["red", "9"],
            vec!["waited", "4.500000", "s"],
            vec!["queued", "things", "15"],
            vec!["a", "10"],
            vec!["b", "5"],
        ];
        assert_eq!(words, wanted, "{text}");
    }
}
