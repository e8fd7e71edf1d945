//! Who a connection speaks for: API keys, and the principals behind them.
//!
//! Owns the keys' fingerprints; the keys themselves are forgotten once the configuration is dropped. Knows neither
//! sockets nor commands: a caller authenticates once, keeps the [`Principal`] and asks it about every org and role.
//!
//! Rule: the time a comparison takes tells nothing about any key, its length included. What is given is reduced to an
//! HMAC under a secret of this process, and compared with every fingerprint, without stopping at a match.
//!
//! A TLS client certificate only decides who may connect (`tls.rs`); it names no principal.

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::{constant_time, hmac, rand};
use tenure_engine::Role;
use tenure_protocol::limits;

/// Fewest bytes of a key. Sixteen random ones cannot be guessed.
pub const KEY_BYTES_MIN: usize = 16;

/// The keys that a server takes.
pub struct Access {
    /// `None` lets everyone in.
    keys: Option<Vec<Fingerprint>>,
    mac: hmac::Key,
}

/// What is kept of a key, and whose it is.
struct Fingerprint {
    tag: hmac::Tag,
    principal: Arc<Principal>,
}

/// On whose behalf a connection speaks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Principal {
    /// Names it in the log and the audit trail.
    pub name: Arc<str>,
    /// How much its sessions may do at most.
    pub role: Role,
    /// Which orgs it may speak for.
    pub orgs: Vec<OrgPattern>,
}

/// One key as it is configured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiKey {
    /// What a client sends.
    pub secret: Secret,
    /// Whom it stands for.
    pub principal: Principal,
}

/// Which orgs are meant: one, all that begin alike, or all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OrgPattern {
    /// `acme`: the org of this name.
    Exactly(Box<str>),
    /// `acme-*`: every org whose name begins so; `*`, with nothing before it, is every org.
    Beginning(Box<str>),
}

/// A text that no log, error or debug output shows.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Access {
    /// Takes these keys, or everyone, as an admin of every org, when there are none.
    #[must_use]
    pub fn new(keys: &[ApiKey]) -> Self {
        let mut seed = [0_u8; 32];
        rand::fill(&mut seed).expect("the operating system gives random bytes");
        let mac = hmac::Key::new(hmac::HMAC_SHA256, &seed);
        let fingerprints = keys
            .iter()
            .map(|key| Fingerprint {
                tag: hmac::sign(&mac, key.secret.expose().as_bytes()),
                principal: Arc::new(key.principal.clone()),
            })
            .collect::<Vec<_>>();
        Self {
            keys: (!keys.is_empty()).then_some(fingerprints),
            mac,
        }
    }

    /// Whether everyone is let in.
    #[must_use]
    pub const fn is_open(&self) -> bool {
        self.keys.is_none()
    }

    /// Whom the key stands for; `None` when it is none of ours. Open access takes any key, and none.
    #[must_use]
    pub fn authenticate(&self, key: Option<&str>) -> Option<Arc<Principal>> {
        let Some(fingerprints) = &self.keys else {
            return Some(Arc::new(Principal::anyone()));
        };
        let tag = hmac::sign(&self.mac, key?.as_bytes());
        let mut found = None;
        for fingerprint in fingerprints {
            let equal =
                constant_time::verify_slices_are_equal(fingerprint.tag.as_ref(), tag.as_ref());
            if equal.is_ok() {
                found = Some(Arc::clone(&fingerprint.principal));
            }
        }
        found
    }
}

impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key_count = self.keys.as_ref().map(Vec::len);
        f.debug_struct("Access")
            .field("key_count", &key_count)
            .finish_non_exhaustive()
    }
}

impl Principal {
    /// Everyone, where no key is configured.
    #[must_use]
    pub fn anyone() -> Self {
        Self {
            name: Arc::from("anyone"),
            role: Role::Admin,
            orgs: vec![OrgPattern::Beginning(Box::from(""))],
        }
    }

    /// Whether it may speak for this org.
    #[must_use]
    pub fn may_speak_for(&self, org: &str) -> bool {
        self.orgs.iter().any(|pattern| pattern.matches(org))
    }

    /// Whether it may do what needs `role`.
    #[must_use]
    pub fn may_act_as(&self, role: Role) -> bool {
        role <= self.role
    }
}

