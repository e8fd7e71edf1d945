//! From the engine's commands to those that the journal keeps, and back. The only place that knows both.
//!
//! Must hold: there and back is the same command; no command takes more bytes than [`bytes_max`] says, which is asked
//! before it is decided.

use tenure_engine as engine;
use tenure_engine::{Attach, Millis, ResumeKey, SessionId, Token, WaitId};

use super::{
    Acquire, AcquireAll, Address, By, Bytes, Cancel, Command, Configure, Convert, Decline,
    Disconnect, ForceRelease, HandOver, Item, Layer, Mode, OpenSession, Release, ReleaseScope,
    Renew, ResumeSession, Role, Seize, Target, Tokens,
};

impl<'a> From<&engine::Command<'a>> for Command<'a> {
    fn from(command: &engine::Command<'a>) -> Self {
        match *command {
            engine::Command::Started => Self::Started(()),
            engine::Command::Tick => Self::Tick(()),
            engine::Command::Configure {
                scope,
                layer,
                principal,
            } => Self::Configure(Configure::of(scope, layer, principal)),
            engine::Command::Settle { org, path } => Self::Settle(Address { org, path }),
            engine::Command::OpenSession(open) => Self::OpenSession(open.into()),
            engine::Command::ResumeSession(resume) => Self::ResumeSession(resume.into()),
            engine::Command::DetachSession(by) => Self::DetachSession(by.into()),
            engine::Command::RenewSession(by) => Self::RenewSession(by.into()),
            engine::Command::CloseSession(by) => Self::CloseSession(by.into()),
            engine::Command::Acquire(acquire) => Self::Acquire(acquire.into()),
            engine::Command::AcquireAll(all) => Self::AcquireAll(all.into()),
            engine::Command::Renew(renew) => Self::Renew(renew.into()),
            engine::Command::Release(release) => Self::Release(release.into()),
            engine::Command::Cancel { by, wait } => Self::Cancel(Cancel {
                by: by.into(),
                wait: wait.0,
            }),
            engine::Command::Convert(convert) => Self::Convert(convert.into()),
            engine::Command::HandOver { by, path, to } => Self::HandOver(HandOver {
                by: by.into(),
                path,
                to: to.map(|to| to.0),
            }),
            engine::Command::Decline { by, path, to } => Self::Decline(Decline {
                by: by.into(),
                path,
                to: to.0,
            }),
            engine::Command::ForceRelease(force) => Self::ForceRelease(force.into()),
        }
    }
}

impl<'a> Command<'a> {
    /// Lends the engine's command, or what tokens there are from here on.
    pub(in super::super) fn lend<R>(
        &self,
        use_it: impl FnOnce(Result<engine::Command<'_>, Tokens>) -> R,
    ) -> R {
        let command = match self {
            Self::Tokens(tokens) => return use_it(Err(*tokens)),
            Self::AcquireAll(all) => {
                let items: Vec<_> = all.items.iter().map(Item::lent).collect();
                return use_it(Ok(engine::Command::AcquireAll(all.lent(&items))));
            }
            Self::Started(()) => engine::Command::Started,
            Self::Tick(()) => engine::Command::Tick,
            Self::Configure(configure) => configure.lent(),
            Self::Settle(Address { org, path }) => engine::Command::Settle { org, path },
            Self::OpenSession(open) => engine::Command::OpenSession(open.lent()),
            Self::ResumeSession(resume) => engine::Command::ResumeSession(resume.lent()),
            Self::DetachSession(by) => engine::Command::DetachSession(by.lent()),
            Self::RenewSession(by) => engine::Command::RenewSession(by.lent()),
            Self::CloseSession(by) => engine::Command::CloseSession(by.lent()),
            Self::Acquire(acquire) => engine::Command::Acquire(acquire.lent()),
            Self::Renew(renew) => engine::Command::Renew(renew.lent()),
            Self::Release(release) => engine::Command::Release(release.lent()),
            Self::Cancel(cancel) => engine::Command::Cancel {
                by: cancel.by.lent(),
                wait: WaitId(cancel.wait),
            },
            Self::Convert(convert) => engine::Command::Convert(convert.lent()),
            Self::HandOver(HandOver { by, path, to }) => engine::Command::HandOver {
                by: by.lent(),
                path,
                to: to.map(WaitId),
            },
            Self::Decline(Decline { by, path, to }) => engine::Command::Decline {
                by: by.lent(),
                path,
                to: WaitId(*to),
            },
            Self::ForceRelease(force) => engine::Command::ForceRelease(force.lent()),
        };
        use_it(Ok(command))
    }
}

impl From<engine::SessionRef> for By {
    fn from(by: engine::SessionRef) -> Self {
        Self {
            session: by.session.0,
            attach: by.attach.0,
        }
    }
}

impl By {
    const fn lent(self) -> engine::SessionRef {
        engine::SessionRef {
            session: SessionId(self.session),
            attach: Attach(self.attach),
        }
    }
}

impl<'a> Configure<'a> {
    fn of(scope: engine::Scope<'a>, layer: engine::PolicyLayer, principal: &'a str) -> Self {
        let (org, kind) = match scope {
            engine::Scope::Server => (None, None),
            engine::Scope::Org(org) => (Some(org), None),
            engine::Scope::Kind { org, kind } => (Some(org), Some(kind)),
        };
        Self {
            org,
            kind,
            layer: layer.into(),
            principal,
        }
    }

