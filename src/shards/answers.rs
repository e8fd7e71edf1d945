//! What the connection that asks is told of its batch: the answers, and between them what its own sessions hear of it.
//!
//! Must hold: frames stand in the order in which they are said, so a loser hears before the winner is answered.

use std::mem::take;
use std::sync::Arc;

use bytes::BytesMut;
use tenure_protocol::Push;

use crate::journal::Mark;
use crate::outbox::{Outbox, Unwritten};

/// See the file's header.
pub(super) struct Answers<'o> {
    pub(super) asker: &'o Arc<Outbox>,
    /// What is to be written already, and the answers.
    pub(super) bytes: BytesMut,
    /// Where the answers begin.
    begin: usize,
    /// How many frames there are in them.
    pub(super) frames: u64,
}

impl<'o> Answers<'o> {
    /// None yet, behind what is to be written.
    pub(super) fn behind(written: &mut Unwritten, asker: &'o Arc<Outbox>) -> Self {
        Self {
            asker,
            begin: written.bytes.len(),
            bytes: take(&mut written.bytes),
            frames: 0,
        }
    }

    /// Leaves them, with what they rest on, where they are, and tells how many. If something in the outbox is to be said before,
    /// or what they are behind may leave earlier, they go to the outbox.
    pub(super) fn put(mut self, written: &mut Unwritten, mark: Mark) -> u64 {
        let is_next = self.asker.is_unused() && (self.begin == 0 || mark <= written.mark);
        if is_next {
            written.mark = written.mark.max(mark);
        } else {
            let answers = &self.bytes[self.begin..];
            self.asker.append(answers, take(&mut self.frames), mark);
            self.bytes.truncate(self.begin);
        }
        written.bytes = self.bytes;
        self.frames
    }

    /// Whether this is the outbox of whoever asks.
    pub(super) fn are_for(&self, outbox: &Arc<Outbox>) -> bool {
        Arc::ptr_eq(self.asker, outbox)
    }

    /// Something that a session of whoever asks is told.
    pub(super) fn push(&mut self, push: &Push<'_>) {
        push.encode(&mut self.bytes);
        self.frames += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EARLIER: Mark = Mark(1);
    const LATER: Mark = Mark(2);

    /// What is written next, and what is in the outbox, after an answer that rests on `mark`.
    fn answered(asker: &Arc<Outbox>, mut written: Unwritten, mark: Mark) -> (u64, [Unwritten; 2]) {
        let mut answers = Answers::behind(&mut written, asker);
        answers.bytes.extend_from_slice(b"answer");
        answers.frames += 1;
        let frames = answers.put(&mut written, mark);
        let mut left = Unwritten::default();
        asker.exchange(&mut left, &mut Vec::new());
        (frames, [written, left])
    }

    fn unwritten(bytes: &[u8], mark: Mark) -> Unwritten {
        let bytes = BytesMut::from(bytes);
        Unwritten { bytes, mark }
    }

    #[test]
    fn an_answer_is_written_next_if_nothing_is_to_be_said_before() {
        let asker = Arc::new(Outbox::new(1 << 10));
        let (frames, [written, left]) = answered(&asker, unwritten(b"", EARLIER), LATER);
        assert_eq!((frames, &written.bytes[..]), (1, &b"answer"[..]));
        assert_eq!((written.mark, left.bytes.len()), (LATER, 0));
        let (frames, [written, left]) = answered(&asker, unwritten(b"one ", LATER), LATER);
        assert_eq!((frames, &written.bytes[..]), (1, &b"one answer"[..]));
        assert_eq!((written.mark, left.bytes.len()), (LATER, 0));
    }

    #[test]
    fn an_answer_comes_after_what_is_in_the_outbox() {
        let asker = Arc::new(Outbox::new(1 << 10));
        asker.tell(b"notice ", 1, EARLIER);
        let (frames, [written, left]) = answered(&asker, unwritten(b"one ", LATER), EARLIER);
        assert_eq!((frames, &written.bytes[..]), (0, &b"one "[..]));
        assert_eq!(
            (&left.bytes[..], left.mark),
            (&b"notice answer"[..], EARLIER)
        );
    }

    /// Else it would keep back what rests on less.
    #[test]
    fn an_answer_waits_apart_from_what_may_leave_earlier() {
        let asker = Arc::new(Outbox::new(1 << 10));
        let (frames, [written, left]) = answered(&asker, unwritten(b"one ", EARLIER), LATER);
        assert_eq!((frames, &written.bytes[..]), (0, &b"one "[..]));
        assert_eq!((&left.bytes[..], left.mark), (&b"answer"[..], LATER));
    }
}
