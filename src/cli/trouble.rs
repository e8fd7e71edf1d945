//! What went wrong, in words that say what to do next.
//!
//! Knows what can go wrong on the way and what the server may answer; prints nothing. Rule: lower case, no full stop,
//! never a key.

use std::error::Error as _;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs as _};

use tenure::config::LISTEN;
use tenure_client::ErrorKind;
use tenure_protocol::{Class, Code, ErrorCode, reply};

use super::duration;
use super::endpoint::{Endpoint, PATIENCE};

/// There is no connection to be had.
pub(super) fn unreachable(address: &str, error: &io::Error) -> anyhow::Error {
    let kind = error.kind();
    if kind == io::ErrorKind::ConnectionRefused {
        let remedy = start_one(address);
        return anyhow::anyhow!("cannot reach {address}: connection refused; {remedy}");
    }
    let why = if kind == io::ErrorKind::TimedOut {
        format!("no answer within {}", duration::show(PATIENCE))
    } else {
        error.to_string()
    };
    anyhow::anyhow!(
        "cannot reach {address}: {why}; is --server HOST:PORT right, and the network up?"
    )
}

/// On this machine a server can be started; elsewhere somebody has to look.
fn start_one(address: &str) -> String {
    let here = address.parse::<SocketAddr>().ok();
    let here = here.or_else(|| address.to_socket_addrs().ok()?.next());
    match here {
        Some(here) if here == LISTEN => {
            String::from("is a server running? start one with: tenure serve")
        }
        Some(here) if here.ip().is_loopback() => {
            format!("is a server running? start one with: tenure serve --listen {here}")
        }
        _ => String::from("is a server running there, and is --server HOST:PORT right?"),
    }
}

/// There is a connection, and no TLS over it.
pub(super) fn no_tls(address: &str, error: &io::Error) -> anyhow::Error {
    let is_certificate = matches!(
        error.get_ref().and_then(|error| error.downcast_ref()),
        Some(rustls::Error::InvalidCertificate(_))
    );
    let remedy = if is_certificate {
        "is --tls-ca FILE the authority of the server's certificate, and is that for this host?"
    } else {
        "does the server have TLS? if not, leave --tls and --tls-ca out"
    };
    anyhow::anyhow!("no TLS with {address}: {error}; {remedy}")
}

/// The other side has ended the connection without a goodbye.
pub(super) fn cut_off(address: &str, introduced: bool) -> anyhow::Error {
    if introduced {
        anyhow::anyhow!("{address} has ended the connection; try again")
    } else {
        anyhow::anyhow!(
            "{address} has ended the connection before it said hello; does the server want TLS \
             (--tls, --tls-ca FILE), or is it no tenure server?"
        )
    }
}

/// The other side does not answer.
pub(super) fn silent(address: &str) -> anyhow::Error {
    anyhow::anyhow!("{address} does not answer; is it a tenure server, and the network up?")
}

/// What comes is not our protocol.
pub(super) fn not_ours(address: &str, error: &dyn std::error::Error) -> anyhow::Error {
    anyhow::anyhow!(
        "{address} does not speak our protocol: {error}; does the server want TLS (--tls, --tls-ca \
         FILE), or is it no tenure server?"
    )
}

/// The server has answered with an error, or said goodbye.
pub(super) fn refused(endpoint: &Endpoint, error: &reply::Error<'_>) -> anyhow::Error {
    said(endpoint, error.code, error.message, error.field)
}

/// What `tenure-client` failed with.
pub(super) fn of_client(endpoint: &Endpoint, error: &tenure_client::Error) -> anyhow::Error {
    let socket = error
        .source()
        .and_then(|source| source.downcast_ref::<io::Error>());
    let address = &endpoint.address;
    if error.kind() == ErrorKind::Connect {
        return match socket {
            Some(socket) if endpoint.is_encrypted() && is_of_tls(socket) => no_tls(address, socket),
            Some(socket) if is_of_the_end(socket) => cut_off(address, false),
            Some(socket) => unreachable(address, socket),
            None => cut_off(address, false),
        };
    }
    if error.kind() == ErrorKind::Protocol {
        return not_ours(address, error);
    }
    match advice(endpoint, known(error.code())) {
        Some(advice) => anyhow::anyhow!("{error}; {advice}"),
        None => anyhow::anyhow!("{error}"),
    }
}

/// Whether the other side has ended the connection; whether it had read what was sent, or some of it came too late, makes
/// the difference between these.
fn is_of_the_end(error: &io::Error) -> bool {
    [
        io::ErrorKind::ConnectionAborted,
        io::ErrorKind::ConnectionReset,
        io::ErrorKind::BrokenPipe,
    ]
    .contains(&error.kind())
}

/// Whether the socket was there, and what came over it was wrong.
fn is_of_tls(error: &io::Error) -> bool {
    [
        io::ErrorKind::InvalidData,
        io::ErrorKind::UnexpectedEof,
        io::ErrorKind::ConnectionReset,
    ]
    .contains(&error.kind())
}

fn known(number: Option<u16>) -> Option<ErrorCode> {
    ErrorCode::ALL
        .iter()
        .copied()
        .find(|code| Some(code.number()) == number)
}

fn said(endpoint: &Endpoint, code: Code, message: &str, field: Option<&str>) -> anyhow::Error {
    let field = field
        .filter(|field| !message.starts_with(field))
        .map_or_else(String::new, |field| format!("{field}: "));
    let name = code.known().map_or_else(
        || format!("code {}", code.number()),
        |code| String::from(code.name()),
    );
    let text = format!("{field}{message} ({name})");
    match advice(endpoint, code.known()) {
        Some(advice) => anyhow::anyhow!("{text}; {advice}"),
        None => anyhow::anyhow!(text),
    }
}

/// What to do about it, where the message of the server cannot know.
fn advice(endpoint: &Endpoint, code: Option<ErrorCode>) -> Option<&'static str> {
    let is = |codes: &[ErrorCode]| code.is_some_and(|code| codes.contains(&code));
    if is(&[ErrorCode::BadCredentials]) && endpoint.key.is_none() {
        Some("give an API key in the variable TENURE_KEY, or with --key")
    } else if is(&[ErrorCode::BadCredentials]) {
        Some("is the key in TENURE_KEY or --key right?")
    } else if is(&[ErrorCode::RoleTooLow]) {
        Some("use a key with a higher role")
    } else if is(&[ErrorCode::OrgNotAllowed]) {
        Some("is the org right, and is the key for it? its orgs are in the server's configuration")
    } else if is(&[
        ErrorCode::TooManySessions,
        ErrorCode::TooManyHolds,
        ErrorCode::TooManySessionHolds,
        ErrorCode::TooManySessionWaits,
    ]) {
        Some("an admin can raise it: tenure policy set --help")
    } else {
        let class = code.map(ErrorCode::class)?;
        [Class::Retry, Class::Reconnect]
            .contains(&class)
            .then_some("try again in a while")
    }
}
