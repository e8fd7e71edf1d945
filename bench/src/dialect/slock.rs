//! The dialect of slock: frames of 64 bytes both ways, each answer naming its request. Its numbers have their low byte first.
//!
//! Rule: a renewal counts only if the lock was held; the same request takes a lock that is free, which is no renewal.

use anyhow::{Context as _, Result, bail};

use super::{Answer, Ask, Conversation, Dialect, Outcome, System};
use crate::paths::Path;

/// Bytes of every frame.
const FRAME: usize = 64;

const MAGIC: u8 = 0x56;
const VERSION: u8 = 1;

/// Commands.
const INIT: u8 = 0;
const LOCK: u8 = 1;
const UNLOCK: u8 = 2;

/// What a lock command does about a lock that the asker holds: begin its term anew.
const UPDATE_WHEN_LOCKED: u8 = 0x02;

/// Results.
const SUCCEEDED: u8 = 0;
const HELD_BY_ASKER: u8 = 5;
const NOT_LOCKED: u8 = 6;
const NOT_THE_HOLDERS: u8 = 7;
const TIMED_OUT: u8 = 8;

/// Holds and waits that outlive every run, in seconds.
const TERM: u16 = 300;

/// A key has 16 bytes; a longer name is hashed by its client. The last 16 of a path tell all paths apart.
const KEY: usize = 16;

/// Where things stand in a frame.
const REQUEST_AT: usize = 3;
const RESULT_AT: usize = 19;
const FLAG_AT: usize = 19;
const DATABASE_AT: usize = 20;
const OWNER_AT: usize = 21;
const KEY_AT: usize = 37;
const WAIT_AT: usize = 53;
const TERM_AT: usize = 57;

/// An slock server under load.
#[derive(Debug, Clone, Copy)]
pub struct Slock {
    /// How many databases the connections are spread over.
    pub orgs: u32,
}

impl System for Slock {
    fn orgs(&self) -> u32 {
        self.orgs.max(1)
    }

    fn supports(&self, ask: Ask) -> bool {
        match ask {
            Ask::Acquire | Ask::Release | Ask::Renew | Ask::Wait => true,
        }
    }

    fn dialect(&self, connection: u32) -> Box<dyn Dialect> {
        Box::new(SlockConnection {
            connection,
            database: (connection % self.orgs.max(1)) as u8,
            asked: Vec::new(),
        })
    }
}

/// One connection; each of its slots is an owner.
#[derive(Debug)]
struct SlockConnection {
    connection: u32,
    database: u8,
    /// What each slot has asked last.
    asked: Vec<Ask>,
}

impl Dialect for SlockConnection {
    fn open(&mut self, conversation: &mut Conversation) -> Result<()> {
        let mut frame = frame(INIT, 0);
        let client = &mut frame[RESULT_AT..];
        client[..4].copy_from_slice(&self.connection.to_le_bytes());
        conversation.exchange(&frame, |bytes| {
            let Some(answer) = bytes.first_chunk::<FRAME>() else {
                return Ok(None);
            };
            check(answer)?;
            if (answer[2], answer[RESULT_AT]) != (INIT, SUCCEEDED) {
                bail!(
                    "the server answered the introduction with {}",
                    answer[RESULT_AT]
                );
            }
            Ok(Some(((), FRAME)))
        })
    }

    fn ask(&mut self, slot: u32, ask: Ask, path: &Path, out: &mut Vec<u8>) {
        let (command, flag, wait) = match ask {
            Ask::Acquire => (LOCK, 0, 0),
            Ask::Release => (UNLOCK, 0, 0),
            Ask::Renew => (LOCK, UPDATE_WHEN_LOCKED, 0),
            Ask::Wait => (LOCK, 0, TERM),
        };
        let mut frame = frame(command, slot);
        frame[FLAG_AT] = flag;
        frame[DATABASE_AT] = self.database;
        frame[OWNER_AT..][..4].copy_from_slice(&self.connection.to_le_bytes());
        frame[OWNER_AT + 4..][..4].copy_from_slice(&slot.to_le_bytes());
        let text = path.as_bytes();
        frame[KEY_AT..][..KEY].copy_from_slice(&text[text.len() - KEY..]);
        frame[WAIT_AT..][..2].copy_from_slice(&wait.to_le_bytes());
        frame[TERM_AT..][..2].copy_from_slice(&TERM.to_le_bytes());
        out.extend_from_slice(&frame);
        if self.asked.len() <= slot as usize {
            self.asked.resize(slot as usize + 1, ask);
        }
        self.asked[slot as usize] = ask;
    }

