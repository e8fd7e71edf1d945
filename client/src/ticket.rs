//! The ticket of a session: its number and the secret that lets it be resumed.
//!
//! Rule: the secret leaves by [`SessionTicket::encode`] and by nothing else.

use std::fmt;

use tenure_protocol::{ResumeKey, limits};

use crate::error::{Error, ErrorKind, Result};

/// What lets a session be taken over by another client: keep it where only its owner's services read.
///
/// It is written as text by [`encode`](Self::encode), and is not shown in debug output.
#[derive(Clone, PartialEq, Eq)]
pub struct SessionTicket {
    org: String,
    number: u64,
    key: ResumeKey,
}

impl SessionTicket {
    pub(crate) const fn new(org: String, number: u64, key: ResumeKey) -> Self {
        Self { org, number, key }
    }

    /// The session's organisation.
    #[must_use]
    pub fn org(&self) -> &str {
        &self.org
    }

    /// The session's number, as in the server's logs and in [`Target::Session`](crate::Target::Session).
    #[must_use]
    pub const fn number(&self) -> u64 {
        self.number
    }

    pub(crate) const fn key(&self) -> ResumeKey {
        self.key
    }

    /// As text of ASCII letters, digits and `.`, `_`, `-`, `:`. It holds the secret.
    #[must_use]
    pub fn encode(&self) -> String {
        use fmt::Write;
        let mut text = format!("{}:{}:", self.number, self.org);
        for byte in self.key.0 {
            write!(text, "{byte:02x}").expect("a string takes everything");
        }
        text
    }

    /// From the text that [`encode`](Self::encode) gives.
    ///
    /// # Errors
    /// [`BadRequest`](crate::ErrorKind::BadRequest) when it is none.
    pub fn decode(text: &str) -> Result<Self> {
        let read = || {
            let (number, rest) = text.split_once(':')?;
            let (org, hex) = rest.split_once(':')?;
            let digits = hex.as_bytes();
            let mut key = [0; limits::RESUME_KEY_BYTES];
            if digits.len() != 2 * key.len() || !hex.is_ascii() {
                return None;
            }
            for (byte, digits) in key.iter_mut().zip(hex.as_bytes().chunks_exact(2)) {
                let digits = std::str::from_utf8(digits).ok()?;
                *byte = u8::from_str_radix(digits, 16).ok()?;
            }
            Some(Self::new(
                org.to_owned(),
                number.parse().ok()?,
                ResumeKey(key),
            ))
        };
        read().ok_or_else(|| {
            Error::new(
                ErrorKind::BadRequest,
                "expected the ticket of a session, found something else",
            )
        })
    }
}

impl fmt::Debug for SessionTicket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionTicket")
            .field("org", &self.org)
            .field("number", &self.number)
            .finish_non_exhaustive()
    }
}
