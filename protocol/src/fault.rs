//! What is wrong with bytes or with a value: where, what was expected, what was found.
//!
//! A text of a fault is shown to whoever sent the bytes and may be logged: it never holds a payload or a secret.
//! Rule: when operation and id of a request could be read, its fault is the request's alone, and the connection lives.

use std::borrow::Cow;
use std::fmt;

use bytes::BytesMut;

use crate::{ErrorCode, reply};

/// One thing that is wrong with a message.
///
/// It is a pointer: every value that is read passes a `Result` with it upwards, and nearly all of them are well.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault(Box<Parts>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Parts {
    code: ErrorCode,
    field: String,
    expected: Cow<'static, str>,
    found: Cow<'static, str>,
}

impl Fault {
    /// The bytes have another shape than they should.
    #[cold]
    pub(crate) fn shape(
        expected: impl Into<Cow<'static, str>>,
        found: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self::new(ErrorCode::BadMessage, expected.into(), found.into())
    }

    /// A value is well formed but not allowed.
    #[cold]
    pub(crate) fn value(
        expected: impl Into<Cow<'static, str>>,
        found: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self::new(ErrorCode::BadValue, expected.into(), found.into())
    }

    /// There is no operation with this number.
    #[cold]
    pub(crate) fn operation(op: u64) -> Self {
        let expected = Cow::Borrowed("the number of a command");
        Self::new(
            ErrorCode::UnknownCommand,
            expected,
            Cow::Owned(op.to_string()),
        )
    }

    fn new(code: ErrorCode, expected: Cow<'static, str>, found: Cow<'static, str>) -> Self {
        Self(Box::new(Parts {
            code,
            field: String::new(),
            expected,
            found,
        }))
    }

    /// The same fault, as seen from the message that has the field.
    #[cold]
    pub(crate) fn within(mut self, field: &str) -> Self {
        let inner = &mut self.0.field;
        if !inner.is_empty() {
            inner.insert(0, '.');
        }
        inner.insert_str(0, field);
        self
    }

    /// The same fault, with what could be read of the message that has it.
    #[cold]
    pub(crate) const fn of_message(self, op: Option<u64>, id: Option<u64>) -> DecodeError {
        DecodeError {
            op,
            id,
            fault: self,
        }
    }

    /// [`ErrorCode::BadMessage`] for a wrong type or shape, [`ErrorCode::BadValue`] for what is out of bounds,
    /// [`ErrorCode::UnknownCommand`] for an operation that does not exist.
    #[must_use]
    pub const fn code(&self) -> ErrorCode {
        self.0.code
    }

    /// The field, with the fields around it: `items.path`. None when it is the message itself.
    #[must_use]
    pub fn field(&self) -> Option<&str> {
        Some(self.0.field.as_str()).filter(|field| !field.is_empty())
    }

    /// What should have been there.
    #[must_use]
    pub fn expected(&self) -> &str {
        &self.0.expected
    }

    /// What was there.
    #[must_use]
    pub fn found(&self) -> &str {
        &self.0.found
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(field) = self.field() {
            write!(f, "{field}: ")?;
        }
        write!(f, "expected {}, found {}", self.0.expected, self.0.found)
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
        self.fault.code()
    }

    /// Whether the connection has to end, since there is no request that the error could answer.
    #[must_use]
    pub const fn fails_connection(&self) -> bool {
        self.id.is_none()
    }

    /// Appends the error reply to `out`; id 0 when there is no request to answer. Gives the length of the frame.
    pub fn encode_reply(&self, out: &mut BytesMut) -> usize {
        reply::Error {
            code: self.code().into(),
            message: &self.fault.to_string(),
            field: self.fault.field(),
        }
        .encode(self.id.unwrap_or(0), out)
    }
}
