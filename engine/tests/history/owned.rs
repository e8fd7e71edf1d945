//! Commands that own what they name, and lend it.
//! The engine borrows its names; a history has to keep them. Decides nothing.

use tenure_engine::{
    Acquire, AcquireAll, Command, Convert, Disconnect, ForceRelease, Item, Millis, Mode,
    OpenSession, PolicyLayer, Release, ReleaseScope, Renew, ResumeKey, ResumeSession, Role, Scope,
    Seize, SessionId, SessionRef, Target, Token, WaitId,
};

/// As [`Command`].
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Owned {
    Started,
    Tick,
    Configure(Scoped, PolicyLayer),
    Settle {
        org: String,
        path: String,
    },
    Open {
        org: String,
        owner: String,
        name: String,
        metadata: Vec<u8>,
        role: Role,
        key: u128,
        lost: Disconnect,
    },
    Resume {
        org: String,
        session: SessionId,
        key: u128,
        role: Role,
    },
    Detach(SessionRef),
    RenewSession(SessionRef),
    Close(SessionRef),
    Acquire {
        by: SessionRef,
        path: String,
        mode: Mode,
        limit: Option<u32>,
        ttl: Option<Millis>,
        wait: Millis,
        note: Option<String>,
        seize: Option<String>,
        metadata: Vec<u8>,
    },
    AcquireAll {
        by: SessionRef,
        items: Vec<OwnedItem>,
        ttl: Option<Millis>,
        wait: Millis,
    },
    Renew {
        by: SessionRef,
        path: String,
        ttl: Option<Millis>,
        token: Option<Token>,
    },
    Release {
        by: SessionRef,
        path: String,
        scope: ReleaseScope,
        token: Option<Token>,
    },
    Cancel {
        by: SessionRef,
        wait: WaitId,
    },
    Convert {
        by: SessionRef,
        path: String,
        mode: Mode,
        limit: Option<u32>,
        wait: Millis,
    },
    HandOver {
        by: SessionRef,
        path: String,
        to: Option<WaitId>,
    },
    Decline {
        by: SessionRef,
        path: String,
        to: WaitId,
    },
    Force {
        org: String,
        target: OwnedTarget,
        after: Option<String>,
        reason: String,
    },
}

/// As [`Scope`].
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Scoped {
    Server,
    Org(String),
    Kind(String, String),
}

/// As [`Item`].
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct OwnedItem {
    pub(crate) path: String,
    pub(crate) mode: Mode,
    pub(crate) limit: Option<u32>,
}

/// As [`Target`].
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum OwnedTarget {
    Path(String),
    Prefix(String),
    Owner(String),
    Session(SessionId),
    All,
}

impl OwnedTarget {
    pub(crate) fn lend(&self) -> Target<'_> {
        match self {
            Self::Path(path) => Target::Path(path),
            Self::Prefix(prefix) => Target::Prefix(prefix),
            Self::Owner(owner) => Target::Owner(owner),
            Self::Session(session) => Target::Session(*session),
            Self::All => Target::All,
        }
    }
}

impl Owned {
    /// One arm for each command: a table of contents.
    pub(crate) fn lend<R>(&self, use_it: impl FnOnce(Command<'_>) -> R) -> R {
        let command = match self {
            Self::Started => Command::Started,
            Self::Tick => Command::Tick,
            Self::Configure(scope, layer) => {
                let scope = match scope {
                    Scoped::Server => Scope::Server,
                    Scoped::Org(org) => Scope::Org(org),
                    Scoped::Kind(org, kind) => Scope::Kind { org, kind },
                };
                Command::Configure {
                    scope,
                    layer: *layer,
                    principal: "operator",
                }
            }
            Self::Settle { org, path } => Command::Settle { org, path },
            Self::Open {
                org,
                owner,
                name,
                metadata,
                role,
                key,
                lost,
            } => Command::OpenSession(OpenSession {
                org,
                owner,
                name,
                metadata,
                role: *role,
                resume_key: ResumeKey(*key),
                on_disconnect: *lost,
            }),
            Self::Resume {
                org,
                session,
                key,
                role,
            } => Command::ResumeSession(ResumeSession {
                org,
                session: *session,
                resume_key: ResumeKey(*key),
                role: *role,
            }),
            Self::Detach(by) => Command::DetachSession(*by),
            Self::RenewSession(by) => Command::RenewSession(*by),
            Self::Close(by) => Command::CloseSession(*by),
            Self::Acquire {
                by,
                path,
                mode,
                limit,
                ttl,
                wait,
                note,
                seize,
                metadata,
            } => Command::Acquire(Acquire {
                by: *by,
                path,
                mode: *mode,
                limit: *limit,
                ttl: *ttl,
                wait: *wait,
                note: note.as_deref(),
                seize: seize.as_deref().map(|reason| Seize {
                    reason,
                    principal: "root",
                }),
                metadata,
            }),
            Self::AcquireAll {
                by,
                items,
                ttl,
                wait,
            } => {
                let items = items.iter().map(|item| Item {
                    path: &item.path,
                    mode: item.mode,
                    limit: item.limit,
                });
                let items: Vec<Item<'_>> = items.collect();
                let (by, ttl, wait) = (*by, *ttl, *wait);
                let all = AcquireAll {
                    by,
                    items: &items,
                    ttl,
                    wait,
                    metadata: b"",
                };
                return use_it(Command::AcquireAll(all));
            }
            Self::Renew {
                by,
                path,
                ttl,
                token,
            } => Command::Renew(Renew {
                by: *by,
                path,
                ttl: *ttl,
                token: *token,
            }),
            Self::Release {
                by,
                path,
                scope,
                token,
            } => Command::Release(Release {
                by: *by,
                path,
                scope: *scope,
                token: *token,
            }),
            Self::Cancel { by, wait } => Command::Cancel {
                by: *by,
                wait: *wait,
            },
            Self::Convert {
                by,
                path,
                mode,
                limit,
                wait,
            } => Command::Convert(Convert {
                by: *by,
                path,
                mode: *mode,
                limit: *limit,
                wait: *wait,
            }),
            Self::HandOver { by, path, to } => Command::HandOver {
                by: *by,
                path,
                to: *to,
            },
            Self::Decline { by, path, to } => Command::Decline {
                by: *by,
                path,
                to: *to,
            },
            Self::Force {
                org,
                target,
                after,
                reason,
            } => Command::ForceRelease(ForceRelease {
                org,
                target: target.lend(),
                after: after.as_deref(),
                reason,
                principal: "root",
            }),
        };
        use_it(command)
    }

    /// The session that speaks, if one does.
    pub(crate) fn by(&self) -> Option<SessionRef> {
        match self {
            Self::Started
            | Self::Tick
            | Self::Configure(..)
            | Self::Settle { .. }
            | Self::Open { .. }
            | Self::Resume { .. }
            | Self::Force { .. } => None,
            Self::Detach(by) | Self::RenewSession(by) | Self::Close(by) => Some(*by),
            Self::Acquire { by, .. }
            | Self::AcquireAll { by, .. }
            | Self::Renew { by, .. }
            | Self::Release { by, .. }
            | Self::Cancel { by, .. }
            | Self::Convert { by, .. }
            | Self::HandOver { by, .. }
            | Self::Decline { by, .. } => Some(*by),
        }
    }
}
