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

use super::Exit;
use super::open_files::fit;
use super::output::remark;
use super::signals::stopping;

/// How long the tokens are good that are shown at the start.
const TOKENS_LIVE: Duration = Duration::from_secs(30 * 24 * 3600);

/// Serve HTTP (the default)
#[derive(Debug, Args)]
pub(super) struct Serve {
    #[command(flatten)]
    config: Config,
}

pub(super) fn run(serve: Serve) -> anyhow::Result<Exit> {
    let mut config = serve.config;
    telemetry::init(&config.log, config.log_format)?;
    config.check()?;
    fit(&mut config);
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
            remark(&format!("Development: whoever is on this machine may be anybody. Listening on http://{addr}, see http://{addr}/docs"));
            for (id, name, role) in [("ada", "Ada", Role::Admin), ("bob", "Bob", Role::Member)] {
                let person = Person {
                    org: "acme".into(),
                    id: id.into(),
                    name: name.into(),
                    role,
                    expires: 0,
                };
                let token = issuer.token(&person, TOKENS_LIVE)?;
                remark(&format!("  {}={token}", name.to_uppercase()));
            }
        }
        tracing::info!(listen = %addr, "listening");
        service.serve(stopping()).await?;
        Ok(Exit::Yes)
    })
}
