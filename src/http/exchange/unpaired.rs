//! What is inferred about responses that the guest could not pair, and about requests without a response.

use super::{Exchange, response_in_progress};
use crate::abi;
use crate::http::flags::Flags;
use crate::http::record::Record;
use crate::http::transaction::Transaction;

impl Exchange {
    /// Index of the request that an unpaired response most likely answers.
    ///
    /// A request can only have been answered if the server had acknowledged it. Of these the newest is chosen, since
    /// what came before it was most likely answered in what was lost. But requests that the client sent without having
    /// seen anything more of the server in between were pipelined, and of those the oldest is answered first. (What the
    /// client had seen is not known if nothing of the server's was captured before: then it is the newest.)
    ///
    /// If a request was lost that the server had acknowledged, and bytes of the server's come between that newest
    /// request and this response, then most likely both its answer and the request behind it were lost: the response
    /// answers none of the requests that were seen.
    pub(super) fn infer(&self, record: &Record) -> Option<usize> {
        let acked = record.peer_acked.unwrap_or(u64::MAX);
        let may_be = |open: &Transaction| {
            let end = open.request.map(|request| request.end.map_or(request.head_end, |(end, _)| end).offset);
            // A client cannot acknowledge an answer before it has begun.
            let seen = open.client_acked.is_none_or(|acked| acked <= record.start.offset);
            open.client_side != record.side && open.response.is_none() && end.is_some_and(|end| end <= acked) && seen
        };
        let newest = self.queue.rfind(may_be)?;
        let burst = self.queue.get(newest)?.client_acked;
        let follows = burst == Some(record.start.offset);
        if record.flags & abi::flag::REQUEST_LOST != 0 && !follows {
            return None;
        }
        if burst.is_none() {
            return Some(newest);
        }
        self.queue.find(|open| may_be(open) && open.client_acked == burst)
    }

    /// Whether an unpaired response answers the request at `index` for certain: the client had received everything before
    /// the response when it sent the request, and the server had received no more than the request when it answered. Of a
    /// client that pipelines an older request may still be unanswered: one that is known to, or one that had sent what is lost before
    /// the request, which no response before has acknowledged or can have answered unread.
    pub(super) fn proves(&self, index: usize, record: &Record) -> bool {
        let Some(open) = self.queue.get(index) else { return false };
        let end = open.request.and_then(|request| request.end).map(|(end, _)| end.offset);
        let (side, start) = (usize::from(record.side), open.request.map(|request| request.start.offset));
        let unread = self.read.get(side).is_some_and(|read| *read < record.start.offset);
        let answered = unread && self.cut.get(side) == Some(&false) || Some(self.acked) >= start;
        let waits = open.flags.contains(Flags::RESYNC) && !answered;
        !self.pipelines
            && !waits
            && end.is_some()
            && record.peer_acked == end
            && open.client_acked == Some(record.start.offset)
    }

    /// A response begins that is unpaired: the one before it, if it has not ended, never will.
    pub(super) fn note_unfinished(&mut self, record: &Record) {
        let unpaired = record.flags & abi::flag::UNPAIRED != 0;
        if unpaired && self.queue.in_progress(response_in_progress).next().is_some() {
            self.note_cut(record.side, true);
        }
    }

    /// Whether the end of a side's last message was not seen.
    pub(super) fn note_cut(&mut self, side: u8, cut: bool) {
        if let Some(side) = self.cut.get_mut(usize::from(side)) {
            *side = cut;
        }
    }

    /// A side's stream has come to an offset. What lies between that and the last response that was paired may have been the
    /// response to what is open.
    pub(super) fn note_unread(&mut self, side: u8, until: u64) {
        if self.read.get(usize::from(side)).is_some_and(|read| *read < until) {
            self.queue.mark_unread(side, until);
        }
    }

    /// The server has sent a response of HTTP/1 to what a client asked in HTTP/2.
    pub(super) fn note_unread_streams(&mut self) {
        for transaction in self.streams.iter_mut().flat_map(|streams| streams.values_mut()) {
            transaction.unread = true;
        }
    }

    /// Whether a response without a request, which is complete, may answer a head that is not: the server had received more of
    /// the client than was read.
    pub(super) fn may_answer_unread(&self, transaction: &Transaction) -> bool {
        let read = self.read.get(usize::from(transaction.client_side)).copied().unwrap_or(0);
        transaction.request.is_none() && transaction.server_acked.is_some_and(|acked| acked > read)
    }

    /// Whether a request of which only the first part was seen is what the response in front, which came before it was told,
    /// answers. If the server had received more than what was seen, other requests may lie between: then it is not certain
    /// (`Some(false)`), and asked that the client had received all before the response when it sent the request.
    pub(super) fn answered_already(&self, record: &Record) -> Option<bool> {
        if record.flags & abi::flag::HEAD_CUT == 0 {
            return None;
        }
        let front = self.queue.get(0).filter(|front| front.held && front.request.is_none())?;
        let (acked, response) = (front.server_acked?, front.response?.start);
        let certain = acked <= record.end.offset;
        let answers = front.client_side == record.side
            && acked > record.start.offset
            && response.time >= record.start.time
            && (certain || record.peer_acked == Some(response.offset));
        answers.then_some(certain)
    }
}
