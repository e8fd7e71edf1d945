//! Requests, as work for a shard. What is refused here is refused because of who asks, not of what the locks are.
//! Must hold: an item names a session only together with the attachment that this connection has of it.

use tenure_engine::presence::{Audience as Sees, Command as Presence};
use tenure_engine::{
    Acquire, Command, Convert, ForceRelease, Item as LockItem, List, Millis, OpenSession, Query,
    Release, Renew, ResumeKey as EngineKey, ResumeSession, Role, Scope, Seize, SessionId,
    SessionRef, Token, WaitId,
};
use tenure_protocol::{ErrorCode, Request, RequestKind, ResumeKey, limits, request};

use super::attached::Attached;
use super::audit;
use super::presence::{self, PresenceWork};
use super::streams::StreamWork;
use super::terms::{disconnect, layer, mode, role, scope, target};
use super::{All, Item, Work};
use crate::access::Principal;
use crate::homes::{Homes, ShardIndex};
use crate::streams::{Audience, FILTERS_MAX, Publish, SUBSCRIPTIONS_MAX, Subscribe, Subscriptions};

/// Sessions of one connection at once. A service speaks for thousands of people; this bounds what its crash costs.
pub(crate) const SESSIONS_MAX: usize = 100_000;

/// Who asks, and for which sessions it speaks.
pub(crate) struct Asker<'c, 'a> {
    pub(crate) homes: Homes,
    pub(crate) principal: &'a Principal,
    /// Number of the connection.
    pub(crate) connection: u64,
    pub(crate) sessions: &'c Attached,
    pub(crate) subscriptions: &'c mut Subscriptions,
    /// Where the work goes. It is made where it is to lie, since it is large.
    pub(crate) items: &'c mut Vec<Item<'a>>,
}

/// Why a request is refused before it comes to a shard.
#[derive(Debug)]
pub(crate) struct Refused {
    pub(crate) code: ErrorCode,
    pub(crate) message: String,
}

impl Refused {
    fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
        }
    }
}

/// Told to whoever names a session that may not speak there.
pub(crate) const OF_ANOTHER_ORG: &str = "the session is not attached here, or is of another org";

