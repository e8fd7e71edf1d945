//! The service as a whole: what is opened, in which order, and how it ends.
//!
//! Owns the listener and the tasks that run beside requests. Rules: what cannot work is said before the first request is
//! taken; at the end answers that are under way are finished, feeds are told, and sessions are left to their grace, so that
//! the next companion takes them over with their locks.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use tenure_client::Client;
use tokio::net::TcpListener;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;

use crate::archiving::{Plan, Schedule};
use crate::config::{ArchiveSettings, Config};
use crate::http::{App, Exports, Limits, SWEEP_EVERY, Shared, document, router};
use crate::identity::{Verifier, development_key};
use crate::live::Live;
use crate::locks::{ANSWER_WITHIN, LOOK_EVERY, Link, Sessions};
use crate::metrics::Metrics;
use crate::relay::Relay;
use crate::serving::{Bounds, serve};
use crate::store::{Error as StoreError, Store, StoreOptions};

/// What the lock server's log calls us.
const NAME: &str = concat!("tenure-chat/", env!("CARGO_PKG_VERSION"));

/// A service that listens, and does not answer yet.
pub struct Service {
    listener: TcpListener,
    addr: SocketAddr,
    app: Shared,
    config: Config,
}

impl Service {
    /// Opens the database, begins to connect to the lock server, and binds the listener.
    ///
    /// # Errors
    /// A setting is wrong, the database cannot be opened, or the address is taken.
    pub async fn bind(config: Config) -> anyhow::Result<Self> {
        config.check()?;
        let secret = match config.is_for_development() {
            true => Some(development_key(&config.tokens.development_key)?),
            false => None,
        };
        let verifier = Verifier::new(&config.tokens, secret.as_deref())?;
        let (openapi, docs) = document()?;
        let options = StoreOptions {
            connections_max: config.database_connections,
            ..StoreOptions::default()
        };
        let store = Store::open(config.database.reveal(), options)
            .await
            .map_err(StoreError::of_the_setting)?;
        let link = Link::new(connect(&config)?);
        let metrics = Metrics::new();
        let shutdown = CancellationToken::new();
        let live = Live::new(
            link.clone(),
            store.clone(),
            Arc::clone(&metrics),
            config.feeds_at_most(),
            shutdown.clone(),
        );
        let app = Arc::new(App {
            sessions: Sessions::new(link.clone(), config.grace(), config.idle()),
            limits: Limits::new(&config.rates),
            exports: Exports::default(),
            when_away: config.when_tenure_is_away,
            grace: config.grace(),
            idle: config.idle(),
            body_within: Duration::from_secs(config.body_within_s),
            store,
            link,
            live,
            metrics,
            verifier,
            shutdown,
            openapi,
            docs,
        });
        let listener = TcpListener::bind(config.listen).await;
        let listener =
            listener.with_context(|| format!("--listen: cannot listen on {}", config.listen))?;
        let addr = listener.local_addr()?;
        Ok(Self {
            listener,
            addr,
            app,
            config,
        })
    }

    /// Where it listens.
    #[must_use]
    pub const fn local_addr(&self) -> SocketAddr {
        self.addr
    }

    /// Answers until `shutdown` comes, then ends in order.
    ///
    /// # Errors
    /// The listener has failed.
    pub async fn serve(self, shutdown: CancellationToken) -> anyhow::Result<()> {
        let Self {
            listener,
            app,
            config,
            ..
        } = self;
        let relaying = CancellationToken::new();
        let relay = Relay::new(
            app.store.clone(),
            app.link.clone(),
            Arc::clone(&app.metrics),
        );
        let relay = tokio::spawn(relay.run(relaying.clone()));
        let tending = tokio::spawn(tend(Arc::clone(&app)));
        let archiving = tokio::spawn(archive(Arc::clone(&app), config.archive.clone()));
        let ending = app.shutdown.clone();
        let routes = router(Arc::clone(&app), &config)?;
        let bounds = Bounds {
            connections_max: config.connections_max,
            head_within: Duration::from_secs(config.head_within_s),
        };
        let metrics = Arc::clone(&app.metrics);
        let serving = tokio::spawn(serve(listener, routes, bounds, metrics, ending.clone()));
        shutdown.cancelled().await;
        tracing::info!("shutting down");
        ending.cancel();
        let grace = Duration::from_secs(config.shutdown_grace_s);
        if timeout(grace, serving).await.is_err() {
            tracing::warn!("some answers were not finished in time");
        }
        // What was answered is told before the connection goes, if it can be.
        relaying.cancel();
        if timeout(grace, relay).await.is_err() {
            tracing::warn!("some events are left to the next companion");
        }
        tending.abort();
        if timeout(grace, archiving).await.is_err() {
            tracing::warn!(
                "a step of archiving was not finished in time: it is undone, and done again by the next run"
            );
        }
        app.link.client().close().await;
        app.store.close().await;
        Ok(())
    }
}

/// What has to be looked after while requests come and go.
async fn tend(app: Shared) {
    let mut look = interval(LOOK_EVERY);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut sweep = interval(SWEEP_EVERY);
    sweep.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = look.tick() => app.sessions.look_after(),
            _ = sweep.tick() => {
                app.limits.sweep();
                app.live.sweep();
            }
        }
    }
}

/// Puts away what is old, every so often, unless that is turned off.
async fn archive(app: Shared, settings: ArchiveSettings) {
    let Some(every) = settings.archive_every.0 else {
        return;
    };
    let schedule = Schedule {
        store: app.store.clone(),
        metrics: Arc::clone(&app.metrics),
        plan: Plan {
            older_than: settings.archive_older_than,
            empty_for: settings.archive_empty_for,
            org: None,
        },
        every,
    };
    schedule.run(app.shutdown.clone()).await;
}

/// A client that keeps trying: the service starts without the lock server too.
fn connect(config: &Config) -> anyhow::Result<Client> {
    let mut options = Client::builder(config.tenure.clone())
        .name(NAME)
        .request_timeout(ANSWER_WITHIN)
        .connect_timeout(Duration::from_secs(2))
        .back_off(Duration::from_millis(50), Duration::from_secs(1));
    if let Some(key) = config.tenure_key()? {
        options = options.api_key(key);
    }
    if let Some(file) = &config.tenure_ca {
        let mut roots = rustls::RootCertStore::empty();
        let read = || {
            format!(
                "--tenure-ca: expected certificates as PEM in {}",
                file.display()
            )
        };
        for certificate in CertificateDer::pem_file_iter(file).with_context(read)? {
            roots
                .add(certificate.with_context(read)?)
                .with_context(read)?;
        }
        ensure!(!roots.is_empty(), read());
        let tls = rustls::ClientConfig::builder()
            .with_root_certificates(roots)
            .with_no_client_auth();
        options = options.tls(Arc::new(tls), None)?;
    }
    Ok(options.connect_lazily())
}
