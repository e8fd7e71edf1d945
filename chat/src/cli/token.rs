//! `tenure-chat token`: a token for somebody, signed with the secret of the development mode or with one of HS256.
//!
//! Rule: a token that the service would not take is not given out.

use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::Args;
use tenure_chat::config::{JwtAlgorithm, TokenSettings};
use tenure_chat::identity::{Issuer, Person, Verifier, development_key};
use tenure_chat::store::Role;

/// For whom, and for how long.
#[derive(Debug, Args)]
pub(super) struct Token {
    /// The organisation.
    #[arg(long, default_value = "acme")]
    org: String,
    /// The person.
    #[arg(value_name = "PERSON")]
    person: String,
    /// How others see them; the person's id, if it is left out.
    #[arg(long)]
    name: Option<String>,
    /// What they may do: member, moderator or admin.
    #[arg(long, default_value = "member", value_parser = role)]
    role: Role,
    /// How long it is good: `1h`, `30d`.
    #[arg(long = "for", default_value = "30d", value_parser = humantime::parse_duration)]
    lifetime: Duration,
    #[command(flatten)]
    tokens: TokenSettings,
}

fn role(text: &str) -> Result<Role, String> {
    serde_json::from_value(text.into())
        .map_err(|_| format!("expected member, moderator or admin, found {text:?}"))
}

pub(super) fn run(token: &Token) -> anyhow::Result<()> {
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
    super::answer(&text);
    Ok(())
}
