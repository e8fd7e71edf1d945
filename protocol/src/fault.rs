//! What is wrong with bytes or with a value: where, what was expected, what was found.
//!
//! A text of a fault is shown to whoever sent the bytes and may be logged: it never holds a payload or a secret.
//! Rule: when operation and id of a request could be read, its fault is the request's alone, and the connection lives.

use std::borrow::Cow;
use std::fmt;

use bytes::BytesMut;

use crate::{ErrorCode, reply};

/// One thing that is wrong with a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// [`ErrorCode::BadMessage`] for a wrong type or shape, [`ErrorCode::BadValue`] for what is out of bounds.
    pub code: ErrorCode,
    /// The field, with the fields around it: `items.path`. Empty when it is the message itself.
    pub field: String,
    /// What should have been there.
    pub expected: Cow<'static, str>,
    /// What was there.
    pub found: Cow<'static, str>,
}

impl Fault {
    /// The message has another shape than it should.
    pub(crate) fn shape(
        expected: impl Into<Cow<'static, str>>,
        found: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self {
            code: ErrorCode::BadMessage,
            field: String::new(),
            expected: expected.into(),
            found: found.into(),
        }
    }

    /// A value is well formed but not allowed.
    pub(crate) fn value(
        expected: impl Into<Cow<'static, str>>,
        found: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self {
            code: ErrorCode::BadValue,
            ..Self::shape(expected, found)
        }
    }

    /// The same fault, as seen from the message that has the field.
    pub(crate) fn within(mut self, field: &str) -> Self {
        if self.field.is_empty() {
            field.clone_into(&mut self.field);
        } else {
            self.field.insert(0, '.');
            self.field.insert_str(0, field);
        }
        self
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.field.is_empty() {
            write!(f, "{}: ", self.field)?;
        }
        write!(f, "expected {}, found {}", self.expected, self.found)
    }
}

impl std::error::Error for Fault {}

/// Why a frame is not a message, and whom that concerns.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{fault}")]
pub struct DecodeError {
    /// Number of the operation, if it could be read.
    pub op: Option<u64>,
    /// The request's id, if it could be read. Then only this request fails: it is answered with an error, and the
    /// connection lives. Without it the other side cannot be answered, and the connection has to end.
    pub id: Option<u64>,
    /// What is wrong.
    pub fault: Fault,
}

impl DecodeError {
    /// What the other side is told.
    #[must_use]
    pub const fn code(&self) -> ErrorCode {
        self.fault.code
    }

    /// Whether the connection has to end, since there is no request that the error could answer.
    #[must_use]
    pub const fn fails_connection(&self) -> bool {
        self.id.is_none()
    }

    /// Appends the error reply to `out`; id 0 when there is no request to answer. Gives the length of the frame.
    pub fn encode_reply(&self, out: &mut BytesMut) -> usize {
        let field = self.fault.field.as_str();
        reply::Error {
            code: self.code().into(),
            message: &self.fault.to_string(),
            field: (!field.is_empty()).then_some(field),
        }
        .encode(self.id.unwrap_or(0), out)
    }
}
