//! Who asks: a person of an organisation, as a token says.
//!
//! Knows neither HTTP nor the database. Rules: only the algorithm that was configured is taken, a token without `exp`, `sub`
//! or `org` is none, and what a token says is looked at as closely as anything that comes from outside.

mod development;
mod tokens;

use std::time::{Duration, SystemTime};

use crate::store::{Actor, Role};

pub use development::{development_key, random_hex};
pub use tokens::{Issuer, Rejected, Verifier};

/// Bytes of the longest id of an organisation.
pub const ORG_BYTES_MAX: usize = 64;

/// Bytes of the longest id of a person.
pub const ID_BYTES_MAX: usize = 128;

/// Bytes of the longest name of a person.
pub const NAME_BYTES_MAX: usize = 256;

/// Who asks, for as long as their token lives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Person {
    /// The organisation: nothing of another one is seen.
    pub org: String,
    /// The person, unique in the organisation.
    pub id: String,
    /// How people call them; may be empty.
    pub name: String,
    /// How much they may do.
    pub role: Role,
    /// When the token ends, in seconds since 1970.
    pub expires: u64,
}

impl Person {
    /// The same, as the store knows people.
    #[must_use]
    pub fn actor(&self) -> Actor {
        Actor {
            org: self.org.clone(),
            id: self.id.clone(),
            name: self.name.clone(),
            role: self.role,
        }
    }

    /// How others see them: the name, or the id if there is none.
    #[must_use]
    pub fn display_name(&self) -> &str {
        if self.name.is_empty() {
            &self.id
        } else {
            &self.name
        }
    }

    /// For how long still the token is good.
    #[must_use]
    pub fn remaining(&self) -> Duration {
        Duration::from_secs(self.expires).saturating_sub(since_1970())
    }
}

/// The wall clock, which tokens are measured by.
pub(crate) fn since_1970() -> Duration {
    SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default()
}

/// What is wrong with the id of a person: it has to be a segment of a path at the lock server.
pub(crate) fn fault_of_id(id: &str) -> Option<&'static str> {
    if id.is_empty() || id.len() > ID_BYTES_MAX {
        return Some("a length other than 1 to 128 bytes");
    }
    if id == "*" || id == "**" || id.contains('/') || id.chars().any(char::is_control) {
        return Some("`/`, a control character or a wildcard");
    }
    None
}

/// What is wrong with the id of an organisation, if something is.
#[must_use]
pub fn fault_of_org(org: &str) -> Option<&'static str> {
    let is_spelled = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
    if org.is_empty() || org.len() > ORG_BYTES_MAX {
        return Some("a length other than 1 to 64 bytes");
    }
    (!org.bytes().all(is_spelled)).then_some("something else than letters, digits, `.`, `_`, `-`")
}