    fn lent(&self) -> engine::Command<'a> {
        let scope = match (self.org, self.kind) {
            (None, _) => engine::Scope::Server,
            (Some(org), None) => engine::Scope::Org(org),
            (Some(org), Some(kind)) => engine::Scope::Kind { org, kind },
        };
        engine::Command::Configure {
            scope,
            layer: self.layer.lent(),
            principal: self.principal,
        }
    }
}

impl From<engine::PolicyLayer> for Layer {
    fn from(layer: engine::PolicyLayer) -> Self {
        Self {
            ttl_default: layer.ttl_default.map(|span| span.0),
            ttl_min: layer.ttl_min.map(|span| span.0),
            ttl_max: layer.ttl_max.map(|span| span.0),
            queue_max: layer.queue_max,
            grace: layer.grace.map(|span| span.0),
            release_on_disconnect: layer.release_on_disconnect,
            sessions_max: layer.sessions_max,
            holds_max: layer.holds_max,
            session_holds_max: layer.session_holds_max,
            session_waits_max: layer.session_waits_max,
        }
    }
}

impl Layer {
    pub(in super::super) fn lent(&self) -> engine::PolicyLayer {
        engine::PolicyLayer {
            ttl_default: self.ttl_default.map(Millis),
            ttl_min: self.ttl_min.map(Millis),
            ttl_max: self.ttl_max.map(Millis),
            queue_max: self.queue_max,
            grace: self.grace.map(Millis),
            release_on_disconnect: self.release_on_disconnect,
            sessions_max: self.sessions_max,
            holds_max: self.holds_max,
            session_holds_max: self.session_holds_max,
            session_waits_max: self.session_waits_max,
        }
    }
}

impl<'a> From<engine::OpenSession<'a>> for OpenSession<'a> {
    fn from(open: engine::OpenSession<'a>) -> Self {
        let (keep, grace) = match open.on_disconnect {
            engine::Disconnect::ByPolicy => (None, None),
            engine::Disconnect::Release(grace) => (Some(false), grace.map(|span| span.0)),
            engine::Disconnect::Keep => (Some(true), None),
        };
        Self {
            org: open.org,
            owner: open.owner,
            name: open.name,
            metadata: Bytes(open.metadata),
            role: Role(open.role),
            resume_key: open.resume_key.0,
            disconnect: Disconnect { keep, grace },
        }
    }
}

impl<'a> OpenSession<'a> {
    fn lent(&self) -> engine::OpenSession<'a> {
        let on_disconnect = match self.disconnect.keep {
            None => engine::Disconnect::ByPolicy,
            Some(false) => engine::Disconnect::Release(self.disconnect.grace.map(Millis)),
            Some(true) => engine::Disconnect::Keep,
        };
        engine::OpenSession {
            org: self.org,
            owner: self.owner,
            name: self.name,
            metadata: self.metadata.0,
            role: self.role.0,
            resume_key: ResumeKey(self.resume_key),
            on_disconnect,
        }
    }
}

