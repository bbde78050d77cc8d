//! A fault is a failed guest call: a trap, a deadline or an invalid reply.

use std::fmt;

use thiserror::Error;
use wasmtime::Trap;

use super::quote::quote;

/// A failed guest call.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Fault {
    /// The guest trapped.
    #[error("the guest trapped: {0}")]
    Trap(Trap),
    /// The guest used more processor time than its batch was given.
    #[error("the guest ran past its deadline")]
    Deadline,
    /// The guest said that its input is malformed, which the host's input never is.
    #[error("the guest refused its input with code {0}")]
    Refused(u32),
    /// The reply breaks the contract.
    #[error("the guest's reply breaks the contract: {0}")]
    Reply(ReplyError),
    /// A new instance could not be made.
    #[error("no fresh instance: {0}")]
    Instance(String),
}

impl Fault {
    /// Sorts an error of wasmtime.
    #[must_use]
    pub fn from_wasmtime(error: &wasmtime::Error) -> Self {
        match error.downcast_ref::<Trap>() {
            Some(Trap::Interrupt) => Self::Deadline,
            Some(trap) => Self::Trap(*trap),
            None => Self::Instance(quote(&format!("{error:#}"))),
        }
    }

    /// Its name in metrics: one of [`NAMES`].
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Trap(trap) => trap_name(*trap),
            Self::Deadline => "deadline",
            Self::Refused(_) => "refused_input",
            Self::Reply(error) => error.rule.name(),
            Self::Instance(_) => "no_instance",
        }
    }
}

const fn trap_name(trap: Trap) -> &'static str {
    match trap {
        Trap::StackOverflow => "trap_stack_overflow",
        Trap::MemoryOutOfBounds | Trap::HeapMisaligned => "trap_memory",
        Trap::UnreachableCodeReached => "trap_unreachable",
        Trap::IntegerDivisionByZero | Trap::IntegerOverflow | Trap::BadConversionToInteger => "trap_arithmetic",
        Trap::TableOutOfBounds | Trap::IndirectCallToNull | Trap::BadSignature => "trap_indirect_call",
        _ => "trap_other",
    }
}

/// A reply that breaks a rule of the contract, and where.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("{rule} ({item}: {field} is {value})")]
pub struct ReplyError {
    /// The rule.
    pub rule: Rule,
    /// The item of the reply that breaks it.
    pub item: Item,
    /// The field that breaks it, as `guest/abi.h` names it.
    pub field: &'static str,
    /// What the guest wrote there.
    pub value: u64,
}

impl ReplyError {
    /// The event of a call's first result is not consumed again and again.
    pub const STALLED: Self = Self { rule: Rule::Stalled, item: Item::Result(0), field: "consumed", value: 0 };
}

/// An item of a reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Item {
    /// The head of the output buffer.
    Head,
    /// The result with this index, which is that of its event.
    Result(u32),
    /// The record with this index.
    Record(u32),
    /// The header pair with this index.
    Pair(u32),
    /// The row with this index.
    Row(u32),
}

impl fmt::Display for Item {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Head => f.write_str("output head"),
            Self::Result(index) => write!(f, "result {index}"),
            Self::Record(index) => write!(f, "record {index}"),
            Self::Pair(index) => write!(f, "pair {index}"),
            Self::Row(index) => write!(f, "row {index}"),
        }
    }
}