    fn answers(&mut self, bytes: &[u8], answers: &mut Vec<Answer>) -> Result<usize> {
        let (frames, _) = bytes.as_chunks::<FRAME>();
        for frame in frames {
            check(frame)?;
            let slot = frame[REQUEST_AT..].first_chunk();
            let slot = u32::from_le_bytes(*slot.expect("a frame is longer"));
            let asked = self.asked.get(slot as usize);
            let asked = asked.context("the server has answered what nobody asked")?;
            let outcome = outcome(*asked, frame[RESULT_AT])?;
            answers.push(Answer { slot, outcome });
        }
        Ok(frames.len() * FRAME)
    }
}

/// A frame with what stands in all of them. The request is named by its slot.
fn frame(command: u8, slot: u32) -> [u8; FRAME] {
    let mut frame = [0; FRAME];
    frame[..REQUEST_AT].copy_from_slice(&[MAGIC, VERSION, command]);
    frame[REQUEST_AT..][..4].copy_from_slice(&slot.to_le_bytes());
    frame
}

fn check(frame: &[u8; FRAME]) -> Result<()> {
    if frame[..2] != [MAGIC, VERSION] {
        bail!("expected a frame of slock, found {:?}", &frame[..2]);
    }
    Ok(())
}

fn outcome(asked: Ask, result: u8) -> Result<Outcome> {
    let is_renewal = asked == Ask::Renew;
    match result {
        SUCCEEDED if is_renewal => bail!("a renewal has taken a lock that was free"),
        SUCCEEDED => Ok(Outcome::Done),
        HELD_BY_ASKER if is_renewal => Ok(Outcome::Done),
        HELD_BY_ASKER | NOT_LOCKED | NOT_THE_HOLDERS | TIMED_OUT => Ok(Outcome::Refused),
        other => bail!("the server answered with result {other}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn connection() -> SlockConnection {
        SlockConnection {
            connection: 0x0102,
            database: 3,
            asked: Vec::new(),
        }
    }

    /// Written down from the layout of its document.
    #[test]
    fn a_lock_command_has_its_bytes() {
        let mut out = Vec::new();
        connection().ask(7, Ask::Wait, &Path::at(1), &mut out);
        let mut expected = vec![0x56, 1, 1];
        expected.extend([7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        expected.extend([0, 3]);
        expected.extend([2, 1, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        expected.extend(&Path::at(1).as_bytes()[8..]);
        expected.extend([0x2c, 1, 0, 0, 0x2c, 1, 0, 0]);
        expected.extend([0, 0, 0]);
        assert_eq!(out, expected);
    }

    #[test]
    fn only_a_renewal_of_what_is_held_counts() {
        let mut connection = connection();
        let (mut out, mut answers) = (Vec::new(), Vec::new());
        for (slot, ask) in [(0, Ask::Acquire), (1, Ask::Renew), (2, Ask::Release)] {
            connection.ask(slot, ask, &Path::at(1), &mut out);
        }
        let answer = |slot, result| {
            let mut frame = frame(LOCK, slot);
            frame[RESULT_AT] = result;
            frame
        };
        let bytes = [answer(1, 5), answer(0, 8), answer(2, 0)].concat();
        assert_eq!(connection.answers(&bytes, &mut answers).unwrap(), 3 * FRAME);
        let expected = [
            (1, Outcome::Done),
            (0, Outcome::Refused),
            (2, Outcome::Done),
        ];
        assert_eq!(
            answers,
            expected.map(|(slot, outcome)| Answer { slot, outcome })
        );
        assert!(connection.answers(&answer(1, 0), &mut answers).is_err());
    }
}