impl OrgPattern {
    /// Reads `acme`, `acme-*` or `*`.
    ///
    /// # Errors
    ///
    /// An empty pattern, and one that no org could match; the text says what is expected.
    pub fn parse(pattern: &str) -> Result<Self, String> {
        let (begin, is_open) = pattern
            .strip_suffix('*')
            .map_or((pattern, false), |begin| (begin, true));
        if begin.contains('*') {
            return Err(String::from("a star at the end alone, as in `acme-*`"));
        }
        let is_all = is_open && begin.is_empty();
        if !is_all && limits::ORG.breach(begin).is_some() {
            let name = limits::ORG;
            return Err(format!(
                "{name}, with a star after it or not, or `*` for every org"
            ));
        }
        let begin = Box::from(begin);
        Ok(if is_open {
            Self::Beginning(begin)
        } else {
            Self::Exactly(begin)
        })
    }

    /// Whether the org is meant.
    #[must_use]
    pub fn matches(&self, org: &str) -> bool {
        match self {
            Self::Exactly(name) => **name == *org,
            Self::Beginning(begin) => org.starts_with(&**begin),
        }
    }
}

impl Secret {
    /// Hides a text.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// Shows it. Whoever calls this keeps it out of logs and errors.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(secret: &str, name: &str, role: Role, orgs: &[&str]) -> ApiKey {
        let orgs = orgs
            .iter()
            .map(|org| OrgPattern::parse(org).unwrap())
            .collect();
        let principal = Principal {
            name: Arc::from(name),
            role,
            orgs,
        };
        ApiKey {
            secret: Secret::new(secret),
            principal,
        }
    }

    #[test]
    fn a_key_stands_for_its_principal_and_no_other_text_does() {
        let access = Access::new(&[
            key("first-key-of-the-desk", "desk", Role::Member, &["acme"]),
            key("second-key-of-the-ops", "ops", Role::Admin, &["*"]),
        ]);
        assert!(!access.is_open());
        assert_eq!(
            &*access
                .authenticate(Some("first-key-of-the-desk"))
                .unwrap()
                .name,
            "desk"
        );
        assert_eq!(
            access
                .authenticate(Some("second-key-of-the-ops"))
                .unwrap()
                .role,
            Role::Admin
        );
        for wrong in [
            "",
            "first-key-of-the-des",
            "first-key-of-the-desk ",
            "FIRST-KEY-OF-THE-DESK",
        ] {
            assert_eq!(access.authenticate(Some(wrong)), None, "{wrong:?}");
        }
        assert_eq!(access.authenticate(None), None);
    }

    #[test]
    fn without_keys_anyone_is_an_admin_of_every_org() {
        let access = Access::new(&[]);
        assert!(access.is_open());
        for key in [None, Some(""), Some("whatever")] {
            let principal = access.authenticate(key).unwrap();
            assert!(principal.may_speak_for("acme") && principal.may_act_as(Role::Admin));
        }
    }

    #[test]
    fn a_pattern_means_one_org_or_those_that_begin_alike_or_all() {
        let meant = |pattern: &str, org: &str| OrgPattern::parse(pattern).unwrap().matches(org);
        assert!(meant("acme", "acme"));
        assert!(!meant("acme", "acme-eu"));
        assert!(!meant("acme", "Acme"));
        assert!(meant("acme-*", "acme-eu"));
        assert!(meant("acme-*", "acme-"));
        assert!(!meant("acme-*", "acme"));
        assert!(meant("*", "acme"));
    }

    #[test]
    fn a_pattern_without_meaning_is_refused() {
        for pattern in ["", "*acme", "a*e", "**", "ac me", "acme/*"] {
            assert!(OrgPattern::parse(pattern).is_err(), "{pattern:?}");
        }
    }

    #[test]
    fn a_principal_speaks_for_its_orgs_and_acts_up_to_its_role() {
        let principal = key(
            "0123456789abcdef",
            "desk",
            Role::Moderator,
            &["acme", "test-*"],
        )
        .principal;
        assert!(principal.may_speak_for("acme") && principal.may_speak_for("test-7"));
        assert!(!principal.may_speak_for("globex"));
        assert!(principal.may_act_as(Role::Member) && principal.may_act_as(Role::Moderator));
        assert!(!principal.may_act_as(Role::Admin));
    }

    #[test]
    fn debug_output_shows_no_key() {
        let keys = [key(
            "do-not-print-me-anywhere",
            "desk",
            Role::Member,
            &["*"],
        )];
        let shown = format!("{keys:?} {:?}", Access::new(&keys));
        assert!(!shown.contains("do-not-print"), "{shown}");
    }
}
