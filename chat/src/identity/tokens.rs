//! Tokens: JSON Web Tokens are looked at, and for development and tests made.
//!
//! Rules: the key and the algorithm belong together and come from the configuration, never from a token; the first use of
//! the keys is at the start, so that what cannot work is seen there and not with the first person.

use std::collections::HashSet;
use std::fmt;
use std::ops::RangeInclusive;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation, decode, encode};
use serde::{Deserialize, Serialize};

use super::{NAME_BYTES_MAX, Person, fault_of_id, fault_of_org, since_1970};
use crate::config::{JwtAlgorithm, TokenSettings, read};
use crate::store::Role;

/// A token longer than this is none of ours.
const TOKEN_BYTES_MAX: usize = 8192;

/// Bytes of the shortest secret for HS256: as many as the hash gives.
const SECRET_BYTES_MIN: usize = 32;

/// Two clocks may differ by as much.
const LEEWAY: Duration = Duration::from_secs(5);

/// What a token says. What else it says is not read.
#[derive(Debug, Serialize, Deserialize)]
struct Claims {
    sub: String,
    org: String,
    exp: u64,
    #[serde(default)]
    name: String,
    /// Absent is the least.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    role: Option<Role>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    aud: Option<serde_json::Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    iss: Option<String>,
}

/// Why a token was not taken, in words for whoever sent it. No secret is in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejected {
    /// Whether it was good once.
    pub expired: bool,
    /// What was expected, and what was found.
    pub detail: String,
}

impl Rejected {
    fn because(detail: impl Into<String>) -> Self {
        Self {
            expired: false,
            detail: detail.into(),
        }
    }
}

impl fmt::Display for Rejected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.detail)
    }
}

/// Looks at tokens.
pub struct Verifier {
    key: DecodingKey,
    validation: Validation,
}

impl Verifier {
    /// As the settings say; `development` is the secret that stands in for a key.
    ///
    /// # Errors
    /// The key cannot be read, is not of the algorithm, or is too short.
    pub fn new(settings: &TokenSettings, development: Option<&str>) -> anyhow::Result<Self> {
        let algorithm = match development {
            Some(_) => JwtAlgorithm::Hs256,
            None => settings.jwt_algorithm,
        };
        let mut validation = Validation::new(algorithm.of_the_standard());
        validation.required_spec_claims = HashSet::from(["exp".to_owned(), "sub".to_owned()]);
        validation.leeway = LEEWAY.as_secs();
        validation.validate_nbf = true;
        match &settings.jwt_audience {
            Some(audience) => {
                validation.set_audience(&[audience]);
                validation.required_spec_claims.insert("aud".to_owned());
            }
            None => validation.validate_aud = false,
        }
        if let Some(issuer) = &settings.jwt_issuer {
            validation.set_issuer(&[issuer]);
            validation.required_spec_claims.insert("iss".to_owned());
        }
        let key = match development {
            Some(secret) => secret_key(secret)?,
            None => configured_key(settings)?,
        };
        let verifier = Self { key, validation };
        verifier.try_out()?;
        Ok(verifier)
    }

    /// Whose token it is.
    ///
    /// # Errors
    /// It is none, is of another key or algorithm, is over, or says something that cannot be.
    pub fn person(&self, token: &str) -> Result<Person, Rejected> {
        if token.len() > TOKEN_BYTES_MAX {
            return Err(Rejected::because(format!(
                "expected a token of at most {TOKEN_BYTES_MAX} bytes, found {}",
                token.len()
            )));
        }
        let claims = decode::<Claims>(token, &self.key, &self.validation)
            .map_err(|error| rejection(error.kind()))?
            .claims;
        person(claims)
    }

    /// A token of no key at all has to fail for its signature: another failure shows that the key is of no use.
    fn try_out(&self) -> anyhow::Result<()> {
        // {"alg":…} . {} . nothing
        let header = serde_json::to_vec(&Header::new(self.algorithm()))?;
        let token = format!("{}.e30.AAAA", base64_url(&header));
        match decode::<serde_json::Value>(&token, &self.key, &self.validation) {
            Err(error) if matches!(error.kind(), ErrorKind::InvalidSignature) => Ok(()),
            Err(error) => Err(error).context(
                "--jwt-key-file: expected a key of the algorithm that --jwt-algorithm names",
            ),
            Ok(_) => anyhow::bail!("a token without a signature was taken"),
        }
    }