impl<'a> From<engine::ResumeSession<'a>> for ResumeSession<'a> {
    fn from(resume: engine::ResumeSession<'a>) -> Self {
        Self {
            org: resume.org,
            session: resume.session.0,
            resume_key: resume.resume_key.0,
            role: Role(resume.role),
        }
    }
}

impl<'a> ResumeSession<'a> {
    const fn lent(&self) -> engine::ResumeSession<'a> {
        engine::ResumeSession {
            org: self.org,
            session: SessionId(self.session),
            resume_key: ResumeKey(self.resume_key),
            role: self.role.0,
        }
    }
}

impl<'a> From<engine::Acquire<'a>> for Acquire<'a> {
    fn from(acquire: engine::Acquire<'a>) -> Self {
        Self {
            by: acquire.by.into(),
            path: acquire.path,
            mode: Mode(acquire.mode),
            limit: acquire.limit,
            ttl: acquire.ttl.map(|span| span.0),
            wait: acquire.wait.0,
            note: acquire.note,
            seize: acquire.seize.map(|seize| Seize {
                reason: seize.reason,
                principal: seize.principal,
            }),
            metadata: Bytes(acquire.metadata),
        }
    }
}

impl<'a> Acquire<'a> {
    fn lent(&self) -> engine::Acquire<'a> {
        engine::Acquire {
            by: self.by.lent(),
            path: self.path,
            mode: self.mode.0,
            limit: self.limit,
            ttl: self.ttl.map(Millis),
            wait: Millis(self.wait),
            note: self.note,
            seize: self.seize.as_ref().map(|seize| engine::Seize {
                reason: seize.reason,
                principal: seize.principal,
            }),
            metadata: self.metadata.0,
        }
    }
}

impl<'a> From<engine::AcquireAll<'a>> for AcquireAll<'a> {
    fn from(all: engine::AcquireAll<'a>) -> Self {
        let item = |item: &engine::Item<'a>| Item {
            path: item.path,
            mode: Mode(item.mode),
            limit: item.limit,
        };
        Self {
            by: all.by.into(),
            items: all.items.iter().map(item).collect(),
            ttl: all.ttl.map(|span| span.0),
            wait: all.wait.0,
            metadata: Bytes(all.metadata),
        }
    }
}

impl<'a> AcquireAll<'a> {
    fn lent<'i>(&self, items: &'i [engine::Item<'i>]) -> engine::AcquireAll<'i>
    where
        'a: 'i,
    {
        engine::AcquireAll {
            by: self.by.lent(),
            items,
            ttl: self.ttl.map(Millis),
            wait: Millis(self.wait),
            metadata: self.metadata.0,
        }
    }
}

impl<'a> Item<'a> {
    const fn lent(&self) -> engine::Item<'a> {
        engine::Item {
            path: self.path,
            mode: self.mode.0,
            limit: self.limit,
        }
    }
}

impl<'a> From<engine::Renew<'a>> for Renew<'a> {
    fn from(renew: engine::Renew<'a>) -> Self {
        Self {
            by: renew.by.into(),
            path: renew.path,
            ttl: renew.ttl.map(|span| span.0),
            token: renew.token.map(|token| token.0),
        }
    }
}

impl<'a> Renew<'a> {
    fn lent(&self) -> engine::Renew<'a> {
        engine::Renew {
            by: self.by.lent(),
            path: self.path,
            ttl: self.ttl.map(Millis),
            token: self.token.map(Token),
        }
    }
}

impl<'a> From<engine::Release<'a>> for Release<'a> {
    fn from(release: engine::Release<'a>) -> Self {
        Self {
            by: release.by.into(),
            path: release.path,
            scope: ReleaseScope(release.scope),
            token: release.token.map(|token| token.0),
        }
    }
}

impl<'a> Release<'a> {
    fn lent(&self) -> engine::Release<'a> {
        engine::Release {
            by: self.by.lent(),
            path: self.path,
            scope: self.scope.0,
            token: self.token.map(Token),
        }
    }
}

