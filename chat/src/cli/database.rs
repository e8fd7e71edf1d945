//! The database, for commands that need no server: `archive`, `audit` and `recount` may run beside one that serves.
//!
//! Rules: one that is not there is not made, since whoever asks means another; it is closed again however the job ends, so
//! that nothing is left half written.

use std::path::Path;

use anyhow::ensure;
use clap::Args;
use tenure_chat::config::{DATABASE, Secret};
use tenure_chat::identity::fault_of_org;
use tenure_chat::store::{Actor, Error, Role, Store, StoreOptions};

/// Which database.
#[derive(Debug, Args)]
pub(super) struct Database {
    /// The database: `sqlite:FILE`, or `postgres://USER:PASSWORD@HOST/NAME`; with a password, set the variable
    #[arg(long, env = "TENURE_CHAT_DATABASE", default_value = DATABASE, value_name = "URL", hide_env_values = true)]
    database: Secret,
}

impl Database {
    /// Opens it, does something, and closes it again.
    pub(super) fn with<T>(
        &self,
        job: impl AsyncFnOnce(&Store) -> anyhow::Result<T>,
    ) -> anyhow::Result<T> {
        self.is_there()?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        runtime.block_on(async {
            let options = StoreOptions {
                connections_max: 2,
                ..StoreOptions::default()
            };
            let opened = Store::open(self.database.reveal(), options).await;
            let store = opened.map_err(Error::of_the_setting)?;
            let done = job(&store).await;
            store.close().await;
            done
        })
    }

    /// A file that is not there is no empty database.
    fn is_there(&self) -> anyhow::Result<()> {
        let url = self.database.reveal();
        if let Some(path) = url.strip_prefix("sqlite:") {
            let path = path.strip_prefix("//").unwrap_or(path);
            let path = path.split_once('?').map_or(path, |(path, _)| path);
            ensure!(
                path.contains('%') || Path::new(path).exists(),
                "--database: expected a database at {path}, found no such file; \
                 go where the service runs, or name its database"
            );
        }
        Ok(())
    }
}

/// Reads the id of an organisation: of one that cannot be, nothing would be found, as if all were right.
pub(super) fn org(text: &str) -> Result<String, String> {
    fault_of_org(text).map_or_else(
        || Ok(text.to_owned()),
        |fault| {
            Err(format!(
                "expected the id of an organisation such as `acme`, found {fault}"
            ))
        },
    )
}

/// On whose behalf an operator asks.
pub(super) fn operator(org: &str) -> Actor {
    Actor {
        org: org.to_owned(),
        id: "system".to_owned(),
        name: "system".to_owned(),
        role: Role::Admin,
    }
}
