//! `tenure serve`: reads the configuration, starts the log, runs the server, and turns signals into its shutdown.

use std::io::{self, Write as _, stdout};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;

use anyhow::Context as _;
use tenure::config::{Config, LISTEN, LogFormat, Settings};
use tenure::server::Server;
use tenure::{telemetry, tls};
use tokio::runtime::{self, Runtime};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::signals::Signals;
use super::{Exit, duration, open_files};

/// Run a server until it is told to stop
///
/// A setting is taken from its flag, else from its environment variable, else from the configuration
/// file, else it has its default. The file has the same keys: --in-flight-max is in_flight_max = 1024,
/// and --policy-grace-ms is grace_ms = 10000 in the table [policy]. API keys are [[keys]] in the file.
///
/// Without a key anyone who can connect is an admin, so it then listens on this machine alone.
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment, after_help = AFTER_HELP)]
pub(super) struct Serve {
    /// Configuration file, TOML [default: none]
    #[arg(long, env = "TENURE_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,

    /// Check the configuration and the files that it names, and end
    #[arg(long)]
    check: bool,

    #[command(flatten)]
    settings: Settings,
}

const AFTER_HELP: &str = "\
Examples:
  tenure serve
      for development: 127.0.0.1:7420, no key, no TLS
  tenure serve --config /etc/tenure.toml --check
      is the file right?
  TENURE_LOG_FORMAT=json tenure serve --config /etc/tenure.toml --listen 0.0.0.0:7420
      for production; the file has [[keys]], tls_cert and tls_key:
          tls_cert = \"server.pem\"
          tls_key = \"server.key\"
          [[keys]]
          name = \"help-desk\"
          key_file = \"help-desk.key\"      # openssl rand -hex 32 > help-desk.key
          role = \"moderator\"              # observer, member, moderator or admin
          orgs = [\"acme\", \"acme-*\"]       # \"*\" is all

Signals: the first SIGINT or SIGTERM ends it gracefully, the second at once.
Exit status: 0 ended as it was told to, 2 trouble (also a mistake in the settings)";

impl Serve {
    pub(super) fn run(self) -> anyhow::Result<Exit> {
        let mut config = Config::load(self.config.as_deref(), self.settings)?;
        if self.check {
            tls::acceptor(&config)?;
            writeln!(
                stdout(),
                "the configuration is right; it would listen on {}",
                config.listen
            )?;
            return Ok(Exit::Yes);
        }
        telemetry::init(&config.log, config.log_format)?;
        open_files::fit(&mut config);
        let runtime = runtime(config.workers).context("cannot start threads")?;
        runtime.block_on(serve(config))?;
        Ok(Exit::Yes)
    }
}

/// Where connections are served, by so many threads. One alone needs no scheduler that steals and wakes. As many others, and one
/// for the core that is left, tell many listeners what they listen to; replay and the journal's end have one of them.
fn runtime(workers: usize) -> io::Result<Runtime> {
    let mut runtime = if workers == 1 {
        runtime::Builder::new_current_thread()
    } else {
        let mut several = runtime::Builder::new_multi_thread();
        several.worker_threads(workers);
        several
    };
    runtime
        .enable_all()
        .max_blocking_threads(workers + 1)
        .build()
}

async fn serve(config: Config) -> anyhow::Result<()> {
    let shutdown = CancellationToken::new();
    watch_signals(shutdown.clone(), &config)?;
    let bound = shutdown.run_until_cancelled(Server::bind(config.clone()));
    let Some(server) = bound.await else {
        info!("stopped before it listened");
        return Ok(());
    };
    let server = server?;
    announce(&config, server.local_addr(), server.admin_addr());
    server.serve(shutdown).await?;
    info!("stopped");
    Ok(())
}

/// Says in the log what is served and how it is protected, and to people what to type next.
fn announce(config: &Config, listen: SocketAddr, admin: Option<SocketAddr>) {
    info!(
        version = env!("CARGO_PKG_VERSION"),
        %listen,
        admin = admin.map(tracing::field::display),
        tls = config.has_tls(),
        keys = config.keys.len(),
        workers = config.workers,
        shards = config.shards,
        "listening"
    );
    if config.is_open() {
        warn!("no keys are configured: whoever connects is an admin of every org");
    }
    if !listen.ip().is_loopback() && !config.has_tls() {
        warn!("no TLS is configured: keys and data travel in the clear");
    }
    if config.log_format == LogFormat::Text {
        // A closed stdout is no reason not to serve.
        let next = next_command(config, listen);
        drop(writeln!(
            stdout(),
            "tenure listens on {listen}; in another terminal:  {next}"
        ));
    }
}

/// What a person on this machine types to see that it works.
fn next_command(config: &Config, listen: SocketAddr) -> String {
    let mut reachable = listen;
    match listen.ip() {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED) => reachable.set_ip(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(Ipv6Addr::UNSPECIFIED) => reachable.set_ip(Ipv6Addr::LOCALHOST.into()),
        IpAddr::V4(_) | IpAddr::V6(_) => {}
    }
    let mut next = String::from("tenure ping");
    if reachable != LISTEN {
        next.push_str(&format!(" --server {reachable}"));
    }
    if !config.is_open() {
        next.push_str(" --key KEY");
    }
    if config.has_tls() {
        next.push_str(" --tls-ca FILE");
    }
    if config.tls_client_ca.is_some() {
        next.push_str(" --tls-client-cert FILE --tls-client-key FILE");
    }
    next
}

/// Cancels `shutdown` at the first signal, and ends the process at the second.
fn watch_signals(shutdown: CancellationToken, config: &Config) -> anyhow::Result<()> {
    let mut signals = Signals::to_stop().context("cannot watch for signals")?;
    let grace = duration::show(config.shutdown_grace());
    tokio::spawn(async move {
        signals.next().await;
        info!("shutting down, in {grace} at the latest; a second signal ends it at once");
        shutdown.cancel();
        signals.next().await;
        warn!("ended at once");
        std::process::exit(Exit::Trouble.code().into());
    });
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_to_type_next_reaches_the_server() {
        let mut config = Config::default();
        assert_eq!(next_command(&config, LISTEN), "tenure ping");
        config.tls_cert = Some(PathBuf::from("server.pem"));
        let next = next_command(&config, "0.0.0.0:9000".parse().unwrap());
        assert_eq!(next, "tenure ping --server 127.0.0.1:9000 --tls-ca FILE");
    }
}