    fn algorithm(&self) -> Algorithm {
        self.validation
            .algorithms
            .first()
            .copied()
            .unwrap_or_default()
    }
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verifier")
            .field("algorithm", &self.algorithm())
            .finish_non_exhaustive()
    }
}

/// Makes tokens with a secret: for development, tests and trying out.
pub struct Issuer {
    key: EncodingKey,
    audience: Option<String>,
    issuer: Option<String>,
}

impl Issuer {
    /// One that makes what a [`Verifier`] of the same secret and settings takes.
    #[must_use]
    pub fn new(settings: &TokenSettings, secret: &str) -> Self {
        Self {
            key: EncodingKey::from_secret(secret.as_bytes()),
            audience: settings.jwt_audience.clone(),
            issuer: settings.jwt_issuer.clone(),
        }
    }

    /// A token for a person, good for so long from now on. `expires` of the person is not read.
    ///
    /// # Errors
    /// The signature could not be made.
    pub fn token(&self, person: &Person, lifetime: Duration) -> anyhow::Result<String> {
        let claims = Claims {
            sub: person.id.clone(),
            org: person.org.clone(),
            exp: since_1970().saturating_add(lifetime).as_secs(),
            name: person.name.clone(),
            role: Some(person.role),
            aud: self.audience.clone().map(serde_json::Value::String),
            iss: self.issuer.clone(),
        };
        encode(&Header::new(Algorithm::HS256), &claims, &self.key)
            .context("the token cannot be signed")
    }
}

impl fmt::Debug for Issuer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Issuer").finish_non_exhaustive()
    }
}

fn configured_key(settings: &TokenSettings) -> anyhow::Result<DecodingKey> {
    let file = settings
        .jwt_key_file
        .as_deref()
        .context("--jwt-key-file: expected a file, found none")?;
    let text = read(file, "--jwt-key-file")?;
    // Some of them are taken for a public one, by which no token is ever good.
    ensure!(
        settings.jwt_algorithm == JwtAlgorithm::Hs256 || !text.contains("PRIVATE KEY"),
        "--jwt-key-file: expected the public key in {}, found a private one; it belongs to whoever signs tokens, and \
         nowhere else",
        file.display()
    );
    let pem = text.as_bytes();
    let key = match settings.jwt_algorithm {
        JwtAlgorithm::Hs256 => {
            return secret_key(text.trim())
                .with_context(|| format!("--jwt-key-file {}", file.display()));
        }
        JwtAlgorithm::Rs256 => DecodingKey::from_rsa_pem(pem),
        JwtAlgorithm::Es256 => DecodingKey::from_ec_pem(pem),
        JwtAlgorithm::Eddsa => DecodingKey::from_ed_pem(pem),
    };
    let expected = || {
        format!(
            "--jwt-key-file: expected a public key of the algorithm as PEM in {}",
            file.display()
        )
    };
    let key = key.with_context(expected)?;
    let length = key.try_get_as_bytes().with_context(expected)?.len();
    ensure!(
        lengths(settings.jwt_algorithm).contains(&length),
        "{}, found one of another size: P-256 for ES256, at least 2048 bits for RS256",
        expected()
    );
    Ok(key)
}

/// Bytes of a public key. One of another size is read, and no token is ever good by it.
const fn lengths(algorithm: JwtAlgorithm) -> RangeInclusive<usize> {
    match algorithm {
        JwtAlgorithm::Hs256 => SECRET_BYTES_MIN..=usize::MAX,
        // A number of 2048 to 8192 bits, and a little around it.
        JwtAlgorithm::Rs256 => 2048 / 8..=8192 / 8 + 64,
        // A point of P-256, as it is.
        JwtAlgorithm::Es256 => 65..=65,
        JwtAlgorithm::Eddsa => 32..=32,
    }
}

