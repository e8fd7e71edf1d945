//! The database, for commands that need no server: `archive`, `audit` and `recount` may run beside one that serves.
//!
//! Rule: it is closed again however the job ends, so that nothing is left half written.

use clap::Args;
use tenure_chat::config::{DATABASE, Secret};
use tenure_chat::store::{Actor, Role, Store, StoreOptions};

/// Which database.
#[derive(Debug, Args)]
pub(super) struct Database {
    /// The database: `sqlite:FILE`, or `postgres://USER:PASSWORD@HOST/NAME`; with a password, set the variable.
    #[arg(long, env = "TENURE_CHAT_DATABASE", default_value = DATABASE, value_name = "URL", hide_env_values = true)]
    database: Secret,
}

impl Database {
    /// Opens it, does something, and closes it again.
    pub(super) fn with<T>(
        &self,
        job: impl AsyncFnOnce(&Store) -> anyhow::Result<T>,
    ) -> anyhow::Result<T> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        runtime.block_on(async {
            let options = StoreOptions {
                connections_max: 2,
                ..StoreOptions::default()
            };
            let store = Store::open(self.database.reveal(), options).await?;
            let done = job(&store).await;
            store.close().await;
            done
        })
    }
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
