//! A fault is a failed guest call: a trap, a deadline or an invalid reply.

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
    /// The guest said that the input is malformed, which is not so.
    #[error("the guest refused its input with code {0}")]
    Refused(u32),
    /// The reply breaks the contract.
    #[error("the guest's reply is not possible: {0}")]
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
            Self::Reply(misdeed) => misdeed.name(),
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

macro_rules! reply_errors {
    ($($(#[$doc:meta])* $variant:ident = $name:literal, $text:literal;)+) => {
        /// What is impossible about a reply.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
        pub enum ReplyError {
            $($(#[$doc])* #[error($text)] $variant,)+
        }

        impl ReplyError {
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

reply_errors! {
    /// Another ABI version than at load.
    Version = "reply_version", "its header carries another ABI version";
    /// A reserved field is not zero.
    Reserved = "reply_reserved", "a reserved field is not zero";
    /// More results than events, or none.
    EventCount = "reply_event_count", "it answers more events than it was given, or none, or leaves some out unsaid";
    /// More records than there is room for.
    RecordCount = "reply_record_count", "it claims more records than there is room for";
    /// More header pairs than there is room for.
    PairCount = "reply_pair_count", "it claims more headers than there is room for";
    /// Not a verdict.
    Verdict = "reply_verdict", "a verdict is not one of the four";
    /// Consumed more than there was, or less than *done* says.
    Consumed = "reply_consumed", "the number of bytes consumed does not fit the verdict";
    /// A skip that goes backwards or stands beside another verdict than *done*.
    Skip = "reply_skip", "a skip lies before the end of its event, or beside a verdict that allows none";
    /// More waits than may, or an event that must be consumed waits.
    Waiting = "reply_waiting", "more bytes are to wait than may, or an event that must be consumed is to wait";
    /// *output_full* with nothing written and nothing consumed.
    NoProgress = "reply_no_progress", "the output is said to be full, but nothing was written";
    /// *output_full* without a byte consumed, again and again.
    Stalled = "reply_stalled", "an event was presented again too often without a byte of it being consumed";
    /// A deferral without a reason, or an event that should have been deferred.
    Order = "reply_order", "an event was taken out of its order, or deferred without a reason";
    /// A record of no known kind.
    RecordKind = "reply_record_kind", "a record is of no known kind, or a field of it holds no known value";
    /// A record about an event that it cannot be about.
    RecordEvent = "reply_record_event", "a record speaks of an event that was not given, not consumed, or of another side";
    /// A position outside the event's bytes.
    Position = "reply_position", "a position in a record lies outside of its event";
    /// Texts of a head that overlap or stand in the wrong order.
    Overlap = "reply_overlap", "texts of a record overlap";
    /// Header pairs outside those that were written, or more than may be.
    Pairs = "reply_pairs", "a record's headers lie outside of those written";
    /// A number that cannot be: zero for a request.
    Number = "reply_number", "a request's number is zero";
    /// A message longer than its stream.
    BodyLength = "reply_body_length", "a message's body is longer than its stream up to the message's end";
}
