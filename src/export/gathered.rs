//! What is gathered by all workers and written when the last of them has ended, in the place of lines.

use std::sync::{Arc, Mutex, PoisonError};

use super::chunk::ChunkSender;

/// Something that every worker has a part of.
pub trait Gather: Send + 'static {
    /// Takes the part of another worker, which has ended.
    fn merge(&mut self, other: Self);
    /// Gives the lines to `send`, some at a time, until it says that nobody takes them.
    fn write(self, send: &mut dyn FnMut(&[u8]) -> bool);
}

/// Where the parts come together. Copies share it.
#[derive(Debug)]
pub struct Gathered<T> {
    state: Arc<Mutex<State<T>>>,
    chunks: ChunkSender,
}

#[derive(Debug)]
struct State<T> {
    /// Workers that have not ended.
    open: usize,
    sum: Option<T>,
}

impl<T> Clone for Gathered<T> {
    fn clone(&self) -> Self {
        Self { state: Arc::clone(&self.state), chunks: self.chunks.clone() }
    }
}

impl<T: Gather> Gathered<T> {
    /// Lines go where these go.
    #[must_use]
    pub fn new(chunks: ChunkSender) -> Self {
        Self { state: Arc::new(Mutex::new(State { open: 0, sum: None })), chunks }
    }

    /// One more worker takes part.
    pub fn open(&self) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).open += 1;
    }

    /// A worker has ended, with this part. The last writes.
    pub fn close(&self, part: T) {
        let sum = {
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            state.open = state.open.saturating_sub(1);
            match &mut state.sum {
                Some(sum) => sum.merge(part),
                none => *none = Some(part),
            }
            if state.open == 0 { state.sum.take() } else { None }
        };
        if let Some(sum) = sum {
            sum.write(&mut |lines| self.chunks.send_lines(lines));
        }
    }
}
