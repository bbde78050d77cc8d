//! A source gives frames: captured packets in the order in which they were captured.

mod blocks;
mod error;
mod file;
mod file_bytes;
mod filter;
pub(crate) mod format;
mod interfaces;
pub mod live;
mod pcap_file;
mod pcapng;
mod polled;
mod series;

pub use blocks::MAX_FRAME;
pub use error::{Error, FileFault};
pub(crate) use file::begins_capture;
pub use file::{Captures, OnSecrets, ReadProgress, Secrets, files_of, read_key_log, total_bytes};
pub use filter::{Filter, check_filter};
pub use interfaces::Interface;
pub use polled::Polled;
pub use series::directory_of;

/// One captured frame.
#[derive(Debug, Clone, Copy)]
pub struct Frame<'a> {
    /// Capture time, nanoseconds since the Unix epoch.
    pub time: i64,
    /// Link type as in the LINKTYPE_ registry of tcpdump.org (1: Ethernet).
    pub link: i32,
    /// Index of the capture interface (pcapng interface, or live interface), from 0.
    pub interface: u32,
    /// The captured bytes.
    pub data: &'a [u8],
    /// Length of the frame on the wire; greater than `data.len()` if the snap length cut it.
    pub original_len: u32,
}
