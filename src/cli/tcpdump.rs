//! Options of tcpdump that picotap does not have: those that would change nothing are taken, the others are answered with what
//! to type instead.

use clap::{ArgAction, Args};

/// An option that picotap cannot follow.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum TcpdumpError {
    /// To print bytes.
    #[error(
        "{0}: picotap prints transactions, not the bytes of packets: --format json prints all that is known of each, --header NAME \
         a header more; tcpdump {0} prints the bytes"
    )]
    Bytes(&'static str),
    /// To print link-layer headers.
    #[error("-e: transactions have no link-layer addresses: leave it out, or use tcpdump -e")]
    LinkLayer,
}

/// Options of tcpdump beside those that picotap has.
#[derive(Debug, Clone, Default, Args)]
pub struct Tcpdump {
    /// Without effect: no names are looked up (-n), lines are written as they come (-l, -U), the text format has the time and
    /// one line for a transaction (-t, -v)
    #[arg(short = 'n', short_aliases = ['l', 'U', 't', 'v'], action = ArgAction::Count, hide = true)]
    pub without_effect: u8,
    /// Print bytes as text
    #[arg(short = 'A', action = ArgAction::Count, hide = true)]
    pub text: u8,
    /// Print bytes in hexadecimal and as text
    #[arg(short = 'X', action = ArgAction::Count, hide = true)]
    pub both: u8,
    /// Print bytes in hexadecimal
    #[arg(short = 'x', action = ArgAction::Count, hide = true)]
    pub hexadecimal: u8,
    /// Print link-layer headers
    #[arg(short = 'e', action = ArgAction::Count, hide = true)]
    pub link_layer: u8,
}

impl Tcpdump {
    /// Refuses what picotap cannot do.
    ///
    /// # Errors
    /// The first such option.
    pub fn check(&self) -> Result<(), TcpdumpError> {
        match self {
            Self { text: 1.., .. } => Err(TcpdumpError::Bytes("-A")),
            Self { both: 1.., .. } => Err(TcpdumpError::Bytes("-X")),
            Self { hexadecimal: 1.., .. } => Err(TcpdumpError::Bytes("-x")),
            Self { link_layer: 1.., .. } => Err(TcpdumpError::LinkLayer),
            _ => Ok(()),
        }
    }
}
