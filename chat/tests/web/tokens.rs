//! Tokens that others sign: with each algorithm that may be configured, by a key made for the test; and those that have to be
//! refused, whoever made them however.
//!
//! What is the same on both databases is shown on one.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use rcgen::{
    KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ED25519, PKCS_RSA_SHA256,
    RsaKeySize,
};
use serde_json::{Value, json};
use tenure_chat::config::Config;
use tenure_chat::service::Service;

use crate::support::{Person, Place, on_sqlite};

/// A key of the login's, and how it signs.
struct Login {
    algorithm: Algorithm,
    public: String,
    private: String,
    key: EncodingKey,
}

impl Login {
    fn new(name: &'static str) -> Self {
        let (algorithm, pair) = match name {
            "rs256" => {
                let pair = KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048);
                (Algorithm::RS256, pair)
            }
            "es256" => (
                Algorithm::ES256,
                KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256),
            ),
            _ => (Algorithm::EdDSA, KeyPair::generate_for(&PKCS_ED25519)),
        };
        let pair = pair.unwrap();
        let private = pair.serialize_pem();
        let read = match algorithm {
            Algorithm::RS256 => EncodingKey::from_rsa_pem,
            Algorithm::ES256 => EncodingKey::from_ec_pem,
            _ => EncodingKey::from_ed_pem,
        };
        Self {
            algorithm,
            public: pair.public_key_pem(),
            key: read(private.as_bytes()).unwrap(),
            private,
        }
    }

    fn sign(&self, claims: &Value) -> String {
        encode(&Header::new(self.algorithm), claims, &self.key).unwrap()
    }
}

const ALL: [&str; 3] = ["rs256", "es256", "eddsa"];

fn claims(expires_in: i64) -> Value {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let now = i64::try_from(now.unwrap().as_secs()).unwrap();
    json!({"sub": "ada", "org": "acme", "name": "Ada", "role": "moderator", "exp": now + expires_in})
}

fn file(place: &Place, name: &str, text: &str) -> PathBuf {
    let file = place.file(name);
    std::fs::write(&file, text).unwrap();
    file
}

/// What signs with a secret, as if what is public were one.
fn with_secret(algorithm: Algorithm, secret: &[u8]) -> String {
    let key = EncodingKey::from_secret(secret);
    encode(&Header::new(algorithm), &claims(60), &key).unwrap()
}

/// Without a signature.
fn unsigned(signed: &str) -> [String; 2] {
    let payload = signed.split('.').nth(1).unwrap();
    // {"alg":"none"}
    let header = "eyJhbGciOiJub25lIn0";
    [
        format!("{header}.{payload}."),
        format!("{header}.{payload}"),
    ]
}

#[test]
fn the_configured_algorithm_and_key_are_taken_and_no_others() {
    on_sqlite(async |place: Place| {
        for name in ALL {
            let login = Login::new(name);
            let key = file(&place, "login.pem", &login.public);
            let companion = place
                .companion(&[
                    "--jwt-algorithm",
                    name,
                    "--jwt-key-file",
                    &key.display().to_string(),
                ])
                .await;
            let with = |token: String| Person {
                token,
                ..companion.person("ada")
            };
            let good = login.sign(&claims(60));
            let me = with(good.clone()).get("/v1/me").await.expect(200);
            assert_eq!(
                (&me["person"], &me["role"]),
                (&json!("ada"), &json!("moderator")),
                "{me}"
            );
            let over = with(login.sign(&claims(-60))).get("/v1/me").await;
            over.refused(401, "token_expired");

            let mut forged = vec![
                // That of the development mode.
                companion.person("ada").token,
                with_secret(Algorithm::HS256, login.public.as_bytes()),
                with_secret(Algorithm::HS256, login.public.trim_end().as_bytes()),
                with_secret(Algorithm::HS512, login.public.as_bytes()),
                Login::new(name).sign(&claims(60)),
                // Good, but for one letter of what it says.
                good.replacen('.', ".e", 1),
            ];
            forged.extend(unsigned(&good));
            for other in ALL.into_iter().filter(|other| *other != name) {
                forged.push(Login::new(other).sign(&claims(60)));
            }
            for token in forged {
                let refused = with(token.clone()).get("/v1/me").await;
                assert_eq!(refused.status, 401, "{name}: {token}");
                assert_eq!(refused.header("www-authenticate"), Some("Bearer"));
                refused.refused(401, "unauthenticated");
                let feed = with(token.clone())
                    .get(&format!("/v1/feed?access_token={token}"))
                    .await;
                feed.refused(401, "unauthenticated");
            }
        }
    });
}

