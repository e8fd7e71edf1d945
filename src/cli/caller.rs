//! Who asks: the owner of what is acquired, renewed and released.
//!
//! Rules: the same person on the same machine is the same owner in every call, so that one call acquires and another
//! releases; what holds a lock while it runs is an owner of its own, so that a second run of it is kept out.

use std::hash::{BuildHasher as _, RandomState};

use anyhow::Context as _;

/// Owner of a lock, where a person at a shell need not name one.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct Caller {
    /// On whose behalf: the owner has the lock, whichever call or machine it is from [default: user@host]
    #[arg(long, env = "TENURE_OWNER", value_name = "OWNER")]
    owner: Option<String>,
}

impl Caller {
    /// The owner's id.
    pub(super) fn owner(&self) -> anyhow::Result<String> {
        match &self.owner {
            Some(owner) => Ok(owner.clone()),
            None => user_at_host().context("cannot tell who you are; name the owner with --owner"),
        }
    }
}

/// Owner of a lock that one process holds for as long as it runs.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct Holder {
    /// On whose behalf [default: this process alone, so that a second one has to wait: user@host:PID-RANDOM]
    #[arg(long, value_name = "OWNER")]
    owner: Option<String>,
}

impl Holder {
    /// The owner's id.
    pub(super) fn owner(&self) -> anyhow::Result<String> {
        match &self.owner {
            Some(owner) => Ok(owner.clone()),
            None => {
                let caller = Caller { owner: None }.owner()?;
                // Two containers may have the same host name and the same process number.
                let random = RandomState::new().hash_one(());
                let process = std::process::id();
                Ok(format!("{caller}:{process}-{:08x}", random & 0xffff_ffff))
            }
        }
    }
}

#[cfg(unix)]
fn user_at_host() -> anyhow::Result<String> {
    use nix::unistd::{Uid, User, gethostname};
    let id = Uid::effective();
    // Where the system has no name for a user, as in a container, the number is as good.
    let user = User::from_uid(id)
        .ok()
        .flatten()
        .map_or_else(|| id.to_string(), |user| user.name);
    let host = gethostname()?;
    Ok(format!("{user}@{}", host.to_string_lossy()))
}

#[cfg(not(unix))]
fn user_at_host() -> anyhow::Result<String> {
    let user = std::env::var("USERNAME").context("USERNAME is not set")?;
    let host = std::env::var("COMPUTERNAME").context("COMPUTERNAME is not set")?;
    Ok(format!("{user}@{host}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_is_not_named_is_somebody_somewhere() {
        let owner = Caller { owner: None }.owner().unwrap();
        let (user, host) = owner.split_once('@').unwrap();
        assert!(!user.is_empty() && !host.is_empty());
    }

    #[test]
    fn no_two_processes_are_the_same_owner() {
        let owner = || Holder { owner: None }.owner().unwrap();
        assert_ne!(owner(), owner());
    }
}