impl<'a> From<engine::Convert<'a>> for Convert<'a> {
    fn from(convert: engine::Convert<'a>) -> Self {
        Self {
            by: convert.by.into(),
            path: convert.path,
            mode: Mode(convert.mode),
            limit: convert.limit,
            wait: convert.wait.0,
        }
    }
}

impl<'a> Convert<'a> {
    const fn lent(&self) -> engine::Convert<'a> {
        engine::Convert {
            by: self.by.lent(),
            path: self.path,
            mode: self.mode.0,
            limit: self.limit,
            wait: Millis(self.wait),
        }
    }
}

impl<'a> From<engine::ForceRelease<'a>> for ForceRelease<'a> {
    fn from(force: engine::ForceRelease<'a>) -> Self {
        let mut target = Target {
            path: None,
            prefix: None,
            owner: None,
            session: None,
        };
        match force.target {
            engine::Target::Path(path) => target.path = Some(path),
            engine::Target::Prefix(prefix) => target.prefix = Some(prefix),
            engine::Target::Owner(owner) => target.owner = Some(owner),
            engine::Target::Session(session) => target.session = Some(session.0),
            engine::Target::All => {}
        }
        Self {
            org: force.org,
            target,
            after: force.after,
            reason: force.reason,
            principal: force.principal,
        }
    }
}

impl<'a> ForceRelease<'a> {
    fn lent(&self) -> engine::ForceRelease<'a> {
        let target = &self.target;
        let target = (target.path.map(engine::Target::Path))
            .or_else(|| target.prefix.map(engine::Target::Prefix))
            .or_else(|| target.owner.map(engine::Target::Owner))
            .or_else(|| {
                target
                    .session
                    .map(|session| engine::Target::Session(SessionId(session)))
            });
        engine::ForceRelease {
            org: self.org,
            target: target.unwrap_or(engine::Target::All),
            after: self.after,
            reason: self.reason,
            principal: self.principal,
        }
    }
}

/// How many bytes a command takes at most.
pub(in super::super) fn bytes_max(command: &engine::Command<'_>) -> usize {
    /// What every command may have beside its texts: numbers, and the lengths of the texts.
    const FIELDS: usize = 192;
    let text = |text: Option<&str>| text.map_or(0, str::len);
    FIELDS
        + match command {
            engine::Command::Started
            | engine::Command::Tick
            | engine::Command::DetachSession(_)
            | engine::Command::RenewSession(_)
            | engine::Command::CloseSession(_)
            | engine::Command::Cancel { .. } => 0,
            engine::Command::Configure {
                scope, principal, ..
            } => {
                principal.len()
                    + match scope {
                        engine::Scope::Server => 0,
                        engine::Scope::Org(org) => org.len(),
                        engine::Scope::Kind { org, kind } => org.len() + kind.len(),
                    }
            }
            engine::Command::Settle { org, path } => org.len() + path.len(),
            engine::Command::OpenSession(open) => {
                open.org.len() + open.owner.len() + open.name.len() + open.metadata.len()
            }
            engine::Command::ResumeSession(resume) => resume.org.len(),
            engine::Command::Acquire(acquire) => {
                let seize = acquire.seize.as_ref();
                let seize = seize.map_or(0, |seize| seize.reason.len() + seize.principal.len());
                acquire.path.len() + text(acquire.note) + seize + acquire.metadata.len()
            }
            engine::Command::AcquireAll(all) => {
                let items = all.items.iter().map(|item| 16 + item.path.len());
                items.sum::<usize>() + all.metadata.len()
            }
            engine::Command::Renew(renew) => renew.path.len(),
            engine::Command::Release(release) => release.path.len(),
            engine::Command::Convert(convert) => convert.path.len(),
            engine::Command::HandOver { path, .. } | engine::Command::Decline { path, .. } => {
                path.len()
            }
            engine::Command::ForceRelease(force) => {
                let target = match force.target {
                    engine::Target::Path(text)
                    | engine::Target::Prefix(text)
                    | engine::Target::Owner(text) => text.len(),
                    engine::Target::Session(_) | engine::Target::All => 0,
                };
                force.org.len()
                    + target
                    + text(force.after)
                    + force.reason.len()
                    + force.principal.len()
            }
        }
}
