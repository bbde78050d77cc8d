//! The thread that writes the file of packets.

use std::io::{self, ErrorKind, Write};
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};

use crossbeam_channel::{Receiver, Sender, bounded};
use zeroize::Zeroize;

use super::chunk::{Chunk, Item};
use super::file::{KeptFile, SecondLink};
use super::store::NOT_KEPT;
use crate::counters::{counters, families};
use crate::daemon::shutdown::{Shutdown, Why};
use crate::pipeline::shared::Shared;

/// Chunks in the queue. With one of each store and one in the writer's hands they usually take some 5 MiB.
pub(super) const CHUNKS_IN_QUEUE: usize = 16;
/// Bytes that are written at once: of a disk that fills up less is missing at the end of the file.
const PIECE: usize = 16 << 10;

families! {
    KEPT_PACKETS = Counter "picotap_kept_packets_total" [] "packets kept", "Packets written to the file of kept packets.";
    KEPT_BYTES = Counter "picotap_kept_bytes_total" [] "bytes of packets kept", "Captured bytes of the packets written to the file of kept packets.";
}

counters! {
    /// What was written.
    pub struct KeptFileCounters {
        /// Packets.
        packets => KEPT_PACKETS,
        /// Captured bytes of them.
        bytes => KEPT_BYTES,
        /// Packets that could not be written.
        failed => NOT_KEPT["write_error"],
    }
}

/// The thread.
pub struct Writer {
    thread: JoinHandle<Option<String>>,
    /// To it. When all copies are dropped it ends.
    chunks: Sender<Chunk>,
}

impl Writer {
    /// Starts the thread. `stop_on_failure`: a file that cannot be written ends the run (files); otherwise the run goes on without.
    ///
    /// # Errors
    /// What the system says.
    pub fn start(file: KeptFile, shared: Arc<Shared>, shutdown: Shutdown, stop_on_failure: bool) -> io::Result<Self> {
        let (chunks, taken) = bounded(CHUNKS_IN_QUEUE);
        let thread = Builder::new().name("keep".to_owned()).spawn(move || {
            Writing {
                file,
                shared,
                shutdown,
                stop_on_failure,
                counters: KeptFileCounters::default(),
                waiting: (0, 0),
                secret: false,
            }
            .run(&taken)
        })?;
        Ok(Self { thread, chunks })
    }

    /// A way to it, for a store.
    pub fn way(&self) -> Sender<Chunk> {
        self.chunks.clone()
    }

    /// Waits until all is written, which needs all stores to be gone. What went wrong.
    pub fn end(self) -> Option<String> {
        drop(self.chunks);
        self.thread.join().unwrap_or_else(|_| Some(crate::pipeline::run::defect("keep")))
    }
}

/// What the thread owns.
struct Writing {
    file: KeptFile,
    shared: Arc<Shared>,
    shutdown: Shutdown,
    stop_on_failure: bool,
    counters: KeptFileCounters,
    /// Packets in the buffer, and their bytes.
    waiting: (u64, u64),
    /// The buffer may hold secrets.
    secret: bool,
}

impl Writing {
    fn run(mut self, chunks: &Receiver<Chunk>) -> Option<String> {
        let mut buffer = Vec::new();
        self.file.encoder.begin(&mut buffer);
        let mut position = 0;
        let mut failed = self.write(&mut buffer, &mut position).err();
        self.told(failed.as_deref());
        for chunk in chunks {
            let before = self.counters.packets;
            if failed.is_none() {
                let encoded = self.encode(&chunk, &mut buffer, &mut position);
                failed = self.write(&mut buffer, &mut position).err().or_else(|| encoded.err());
                self.told(failed.as_deref());
            }
            if failed.is_some() {
                let packets = chunk.items.iter().filter(|item| matches!(item, Item::Packet(_))).count() as u64;
                self.counters.failed += packets.saturating_sub(self.counters.packets - before);
            }
            self.shared.publish_kept(self.counters);
        }
        if failed.is_none() {
            self.file.encoder.end(&mut buffer);
            failed = self.write(&mut buffer, &mut position).err();
        }
        failed.filter(|text| !text.is_empty())
    }

    /// Turns a chunk into bytes of the file, and writes them but for the last.
    fn encode(&mut self, chunk: &Chunk, buffer: &mut Vec<u8>, position: &mut u64) -> Result<(), String> {
        let mut rest = chunk.bytes.as_slice();
        for item in &chunk.items {
            if buffer.len() >= PIECE {
                self.write(buffer, position)?;
            }
            let length = if let Item::Packet(head) = item { head.len as usize } else { 0 };
            let (data, behind) = rest.split_at_checked(length).unwrap_or((rest, &[]));
            rest = behind;
            self.file.encoder.item(item, data, buffer).map_err(|SecondLink(link)| {
                let name = pcap::Linktype(link).get_name().unwrap_or_default();
                format!(
                    "{}: a pcap file has packets of one link type, and those of another came ({link} {name}): needed a FILE that ends \
                     in .pcapng behind -w",
                    self.file.name
                )
            })?;
            self.secret |= matches!(item, Item::Secrets(_));
            if let Item::Packet(head) = item {
                self.waiting.0 += 1;
                self.waiting.1 += u64::from(head.len);
            }
        }
        Ok(())
    }

    /// Writes what is in the buffer, and empties it. After an error, whose text is empty if nobody reads any more, the file ends where
    /// it did before.
    fn write(&mut self, buffer: &mut Vec<u8>, position: &mut u64) -> Result<(), String> {
        let written = self.file.file.write_all(buffer);
        let length = buffer.len() as u64;
        if self.secret {
            buffer.zeroize();
        }
        buffer.clear();
        let (packets, bytes) = std::mem::take(&mut self.waiting);
        match written {
            Ok(()) => {
                self.counters.packets += packets;
                self.counters.bytes += bytes;
                *position += length;
                Ok(())
            }
            Err(error) if error.kind() == ErrorKind::BrokenPipe && !self.file.is_regular => {
                self.shutdown.ask(Why::Closed);
                Err(String::new())
            }
            Err(error) => {
                if self.file.is_regular {
                    // What cannot be cut off stays: a reader says that the file ends in the middle of a packet.
                    let _cut = self.file.file.set_len(*position);
                }
                Err(format!("{}: packets cannot be written: {error}; the file has those before", self.file.name))
            }
        }
    }

    /// Says that nothing more is written.
    fn told(&self, failed: Option<&str>) {
        match failed {
            None | Some("") => {}
            Some(_) if self.stop_on_failure => self.shutdown.ask(Why::Failed),
            Some(text) => eprintln!("picotap: {text}; picotap goes on without"),
        }
    }
}
