//! Who asks: the owner of what is acquired, renewed and released.
//!
//! Rule: the same person on the same machine is the same owner in every call, so that one call acquires and another
//! releases.

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
}
