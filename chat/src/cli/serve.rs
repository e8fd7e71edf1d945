//! `tenure-chat serve`: the service, until it is told to stop.
//!
//! Rule: what the development mode gives away is given to a terminal alone, never to the log.

use std::time::Duration;

use clap::Args;
use tenure_chat::config::Config;
use tenure_chat::identity::{Issuer, Person, development_key};
use tenure_chat::service::Service;
use tenure_chat::store::Role;
use tenure_chat::telemetry;
use tokio_util::sync::CancellationToken;

/// How long the tokens are good that are shown at the start.
const TOKENS_LIVE: Duration = Duration::from_secs(30 * 24 * 3600);

/// What the service is told.
#[derive(Debug, Args)]
pub(super) struct Serve {
    #[command(flatten)]
    config: Config,
}

pub(super) fn run(serve: Serve) -> anyhow::Result<()> {
    let config = serve.config;
    telemetry::init(&config.log, config.log_format)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async move {
        let is_for_development = config.is_for_development();
        let tokens = config.tokens.clone();
        let service = Service::bind(config).await?;
        let addr = service.local_addr();
        if is_for_development {
            let issuer = Issuer::new(&tokens, &development_key(&tokens.development_key)?);
            super::say(&format!("Development: whoever is on this machine may be anybody. Listening on http://{addr}, see http://{addr}/docs"));
            for (id, name, role) in [("ada", "Ada", Role::Admin), ("bob", "Bob", Role::Member)] {
                let person = Person {
                    org: "acme".into(),
                    id: id.into(),
                    name: name.into(),
                    role,
                    expires: 0,
                };
                let token = issuer.token(&person, TOKENS_LIVE)?;
                super::say(&format!("  {}={token}", name.to_uppercase()));
            }
        }
        tracing::info!(listen = %addr, "listening");
        let shutdown = CancellationToken::new();
        let stop = shutdown.clone();
        tokio::spawn(async move {
            if signalled().await.is_ok() {
                stop.cancel();
            }
        });
        service.serve(shutdown).await
    })
}

/// Waits for Ctrl-C, or for a service manager.
#[cfg(unix)]
async fn signalled() -> std::io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    Ok(())
}

#[cfg(not(unix))]
async fn signalled() -> std::io::Result<()> {
    tokio::signal::ctrl_c().await
}