macro_rules! rules {
    ($($(#[$doc:meta])* $variant:ident = $name:literal, $text:literal;)+) => {
        /// A rule that a reply must keep; its text says how the reply breaks it.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
        pub enum Rule {
            $($(#[$doc])* #[error($text)] $variant,)+
        }

        impl Rule {
            /// Its name in metrics.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)+ }
            }
        }

        /// Every name that [`Fault::name`] gives.
        pub const NAMES: &[&str] = &[
            "trap_stack_overflow", "trap_memory", "trap_unreachable", "trap_arithmetic", "trap_indirect_call",
            "trap_other", "deadline", "refused_input", "no_instance",
            $($name,)+
        ];
    };
}

rules! {
    /// The version is that of the contract.
    Version = "reply_version", "the reply is of another version of the contract";
    /// Reserved fields are zero, and truth values 0 or 1.
    Reserved = "reply_reserved", "a reserved field is not zero, or a truth value neither 0 nor 1";
    /// Every event has a result; only *output_full* leaves later ones out.
    EventCount = "reply_event_count", "there are more results than events, or too few, and the last is not output_full";
    /// No more records than there is room for.
    RecordCount = "reply_record_count", "there are more records than there is room for";
    /// No more header pairs than there is room for.
    PairCount = "reply_pair_count", "there are more header pairs than there is room for";
    /// A verdict is one of [`crate::abi::Verdict`].
    Verdict = "reply_verdict", "a verdict is unknown";
    /// *done* consumes all bytes, *deferred* none, and nothing more than there is.
    Consumed = "reply_consumed", "the number of bytes consumed does not fit the verdict";
    /// A skip leads beyond the end of its event, and stands beside *done*.
    Skip = "reply_skip", "a skip does not lead beyond its event, or its verdict or its event allows none";
    /// Only bytes that are not final may wait, and no more than [`crate::abi::MAX_WAITING`].
    Waiting = "reply_waiting", "need_more leaves no bytes or too many, or answers an event that cannot wait";
    /// *grow*, *hand over* and *inner* answer bytes.
    NotBytes = "reply_not_bytes", "a verdict that only bytes can have answers another event";
    /// *output_full* comes with a record or a byte consumed.
    NoProgress = "reply_no_progress", "output_full, but nothing was written and nothing consumed";
    /// An event is presented again a bounded number of times without a byte of it consumed.
    Stalled = "reply_stalled", "output_full: an event is presented again too often with nothing of it consumed";
    /// An event is deferred if, and only if, an earlier one of its side waits or of its connection was deferred.
    Order = "reply_order", "an event is deferred without a reason, or was to be deferred and is not";
    /// Kinds, codes, flags and sizes of records hold values that the contract knows.
    RecordKind = "reply_record_kind", "a record is of unknown kind, or a field of it holds a value that its kind does not allow";
    /// Records stand in order of their events, each about an event and a side that it may be about.
    RecordEvent = "reply_record_event", "a record is about an event or a side that it cannot be about, or not in order of the events";
    /// Positions lie inside the consumed bytes of the event, those of texts inside their head.
    Position = "reply_position", "a position lies outside of what it refers to";
    /// Heads and ends do not overlap, nor do the texts of a head.
    Overlap = "reply_overlap", "texts of a head, or messages of an event, overlap or are out of order";
    /// A head's pairs are among those written, and no more than [`crate::abi::MAX_PAIRS`].
    Pairs = "reply_pairs", "a head has more header pairs than were written, or than are allowed";
    /// The text area is used as far as it goes.
    TextArea = "reply_text_area", "more of the text area is used than there is";
    /// Extra state is used as far as it goes.
    State = "reply_state", "more extra state is used than there is";
    /// *grow* asks for more, in whole units, where more may be asked for.
    Grow = "reply_grow", "grow asks for a size that is not to be had, too often, or after it was refused";
    /// *hand over* names another protocol, few times, and not at once again.
    HandOver = "reply_hand_over", "a connection is handed over to no other known protocol, too often, or at once again";
    /// *inner* comes with a tunnel record, and not too deep.
    Inner = "reply_inner", "a stream inside a tunnel without a tunnel record, or within too many others";
    /// A request has a number.
    Number = "reply_number", "a request has no number";
    /// A body is no longer than its stream, and no more of it is told than was asked for.
    BodyLength = "reply_body_length", "a body is longer than its stream up to the end of the message, or more of it is told than was asked for";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broken_reply_says_which_item_which_field_and_which_value() {
        let error = ReplyError { rule: Rule::RecordKind, item: Item::Record(3), field: "framing", value: 9 };
        assert_eq!(
            Fault::Reply(error).to_string(),
            "the guest's reply breaks the contract: a record is of unknown kind, or a field of it holds a value that its \
             kind does not allow (record 3: framing is 9)"
        );
    }
}