#[test]
fn an_algorithm_that_fits_the_key_and_was_not_configured_is_not_taken() {
    on_sqlite(async |place: Place| {
        let login = Login::new("rs256");
        let key = file(&place, "login.pem", &login.public);
        let options = [
            "--jwt-algorithm",
            "rs256",
            "--jwt-key-file",
            &key.display().to_string(),
        ];
        let companion = place.companion(&options).await;
        for algorithm in [Algorithm::RS384, Algorithm::RS512, Algorithm::PS256] {
            let token = encode(&Header::new(algorithm), &claims(60), &login.key).unwrap();
            let person = Person {
                token,
                ..companion.person("ada")
            };
            person.get("/v1/me").await.refused(401, "unauthenticated");
        }
    });
}

#[test]
fn a_key_that_is_of_no_use_is_refused_at_the_start() {
    on_sqlite(async |place: Place| {
        let p384 = KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384).unwrap();
        for name in ALL {
            let login = Login::new(name);
            let mut wrong: Vec<(String, String)> = ALL
                .into_iter()
                .filter(|other| *other != name)
                .map(|other| (format!("a key for {other}"), Login::new(other).public))
                .collect();
            wrong.push(("a private key".to_owned(), login.private.clone()));
            wrong.push(("P-384".to_owned(), p384.public_key_pem()));
            wrong.push(("nothing".to_owned(), String::new()));
            wrong.push(("no PEM".to_owned(), "secret".repeat(20)));
            for (what, text) in wrong {
                let key = file(&place, "wrong.pem", &text);
                let error = starts(&place, name, &key).await;
                let error = error.expect_err(&format!("{name} starts with {what}"));
                assert!(error.contains("--jwt-key-file"), "{name}, {what}: {error}");
                assert!(!error.contains(login.private.lines().nth(1).unwrap()));
            }
            let nowhere = place.file("nowhere.pem");
            let error = starts(&place, name, &nowhere).await.unwrap_err();
            assert!(error.contains("nowhere.pem"), "{error}");
        }
        // Everybody may have a public key: as a secret it would let them sign for anybody.
        for name in ALL {
            let login = Login::new(name);
            for pem in [&login.public, &login.private] {
                let key = file(&place, "login.pem", pem);
                let error = starts(&place, "hs256", &key).await;
                let error = error.expect_err(&format!("hs256 starts with a key for {name}"));
                assert!(error.contains("--jwt-algorithm"), "{name}: {error}");
                assert!(!error.contains(login.private.lines().nth(1).unwrap()));
            }
        }
        let short = file(&place, "short.key", "0123456789abcdef");
        let error = starts(&place, "hs256", &short).await.unwrap_err();
        assert!(error.contains("32 bytes"), "{error}");
    });
}

async fn starts(place: &Place, algorithm: &str, key: &Path) -> Result<(), String> {
    let key = key.display().to_string();
    let options = ["--jwt-algorithm", algorithm, "--jwt-key-file", &key];
    let config: Config = place.config(&options);
    let bound = tokio::time::timeout(Duration::from_secs(30), Service::bind(config)).await;
    match bound.unwrap() {
        Ok(_) => Ok(()),
        Err(error) => Err(format!("{error:#}")),
    }
}
