//! Why the store does not do what it was asked: the answer is no, or the database has failed.
//!
//! A refusal leaves nothing behind. What must not be known to exist is `NotFound`, whatever the reason. Texts hold no
//! message and no secret.

use thiserror::Error as ThisError;

use super::types::Message;

/// What the store answers with.
pub type Result<T> = std::result::Result<T, Error>;

/// Why not.
#[derive(Debug, ThisError)]
pub enum Error {
    /// There is none, or the asker must not know that there is.
    #[error("there is no such {0}")]
    NotFound(Thing),
    /// Known, and not the asker's to do.
    #[error("expected {expected}, found someone else")]
    Forbidden {
        /// Who may do it.
        expected: &'static str,
    },
    /// What came in is outside of its bounds.
    #[error("{field}: expected {expected}, found {found}")]
    Invalid {
        /// Which part of it, as the caller calls it.
        field: &'static str,
        /// What it has to be.
        expected: String,
        /// What it was; never the text itself.
        found: String,
    },
    /// The sender has used this `client_msg_id` for another message.
    #[error("this client_msg_id was used for another message")]
    Mismatch,
    /// There are newer messages than the sender has seen.
    #[error("expected no message after the one last seen, found up to {last_seq}")]
    StaleView {
        /// The chat's last message.
        last_seq: i64,
        /// What the sender has not seen, oldest first: the first 50.
        missed: Vec<Message>,
    },
    /// The lock has changed hands since.
    #[error("expected lock token {current} or a higher one, found an old one")]
    StaleToken {
        /// The highest that the chat has seen.
        current: i64,
    },
    /// The message is a tombstone, or lies in the archive, and cannot be edited.
    #[error("expected a message that can be edited, found one that is {0}")]
    Final(&'static str),
    /// The database cannot be used as it is; an operator has to do something.
    #[error("{0}")]
    Unusable(String),
    /// The database has failed, or does not answer.
    #[error("the database has failed: {0}")]
    Database(#[from] sqlx::Error),
}

impl Error {
    /// What an operator reads who has named a database that cannot be opened.
    #[must_use]
    pub fn of_the_setting(self) -> anyhow::Error {
        let is_away = matches!(self, Self::Database(_));
        anyhow::Error::new(self).context(if is_away {
            "--database: it cannot be opened; does the server run, and are address, name and password right? with SQLite, \
             is the folder there, and may it be written to?"
        } else {
            "--database"
        })
    }
}

/// What was not found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Thing {
    /// A chat.
    Chat,
    /// A message.
    Message,
    /// Somebody in a chat.
    Participant,
}

impl std::fmt::Display for Thing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Chat => "chat",
            Self::Message => "message",
            Self::Participant => "participant",
        })
    }
}

impl Error {
    /// Whether the same again may go well: the database was busy, away, or cut us off.
    #[must_use]
    pub fn is_temporary(&self) -> bool {
        matches!(self, Self::Database(_))
    }
}