fn secret_key(secret: &str) -> anyhow::Result<DecodingKey> {
    // A public key is no secret: whoever has it could sign for anybody.
    ensure!(
        !secret.contains("-----BEGIN "),
        "expected the secret itself for HS256, found a key as PEM; say by --jwt-algorithm which algorithm it is of, rs256, \
         es256 or eddsa"
    );
    ensure!(
        secret.len() >= SECRET_BYTES_MIN,
        "expected a secret of at least {SECRET_BYTES_MIN} bytes for HS256, found {}; make one with `openssl rand -hex 32`",
        secret.len()
    );
    Ok(DecodingKey::from_secret(secret.as_bytes()))
}

fn person(claims: Claims) -> Result<Person, Rejected> {
    if let Some(fault) = fault_of_id(&claims.sub) {
        return Err(Rejected::because(format!(
            "expected `sub` to be an id of a person, found {fault}"
        )));
    }
    if let Some(fault) = fault_of_org(&claims.org) {
        return Err(Rejected::because(format!(
            "expected `org` to be an id, found {fault}"
        )));
    }
    if claims.name.len() > NAME_BYTES_MAX || claims.name.chars().any(char::is_control) {
        return Err(Rejected::because(format!(
            "expected `name` to have at most {NAME_BYTES_MAX} bytes without control characters"
        )));
    }
    Ok(Person {
        org: claims.org,
        id: claims.sub,
        name: claims.name,
        role: claims.role.unwrap_or_default(),
        expires: claims.exp,
    })
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "however else it is wrong, it is no token"
)]
fn rejection(kind: &ErrorKind) -> Rejected {
    let detail = match kind {
        ErrorKind::ExpiredSignature => {
            return Rejected {
                expired: true,
                detail: "the token is over; get another one".to_owned(),
            };
        }
        ErrorKind::MissingRequiredClaim(claim) => format!("expected the token to say `{claim}`"),
        ErrorKind::InvalidAudience => "the token is for somebody else (`aud`)".to_owned(),
        ErrorKind::InvalidIssuer => "the token is from somebody else (`iss`)".to_owned(),
        ErrorKind::ImmatureSignature => "the token is not good yet (`nbf`)".to_owned(),
        ErrorKind::InvalidAlgorithm => {
            "the token is signed with another algorithm than is taken here".to_owned()
        }
        ErrorKind::InvalidSignature => {
            "the token is not signed with the key that is known here".to_owned()
        }
        ErrorKind::Json(error) => format!("expected `sub`, `org` and `exp` in the token: {error}"),
        _ => "expected a JSON Web Token, found something else".to_owned(),
    };
    Rejected::because(detail)
}

