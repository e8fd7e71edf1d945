//! Why a call of the client did not do what was asked, sorted by what the caller can do about it.
//!
//! Knows neither sockets nor the ledger. Rule: a message names no secret and no payload.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use crate::types::{Loss, Refusal};

/// The result of most calls.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong, by what can be done about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// There is no connection, and the request has had no effect. The client is connecting again by itself.
    Disconnected,
    /// The request was written, and the connection ended before the answer: it may or may not have been carried out.
    ///
    /// Acquires, releases and conversions are settled from what the server says after the reconnect and end in another
    /// way; this is left for what leaves no trace in a session, such as a change of policy.
    UnknownOutcome,
    /// No answer came within the request timeout. An acquire that times out is taken back.
    TimedOut,
    /// The lock is held by somebody else, or the wait for it is over. See [`Error::refusal`].
    Refused,
    /// The guard's hold is over, or the owner does not hold the path. See [`Error::loss`].
    NotHeld,
    /// The session is over: closed, not resumed in time, or moved to another connection.
    SessionEnded,
    /// The server cannot do it at the moment, or a limit has been reached: the same may be sent again later.
    Unavailable,
    /// What was asked is wrong, and will be wrong again.
    BadRequest,
    /// The credentials, the role or the organisation do not allow it.
    NotAllowed,
    /// The server has failed; its operator should know.
    Server,
    /// The other side does not speak the protocol.
    Protocol,
    /// The first connection could not be made. [`source`](std::error::Error::source) is the [`io::Error`](std::io::Error)
    /// of the socket: what the system said, `TimedOut` when no answer came in time, `ConnectionAborted` when the other
    /// side ended it without a word.
    Connect,
    /// This client has been closed, or has given up connecting because the server said that it is no use.
    Closed,
}

impl ErrorKind {
    const fn describe(self) -> &'static str {
        match self {
            Self::Disconnected => "not connected to the lock server",
            Self::UnknownOutcome => {
                "the connection ended before the answer, the outcome is unknown"
            }
            Self::TimedOut => "the lock server did not answer in time",
            Self::Refused => "the lock is held",
            Self::NotHeld => "the lock is not held",
            Self::SessionEnded => "the session is over",
            Self::Unavailable => "the lock server cannot do this at the moment",
            Self::BadRequest => "the request is wrong",
            Self::NotAllowed => "not allowed",
            Self::Server => "the lock server has failed",
            Self::Protocol => "the other side does not speak the protocol",
            Self::Connect => "could not connect to the lock server",
            Self::Closed => "the client is closed",
        }
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.describe())
    }
}

/// What a call of the client failed with. Cheap to clone.
#[derive(Clone)]
pub struct Error(Arc<Repr>);

#[derive(Clone)]
struct Repr {
    kind: ErrorKind,
    message: Cow<'static, str>,
    code: Option<u16>,
    field: Option<String>,
    refusals: Vec<Refusal>,
    loss: Option<Loss>,
    source: Option<Arc<dyn std::error::Error + Send + Sync>>,
}

impl Error {
    /// What went wrong, by what can be done about it.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// Whether the same call may succeed later, and does no harm if it is made again.
    ///
    /// False for [`ErrorKind::Refused`] too: that is an answer, not a failure.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        matches!(
            self.0.kind,
            ErrorKind::Disconnected
                | ErrorKind::UnknownOutcome
                | ErrorKind::TimedOut
                | ErrorKind::Unavailable
                | ErrorKind::Connect
        )
    }

    /// The number of the server's error code, if the server answered with one. The table is in `docs/protocol.md`.
    #[must_use]
    pub fn code(&self) -> Option<u16> {
        self.0.code
    }

    /// The name of the server's error code, if it is known to this client.
    #[must_use]
    pub fn code_name(&self) -> Option<&'static str> {
        let code = tenure_protocol::ErrorCode::ALL
            .iter()
            .find(|code| Some(code.number()) == self.0.code)?;
        Some(code.name())
    }

    /// The field of the request that is wrong, if the server or the client's own look at it named one.
    #[must_use]
    pub fn field(&self) -> Option<&str> {
        self.0.field.as_deref()
    }

    /// Who holds the lock, for [`ErrorKind::Refused`]; of several paths the first that stands in the way.
    #[must_use]
    pub fn refusal(&self) -> Option<&Refusal> {
        self.0.refusals.first()
    }

    /// All paths that stand in the way, for [`ErrorKind::Refused`].
    #[must_use]
    pub fn refusals(&self) -> &[Refusal] {
        &self.0.refusals
    }

    /// How the hold was lost, for [`ErrorKind::NotHeld`], if that is known.
    #[must_use]
    pub fn loss(&self) -> Option<&Loss> {
        self.0.loss.as_ref()
    }

    pub(crate) fn new(kind: ErrorKind, message: impl Into<Cow<'static, str>>) -> Self {
        Self(Arc::new(Repr {
            kind,
            message: message.into(),
            code: None,
            field: None,
            refusals: Vec::new(),
            loss: None,
            source: None,
        }))
    }

    pub(crate) fn refused(refusals: Vec<Refusal>) -> Self {
        let message = refusals
            .first()
            .map_or(Cow::Borrowed(""), |first| Cow::Owned(first.to_string()));
        Self::new(ErrorKind::Refused, message).with(|repr| repr.refusals = refusals)
    }

    pub(crate) fn not_held(loss: Option<Loss>) -> Self {
        let message = loss
            .as_ref()
            .map_or(Cow::Borrowed(""), |loss| Cow::Owned(loss.to_string()));
        Self::new(ErrorKind::NotHeld, message).with(|repr| repr.loss = loss)
    }

    pub(crate) fn with_code(self, code: u16) -> Self {
        self.with(|repr| repr.code = Some(code))
    }

    pub(crate) fn with_field(self, field: Option<&str>) -> Self {
        self.with(|repr| repr.field = field.map(str::to_owned))
    }

    pub(crate) fn with_source(
        self,
        source: impl std::error::Error + Send + Sync + 'static,
    ) -> Self {
        self.with(|repr| repr.source = Some(Arc::new(source)))
    }

    /// The same cause, seen by another audience.
    pub(crate) fn of_kind(&self, kind: ErrorKind) -> Self {
        self.clone().with(|repr| repr.kind = kind)
    }

    fn with(mut self, change: impl FnOnce(&mut Repr)) -> Self {
        change(Arc::make_mut(&mut self.0));
        self
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let repr = &*self.0;
        let mut debug = f.debug_struct("Error");
        debug.field("kind", &repr.kind);
        if !repr.message.is_empty() {
            debug.field("message", &repr.message);
        }
        if let Some(code) = repr.code {
            debug.field("code", &code);
        }
        if let Some(field) = &repr.field {
            debug.field("field", field);
        }
        if let Some(source) = &repr.source {
            debug.field("source", source);
        }
        debug.finish_non_exhaustive()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let repr = &*self.0;
        write!(f, "{}", repr.kind)?;
        if !repr.message.is_empty() {
            write!(f, ": {}", repr.message)?;
        }
        if let Some(name) = self.code_name() {
            write!(f, " ({name})")?;
        }
        Ok(())
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        let source = self.0.source.as_deref()?;
        Some(source)
    }
}
