//! Somebody who asks a companion that runs, over a connection that is kept, with a token of its development key.
//!
//! Knows HTTP as far as the examples need it. Rule: what goes wrong ends the program.

use std::time::Duration;

use serde_json::Value;
use tenure_chat::config::{JwtAlgorithm, TokenSettings};
use tenure_chat::identity::{Issuer, Person, development_key};
use tenure_chat::store::Role;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;

/// Makes tokens of people of one organisation.
pub(crate) struct Tokens(Issuer);

impl Tokens {
    /// With the key in this file.
    pub(crate) fn of(file: &str) -> Self {
        let settings = TokenSettings {
            jwt_algorithm: JwtAlgorithm::Hs256,
            jwt_key_file: None,
            jwt_audience: None,
            jwt_issuer: None,
            development_key: file.into(),
        };
        let key = development_key(file.as_ref()).unwrap();
        Self(Issuer::new(&settings, &key))
    }

    /// Good for an hour.
    pub(crate) fn token(&self, id: &str) -> String {
        let person = Person {
            org: "load".to_owned(),
            id: id.to_owned(),
            name: id.to_owned(),
            role: Role::Member,
            expires: 0,
        };
        self.0.token(&person, Duration::from_secs(3600)).unwrap()
    }
}

/// One connection that is kept.
pub(crate) struct Caller {
    pub(crate) stream: BufReader<TcpStream>,
    token: String,
}

impl Caller {
    pub(crate) async fn new(address: &str, token: String) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Self {
            stream: BufReader::new(stream),
            token,
        }
    }

    pub(crate) async fn write(&mut self, method: &str, path: &str, body: &str) {
        let head = format!(
            "{method} {path} HTTP/1.1\r\nhost: load\r\nauthorization: Bearer {}\r\n\
             content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            self.token,
            body.len()
        );
        self.stream.write_all(head.as_bytes()).await.unwrap();
    }

    pub(crate) async fn ask(&mut self, method: &str, path: &str, body: &Value) -> (u16, Value) {
        self.write(method, path, &body.to_string()).await;
        let (mut line, mut status, mut length) = (String::new(), 0, 0);
        loop {
            line.clear();
            self.stream.read_line(&mut line).await.unwrap();
            if line.starts_with("HTTP/1.1 ") {
                status = line[9..12].parse().unwrap();
            } else if let Some(value) = line.strip_prefix("content-length: ") {
                length = value.trim().parse().unwrap();
            } else if line.trim().is_empty() {
                break;
            }
        }
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body).await.unwrap();
        (status, serde_json::from_slice(&body).unwrap_or(Value::Null))
    }
}

/// The duration that so many of a hundred do not exceed.
pub(crate) fn part(of: &mut [Duration], percent: usize) -> Duration {
    of.sort_unstable();
    let at = (of.len() * percent / 100).min(of.len().saturating_sub(1));
    of.get(at).copied().unwrap_or_default()
}