impl<'a> Asker<'_, 'a> {
    /// Adds the work that a request is. Hello, ping and the renewal of sessions are none, and are the connection's. In line,
    /// for callers that know which request it is.
    #[inline(always)]
    pub(crate) fn add(&mut self, id: u64, request: &Request<'a>) -> Result<(), Refused> {
        let kind = request.kind();
        self.may(kind)?;
        match request {
            Request::SessionOpen(open) => self.open(id, open),
            Request::SessionResume(resume) => self.resume(id, resume),
            Request::SessionClose(close) => {
                let (shard, by) = self.own_session(close.session)?;
                self.add_command(shard, id, kind, Command::CloseSession(by));
                Ok(())
            }
            Request::LockAcquire(acquire) => self.acquire(id, acquire),
            Request::LockAcquireAll(all) => self.acquire_all(id, all),
            Request::LockRenew(renew) => {
                let (shard, by) = self.own_session(renew.session)?;
                let command = Command::Renew(Renew {
                    by,
                    path: renew.path,
                    ttl: renew.ttl_ms.map(Millis),
                    token: renew.token.map(Token),
                });
                self.add_command(shard, id, kind, command);
                Ok(())
            }
            Request::LockRelease(release) => {
                let (shard, by) = self.own_session(release.session)?;
                let command = Command::Release(Release {
                    by,
                    path: release.path,
                    scope: scope(release.scope),
                    token: release.token.map(Token),
                });
                self.add_command(shard, id, kind, command);
                Ok(())
            }
            Request::LockCancel(cancel) => {
                let (shard, by) = self.own_session(cancel.session)?;
                let wait = self.wait(cancel.session, cancel.wait)?;
                self.add_command(shard, id, kind, Command::Cancel { by, wait });
                Ok(())
            }
            Request::LockConvert(convert) => {
                let (shard, by) = self.own_session(convert.session)?;
                let command = Command::Convert(Convert {
                    by,
                    path: convert.path,
                    mode: mode(convert.mode),
                    limit: convert.limit,
                    wait: Millis(convert.wait_ms),
                });
                self.add_command(shard, id, kind, command);
                Ok(())
            }
            Request::LockHandOver(hand) => {
                let (shard, by) = self.own_session(hand.session)?;
                let to = hand.to.map(|wait| self.wait(hand.session, wait));
                let (path, to) = (hand.path, to.transpose()?);
                self.add_command(shard, id, kind, Command::HandOver { by, path, to });
                Ok(())
            }
            Request::LockDecline(decline) => {
                let (shard, by) = self.own_session(decline.session)?;
                let (path, to) = (decline.path, self.wait(decline.session, decline.to)?);
                self.add_command(shard, id, kind, Command::Decline { by, path, to });
                Ok(())
            }
            Request::LockForceRelease(force) => self.force_release(id, force),
            Request::LockStatus(status) => self.in_org(id, kind, status.org, || {
                Work::Query(Query::Status {
                    org: status.org,
                    path: status.path,
                })
            }),
            Request::LockList(list) => self.list(id, list),
            Request::LockCheck(check) => self.in_org(id, kind, check.org, || {
                let token = Token(check.token);
                Work::Query(Query::Check {
                    org: check.org,
                    path: check.path,
                    token,
                })
            }),
            Request::PolicySet(set) => self.in_org(id, kind, set.org, || {
                let org = set.org;
                let scope = set
                    .kind
                    .map_or(Scope::Org(org), |kind| Scope::Kind { org, kind });
                Work::Command(Command::Configure {
                    scope,
                    layer: layer(&set.layer),
                    principal: &self.principal.name,
                })
            }),
            Request::PolicyGet(get) => self.in_org(id, kind, get.org, || {
                Work::Query(Query::Policy {
                    org: get.org,
                    kind: get.kind,
                })
            }),
            Request::AuditList(list) => {
                self.in_org(id, kind, list.org, || Work::Audit(audit::work(list)))
            }
            Request::Hello(_) | Request::Ping(_) | Request::SessionRenew(_) => Err(Refused::new(
                ErrorCode::Internal,
                "the connection answers this itself",
            )),
            Request::StreamSubscribe(subscribe) => self.subscribe(id, subscribe),
            Request::StreamUnsubscribe(unsubscribe) => {
                self.unsubscribe(id, unsubscribe.subscription)
            }
            Request::StreamPublish(publish) => self.publish(id, publish),
            Request::StreamStats(stats) => self.in_org(id, kind, stats.org, || {
                Work::Stream(Box::new(StreamWork::Stats {
                    org: stats.org,
                    path: stats.path,
                }))
            }),
            Request::PresenceEnter(enter) => {
                self.attend(id, kind, enter.session, |by| presence::enter(by, enter))
            }
            Request::PresenceUpdate(update) => {
                self.attend(id, kind, update.session, |by| presence::update(by, update))
            }
            Request::PresenceLeave(leave) => {
                self.attend(id, kind, leave.session, |by| Presence::Leave {
                    by,
                    path: leave.path,
                })
            }
            Request::PresenceList(list) => {
                let listed = presence::list(list, self.sees());
                self.in_org(id, kind, list.org, || {
                    Work::Presence(PresenceWork::List(listed))
                })
            }
            Request::PresenceStats(stats) => {
                let (org, audience) = (stats.org, self.sees());
                self.in_org(id, kind, org, || {
                    Work::Presence(PresenceWork::Stats { org, audience })
                })
            }
        }
    }

    /// Whether the principal may ask this at all.
    pub(crate) fn may(&self, kind: RequestKind) -> Result<(), Refused> {
        if self.principal.may_act_as(role(kind.least_role())) {
            return Ok(());
        }
        let message = format!(
            "{kind} needs the role {} at least; ask with another key",
            kind.least_role()
        );
        Err(Refused::new(ErrorCode::RoleTooLow, message))
    }

    fn may_speak_for(&self, org: &str) -> Result<ShardIndex, Refused> {
        if self.principal.may_speak_for(org) {
            return Ok(self.homes.of_org(org));
        }
        let message = format!(
            "the key of {} is not for the org {org}",
            self.principal.name
        );
        Err(Refused::new(ErrorCode::OrgNotAllowed, message))
    }

    #[inline]
    fn add_work(&mut self, shard: ShardIndex, id: u64, kind: RequestKind, work: Work<'a>) {
        self.items.push(Item {
            shard,
            id,
            kind,
            work,
            resume_key: None,
        });
    }

    #[inline]
    fn add_command(&mut self, shard: ShardIndex, id: u64, kind: RequestKind, command: Command<'a>) {
        self.add_work(shard, id, kind, Work::Command(command));
    }

    fn add_stream_work(
        &mut self,
        shard: ShardIndex,
        id: u64,
        kind: RequestKind,
        work: StreamWork<'a>,
    ) {
        self.add_work(shard, id, kind, Work::Stream(Box::new(work)));
    }

    fn in_org(
        &mut self,
        id: u64,
        kind: RequestKind,
        org: &str,
        work: impl FnOnce() -> Work<'a>,
    ) -> Result<(), Refused> {
        let shard = self.may_speak_for(org)?;
        self.add_work(shard, id, kind, work());
        Ok(())
    }

    fn attend(
        &mut self,
        id: u64,
        kind: RequestKind,
        number: u64,
        command: impl FnOnce(SessionRef) -> Presence<'a>,
    ) -> Result<(), Refused> {
        let (shard, by) = self.own_session(number)?;
        let work = Work::Presence(PresenceWork::Command(command(by)));
        self.add_work(shard, id, kind, work);
        Ok(())
    }

    /// As whom the principal sees others.
    fn sees(&self) -> Sees {
        Sees::of(self.principal.role)
    }

    #[inline(always)]
    fn own_session(&self, number: u64) -> Result<(ShardIndex, SessionRef), Refused> {
        self.sessions.get(number).ok_or_else(|| {
            let message = "this connection has no such session; open one, or resume it here";
            Refused::new(ErrorCode::NotAttached, message)
        })
    }

    /// A wait lives in the shard of its session.
    fn wait(&self, session: u64, wait: u64) -> Result<WaitId, Refused> {
        let (shard, number) = self.homes.of_number(wait);
        if shard != self.homes.of_number(session).0 {
            let message = "the session has no such wait (any more)";
            return Err(Refused::new(ErrorCode::UnknownWait, message));
        }
        Ok(WaitId(number))
    }

    fn open(&mut self, id: u64, open: &request::OpenSession<'a>) -> Result<(), Refused> {
        if self.sessions.len() >= SESSIONS_MAX {
            let message = format!("a connection has at most {SESSIONS_MAX} sessions");
            return Err(Refused::new(ErrorCode::TooManySessions, message));
        }
        let role = open.role.map_or(self.principal.role, role);
        if role > self.principal.role {
            let message = "a session's role is at most its connection's";
            return Err(Refused::new(ErrorCode::RoleTooLow, message));
        }
        let shard = self.may_speak_for(open.org)?;
        let resume_key = random_key();
        let command = Command::OpenSession(OpenSession {
            org: open.org,
            owner: open.owner,
            name: open.name,
            metadata: open.metadata,
            role,
            resume_key: key(resume_key),
            on_disconnect: disconnect(open.on_disconnect),
        });
        self.items.push(Item {
            shard,
            id,
            kind: RequestKind::SessionOpen,
            work: Work::Command(command),
            resume_key: Some(resume_key),
        });
        Ok(())
    }

    fn resume(&mut self, id: u64, resume: &request::ResumeSession<'a>) -> Result<(), Refused> {
        let (shard, session) = self.homes.of_number(resume.session);
        let command = Command::ResumeSession(ResumeSession {
            org: resume.org,
            session: SessionId(session),
            resume_key: key(resume.resume_key),
            role: self.principal.role,
        });
        if self.may_speak_for(resume.org)? != shard {
            let message = "the org has no such session; open one anew";
            return Err(Refused::new(ErrorCode::UnknownSession, message));
        }
        self.add_command(shard, id, RequestKind::SessionResume, command);
        Ok(())
    }

    fn acquire(&mut self, id: u64, acquire: &request::Acquire<'a>) -> Result<(), Refused> {
        let (shard, by) = self.own_session(acquire.session)?;
        let principal = &*self.principal.name;
        let command = Command::Acquire(Acquire {
            by,
            path: acquire.path,
            mode: mode(acquire.mode),
            limit: acquire.limit,
            ttl: acquire.ttl_ms.map(Millis),
            wait: Millis(acquire.wait_ms),
            note: acquire.note,
            seize: acquire.seize.map(|reason| Seize { reason, principal }),
            metadata: acquire.metadata,
        });
        self.add_command(shard, id, RequestKind::LockAcquire, command);
        Ok(())
    }

    fn acquire_all(&mut self, id: u64, all: &request::AcquireAll<'a>) -> Result<(), Refused> {
        let (shard, by) = self.own_session(all.session)?;
        let items = all.items.iter().map(|item| LockItem {
            path: item.path,
            mode: mode(item.mode),
            limit: item.limit,
        });
        let work = All {
            by,
            items: items.collect(),
            ttl: all.ttl_ms.map(Millis),
            wait: Millis(all.wait_ms),
            metadata: all.metadata,
        };
        let work = Work::AcquireAll(Box::new(work));
        self.add_work(shard, id, RequestKind::LockAcquireAll, work);
        Ok(())
    }

    fn force_release(&mut self, id: u64, force: &request::ForceRelease<'a>) -> Result<(), Refused> {
        let org = force.org;
        let kind = RequestKind::LockForceRelease;
        let shard = self.may_speak_for(org)?;
        let target = target(self.homes, shard, force.target);
        let work = if force.dry_run {
            Work::Query(Query::List(List {
                org,
                target,
                mode: None,
                held_min: Millis::ZERO,
                after: force.cursor,
                page: limits::PAGE.max as u32,
            }))
        } else {
            Work::Command(Command::ForceRelease(ForceRelease {
                org,
                target,
                after: force.cursor,
                reason: force.reason,
                principal: &self.principal.name,
            }))
        };
        self.add_work(shard, id, kind, work);
        Ok(())
    }

    fn subscribe(&mut self, id: u64, subscribe: &request::Subscribe<'a>) -> Result<(), Refused> {
        let org = subscribe.org;
        let shard = self.may_speak_for(org)?;
        let number = self
            .subscriptions
            .begin(org, shard, subscribe.filters.len());
        let Some(subscription) = number else {
            let message = format!(
                "a connection has at most {SUBSCRIPTIONS_MAX} subscriptions with {FILTERS_MAX} filters"
            );
            return Err(Refused::new(ErrorCode::TooManySubscriptions, message));
        };
        let audience = if self.principal.may_act_as(Role::Member) {
            Audience::Insiders
        } else {
            Audience::Everyone
        };
        let work = StreamWork::Subscribe(Subscribe {
            connection: self.connection,
            subscription,
            audience,
            org,
            filters: subscribe.filters.clone(),
            since: subscribe.since,
            presence: subscribe.presence,
        });
        self.add_stream_work(shard, id, RequestKind::StreamSubscribe, work);
        Ok(())
    }

    fn unsubscribe(&mut self, id: u64, subscription: u64) -> Result<(), Refused> {
        let Some(ended) = self.subscriptions.end(subscription) else {
            let message = "this connection has no such subscription (any more)";
            return Err(Refused::new(ErrorCode::UnknownSubscription, message));
        };
        let work = StreamWork::Unsubscribe {
            org: ended.org,
            connection: self.connection,
            subscription,
        };
        let kind = RequestKind::StreamUnsubscribe;
        self.add_stream_work(ended.shard, id, kind, work);
        Ok(())
    }

    fn publish(&mut self, id: u64, publish: &request::Publish<'a>) -> Result<(), Refused> {
        let shard = self.may_speak_for(publish.org)?;
        let session = match publish.session {
            None => None,
            Some(number) => {
                let (home, by) = self.own_session(number)?;
                if home != shard {
                    return Err(Refused::new(ErrorCode::NotAttached, OF_ANOTHER_ORG));
                }
                Some(by)
            }
        };
        let work = StreamWork::Publish {
            publish: Publish {
                org: publish.org,
                path: publish.path,
                event: publish.event,
                payload: publish.payload,
                id: publish.event_id,
            },
            session,
        };
        self.add_stream_work(shard, id, RequestKind::StreamPublish, work);
        Ok(())
    }

    fn list(&mut self, id: u64, list: &request::List<'a>) -> Result<(), Refused> {
        let shard = self.may_speak_for(list.org)?;
        let target = target(self.homes, shard, list.target);
        let work = Work::Query(Query::List(List {
            org: list.org,
            target,
            mode: list.mode.map(mode),
            held_min: Millis(list.held_min_ms),
            after: list.cursor,
            page: list.page,
        }));
        self.add_work(shard, id, RequestKind::LockList, work);
        Ok(())
    }
}

const fn key(key: ResumeKey) -> EngineKey {
    EngineKey(u128::from_be_bytes(key.0))
}

fn random_key() -> ResumeKey {
    let mut key = [0; limits::RESUME_KEY_BYTES];
    aws_lc_rs::rand::fill(&mut key).expect("the operating system gives random bytes");
    ResumeKey(key)
}
