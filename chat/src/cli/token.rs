//! `tenure-chat token`: a token for somebody, signed with the secret of the development mode or with one of HS256.
//!
//! Rule: a token that the service would not take is not given out.

use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::Args;
use serde_json::json;
use tenure_chat::config::{JwtAlgorithm, TokenSettings};
use tenure_chat::identity::{Issuer, Person, Verifier, development_key};
use tenure_chat::store::{Role, UnixMs};

use super::Exit;
use super::output::Output;

/// Make a token, for development and for trying things out
///
/// Signed with the secret of the development mode, which is made in this folder if it is not there and
/// is the one that a service in this folder takes; or with one of your own for HS256 (--jwt-key-file).
#[derive(Debug, Args)]
#[command(verbatim_doc_comment, after_help = AFTER_HELP)]
pub(super) struct Token {
    /// The organisation
    #[arg(long, default_value = "acme")]
    org: String,
    /// The person
    #[arg(value_name = "PERSON")]
    person: String,
    /// How others see them; the person's id, if it is left out
    #[arg(long)]
    name: Option<String>,
    /// What they may do: guest, member, moderator or admin
    #[arg(long, default_value = "member", value_parser = role)]
    role: Role,
    /// How long it is good: `1h`, `30d`
    #[arg(long = "for", default_value = "30d", value_parser = lifetime)]
    lifetime: Duration,
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    tokens: TokenSettings,
}

const AFTER_HELP: &str = "\
Examples:
  ADA=$(tenure-chat token ada --role admin)
  curl -s http://127.0.0.1:7430/v1/me -H \"authorization: Bearer $ADA\"
  tenure-chat token bob --org acme --for 1h --json

Exit status: 0 here it is, 2 trouble";

fn ms(span: Duration) -> i64 {
    i64::try_from(span.as_millis()).unwrap_or(i64::MAX)
}

/// A token is good for whole seconds: one of none would be over before it is shown.
fn lifetime(text: &str) -> Result<Duration, String> {
    let lifetime = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    if lifetime < Duration::from_secs(1) {
        return Err(format!("expected 1s or more such as `30d`, found `{text}`"));
    }
    Ok(lifetime)
}

fn role(text: &str) -> Result<Role, String> {
    serde_json::from_value(text.into())
        .map_err(|_| format!("expected guest, member, moderator or admin, found {text:?}"))
}

pub(super) fn run(token: &Token) -> anyhow::Result<Exit> {
    let secret = match &token.tokens.jwt_key_file {
        None => development_key(&token.tokens.development_key)?,
        Some(_) if token.tokens.jwt_algorithm != JwtAlgorithm::Hs256 => {
            bail!(
                "--jwt-algorithm: expected hs256, found one whose private key is elsewhere; make the token there"
            )
        }
        Some(file) => std::fs::read_to_string(file)
            .with_context(|| format!("--jwt-key-file: cannot read {}", file.display()))?
            .trim()
            .to_owned(),
    };
    let person = Person {
        org: token.org.clone(),
        id: token.person.clone(),
        name: token.name.clone().unwrap_or_else(|| token.person.clone()),
        role: token.role,
        expires: 0,
    };
    let text = Issuer::new(&token.tokens, &secret).token(&person, token.lifetime)?;
    // Whoever would not be let in is told so here.
    let verifier = Verifier::new(&token.tokens, Some(&secret))?;
    if let Err(rejected) = verifier.person(&text) {
        bail!("{rejected}");
    }
    let expires = UnixMs::now().0.saturating_add(ms(token.lifetime));
    token.output.answer(
        &json!({"token": text, "org": token.org, "person": token.person, "role": token.role, "expires_at": UnixMs(expires)}),
        &text,
    )?;
    Ok(Exit::Yes)
}