/// Without padding, as in tokens.
fn base64_url(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let word = chunk
            .iter()
            .fold(0_u32, |word, byte| word << 8 | u32::from(*byte))
            << (8 * (3 - chunk.len()));
        for letter in 0..=chunk.len() {
            text.push(char::from(
                LETTERS[(word >> (18 - 6 * letter) & 63) as usize],
            ));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "0123456789abcdef0123456789abcdef";

    fn settings() -> TokenSettings {
        TokenSettings {
            jwt_algorithm: JwtAlgorithm::Hs256,
            jwt_key_file: None,
            jwt_audience: None,
            jwt_issuer: None,
            development_key: "unused".into(),
        }
    }

    fn ada() -> Person {
        Person {
            org: "acme".into(),
            id: "ada".into(),
            name: "Ada".into(),
            role: Role::Moderator,
            expires: 0,
        }
    }

    #[test]
    fn whoever_signs_is_believed_until_the_token_ends() {
        let settings = settings();
        let issuer = Issuer::new(&settings, SECRET);
        let verifier = Verifier::new(&settings, Some(SECRET)).unwrap();
        let token = issuer.token(&ada(), Duration::from_secs(60)).unwrap();
        let person = verifier.person(&token).unwrap();
        assert_eq!((person.id.as_str(), person.role), ("ada", Role::Moderator));
        assert!((55..=60).contains(&person.remaining().as_secs()));

        let claims = Claims {
            sub: "ada".into(),
            org: "acme".into(),
            exp: since_1970().as_secs() - 60,
            name: String::new(),
            role: None,
            aud: None,
            iss: None,
        };
        let old = encode(&Header::new(Algorithm::HS256), &claims, &issuer.key).unwrap();
        assert!(verifier.person(&old).unwrap_err().expired);
    }

    #[test]
    fn whoever_does_not_sign_is_not() {
        let settings = settings();
        let verifier = Verifier::new(&settings, Some(SECRET)).unwrap();
        let other = Issuer::new(&settings, "another secret of thirty-two bytes");
        let token = other.token(&ada(), Duration::from_secs(60)).unwrap();
        assert!(verifier.person(&token).is_err());
        let payload = token.split('.').nth(1).unwrap();
        let none = base64_url(br#"{"alg":"none","typ":"JWT"}"#);
        for forged in [
            format!("{none}.{payload}."),
            format!("{none}.{payload}"),
            String::new(),
            "a.b.c".into(),
        ] {
            assert!(verifier.person(&forged).is_err(), "{forged}");
        }
        // The same secret, another algorithm.
        let claims =
            serde_json::json!({"sub": "ada", "org": "acme", "exp": since_1970().as_secs() + 60});
        let key = EncodingKey::from_secret(SECRET.as_bytes());
        let longer = encode(&Header::new(Algorithm::HS512), &claims, &key).unwrap();
        assert!(verifier.person(&longer).is_err());
    }

    #[test]
    fn a_token_says_who_and_until_when() {
        let verifier = Verifier::new(&settings(), Some(SECRET)).unwrap();
        let key = EncodingKey::from_secret(SECRET.as_bytes());
        let exp = since_1970().as_secs() + 60;
        for (claims, missing) in [
            (serde_json::json!({"org": "acme", "exp": exp}), "sub"),
            (serde_json::json!({"sub": "ada", "exp": exp}), "org"),
            (serde_json::json!({"sub": "ada", "org": "acme"}), "exp"),
            (
                serde_json::json!({"sub": "a/b", "org": "acme", "exp": exp}),
                "sub",
            ),
            (
                serde_json::json!({"sub": "ada", "org": "a b", "exp": exp}),
                "org",
            ),
        ] {
            let token = encode(&Header::new(Algorithm::HS256), &claims, &key).unwrap();
            let rejected = verifier.person(&token).unwrap_err();
            assert!(rejected.detail.contains(missing), "{missing}: {rejected}");
        }
        // Without a role the least is given.
        let claims = serde_json::json!({"sub": "ada", "org": "acme", "exp": exp});
        let token = encode(&Header::new(Algorithm::HS256), &claims, &key).unwrap();
        assert_eq!(verifier.person(&token).unwrap().role, Role::Member);
    }

    #[test]
    fn audience_and_issuer_are_looked_at_when_they_are_set() {
        let for_us = TokenSettings {
            jwt_audience: Some("chat".into()),
            jwt_issuer: Some("login".into()),
            ..settings()
        };
        let verifier = Verifier::new(&for_us, Some(SECRET)).unwrap();
        let token = Issuer::new(&for_us, SECRET)
            .token(&ada(), Duration::from_secs(60))
            .unwrap();
        verifier.person(&token).unwrap();
        let token = Issuer::new(&settings(), SECRET)
            .token(&ada(), Duration::from_secs(60))
            .unwrap();
        assert!(verifier.person(&token).is_err());
    }

    #[test]
    fn a_short_secret_is_refused_at_the_start() {
        assert!(Verifier::new(&settings(), Some("short")).is_err());
    }

    #[test]
    fn base64_is_as_in_the_standard() {
        for (bytes, text) in [
            ("", ""),
            ("f", "Zg"),
            ("fo", "Zm8"),
            ("foo", "Zm9v"),
            ("foobar", "Zm9vYmFy"),
        ] {
            assert_eq!(base64_url(bytes.as_bytes()), text);
        }
        assert_eq!(base64_url(&[0xfb, 0xff]), "-_8");
    }
}
