//! Being at a path: who has the document open, what they do there, and who else comes near.
//!
//! A handle and nothing else; what the server is told, and when, is decided in `ledger/sittings.rs`. Rule: saying what
//! somebody does never waits, so it may stand behind every key stroke.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;

use tokio::sync::oneshot;

use crate::error::Result;
use crate::events::Events;
use crate::ledger::{Doing, Ledger, SittingSeed};
use crate::session::Session;
use crate::standing::PresenceCell;
use crate::viewing::{Activity, Collision, PresenceEvent};

impl Session {
    /// Says that the session is at a path: that somebody has the document open, or the chat.
    ///
    /// Gives a builder; `.await` it. Costs one round trip. Whoever looks at the path sees the owner there until the last of
    /// the owner's presences is gone.
    ///
    /// ```no_run
    /// # async fn run(session: tenure_client::Session) -> Result<(), tenure_client::Error> {
    /// use tenure_client::{CollisionLevel, PresenceEvent};
    ///
    /// let here = session.enter("chat/42").await?;
    /// here.typing();
    /// let mut events = here.events();
    /// while let Some(event) = events.next().await {
    ///     if let PresenceEvent::Collision(collision) = event
    ///         && collision.level >= CollisionLevel::Typing
    ///     {
    ///         println!("careful: {:?} at the same", collision.by);
    ///     }
    /// }
    /// # Ok(()) }
    /// ```
    pub fn enter(&self, path: impl Into<Arc<str>>) -> Enter {
        Enter {
            session: self.clone(),
            path: path.into(),
            doing: Doing {
                activity: Activity::Viewing,
                internal: false,
            },
            metadata: Vec::new(),
        }
    }
}

/// A presence about to begin. `.await` it.
///
/// # Errors
/// [`SessionEnded`](crate::ErrorKind::SessionEnded) when the session is over; [`Unavailable`](crate::ErrorKind::Unavailable)
/// when the session is at as many paths as it may, or the path has as many viewers.
#[derive(Debug, Clone)]
#[must_use = "a path is entered when this is awaited"]
pub struct Enter {
    session: Session,
    path: Arc<str>,
    doing: Doing,
    metadata: Vec<u8>,
}

impl Enter {
    /// What is done there to begin with; viewing by default.
    pub const fn activity(mut self, activity: Activity) -> Self {
        self.doing.activity = activity;
        self
    }

    /// Opaque to the server, shown to others with the viewer. At most 256 bytes.
    pub fn metadata(mut self, metadata: impl Into<Vec<u8>>) -> Self {
        self.metadata = metadata.into();
        self
    }

    async fn run(self) -> Result<Presence> {
        let (done, answer) = oneshot::channel();
        let session = self.session;
        let mut unclaimed = Unclaimed {
            session: session.clone(),
            path: Arc::clone(&self.path),
            answer,
        };
        let what = (self.path, self.doing, self.metadata);
        let send = |ledger: &mut Ledger, now, permit| {
            ledger.enter_path(now, permit, session.key(), what, done)
        };
        let exchange = async {
            session.shared().send(send).await?;
            crate::shared::received((&mut unclaimed.answer).await)
        };
        let limit = session.shared().options.request_timeout;
        let seed = crate::shared::within(limit, exchange).await?;
        Ok(Presence {
            here: Some(seed.cell),
            first: seed.first,
            total: seed.total,
            session,
        })
    }
}

impl IntoFuture for Enter {
    type Output = Result<Presence>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.run())
    }
}

/// The answer to an enter. If it comes and nobody takes it, the path is left again.
struct Unclaimed {
    session: Session,
    path: Arc<str>,
    answer: oneshot::Receiver<Result<SittingSeed>>,
}

impl Drop for Unclaimed {
    fn drop(&mut self) {
        self.answer.close();
        if let Ok(Ok(_)) = self.answer.try_recv() {
            leave(&self.session, &self.path);
        }
    }
}

/// A session at a path. Dropping it leaves, when no other of the session is there.
///
/// It goes on over reconnects by itself, also when the session had to be opened again. What is done there is told with
/// [`viewing`](Self::viewing), [`idle`](Self::idle), [`typing`](Self::typing) and [`editing`](Self::editing): each is a sign
/// of life, costs no more than a look when the server knows it already, and is told after the reconnect if there is no
/// connection. Without a sign of life for half an hour (unless the operator chose otherwise) the server takes the session
/// from there, and tells [`Swept`](PresenceEvent::Swept); the next one enters again.
#[must_use = "the path is left when the presence is dropped"]
pub struct Presence {
    /// Taken out when it is used up.
    here: Option<Arc<PresenceCell>>,
    first: bool,
    total: u32,
    session: Session,
}

impl Presence {
    /// The path.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.cell().path
    }

    /// The session that is there.
    #[must_use]
    pub const fn session(&self) -> &Session {
        &self.session
    }

    /// Whether the session was the first of its owner's there when it entered.
    #[must_use]
    pub const fn was_first(&self) -> bool {
        self.first
    }

    /// How many viewers the path had when the session entered, itself included.
    #[must_use]
    pub const fn viewers_then(&self) -> u32 {
        self.total
    }

    /// Somebody looks at it.
    pub fn viewing(&self) {
        self.act(Activity::Viewing, false);
    }

    /// Somebody has it open and does nothing.
    pub fn idle(&self) {
        self.act(Activity::Idle, false);
    }

    /// Somebody writes something. Say it with every key stroke: it is sent when it is news, and then as often as the server
    /// wants it, about every 3 s. It is shown for about 6 s after the last, and ends when the session
    /// [publishes](crate::Publish::session) something at the path.
    pub fn typing(&self) {
        self.act(Activity::Typing, false);
    }

    /// As [`typing`](Self::typing), and shown to members and higher alone: for a note among colleagues. Others see the
    /// owner viewing.
    pub fn typing_internally(&self) {
        self.act(Activity::Typing, true);
    }

    /// Somebody changes it.
    pub fn editing(&self) {
        self.act(Activity::Editing, false);
    }

    /// What others do there, as far as is known.
    #[must_use]
    pub fn collision(&self) -> Collision {
        self.cell().collision()
    }

    /// What happens there from here on: how near others come, and whether the session was taken from there.
    #[must_use]
    pub fn events(&self) -> Events<PresenceEvent> {
        Events::of_presence(self.cell().listen())
    }

    /// Leaves, and says whether the session was the last of its owner's there. Dropping does the same, without saying.
    ///
    /// # Errors
    /// When there is no connection, or no answer in time. The path is left after the reconnect then.
    pub async fn leave(mut self) -> Result<bool> {
        let Some(cell) = self.here.take() else {
            return Ok(false);
        };
        let mut leaving = Leaving {
            session: &self.session,
            path: Some(Arc::clone(&cell.path)),
        };
        let (done, answer) = oneshot::channel();
        let send = |ledger: &mut Ledger, now, permit| {
            let what = (self.session.key(), Arc::clone(&cell.path));
            ledger.leave_for(now, permit, what, done)?;
            leaving.path = None;
            Ok(())
        };
        self.session.shared().request(send, answer).await
    }

    fn act(&self, activity: Activity, internal: bool) {
        let doing = Doing { activity, internal };
        let (shared, key) = (self.session.shared(), self.session.key());
        shared.with(|ledger, now| ledger.act(now, key, &self.cell().path, doing));
    }

    fn cell(&self) -> &Arc<PresenceCell> {
        self.here
            .as_ref()
            .expect("only what uses the presence up takes it out")
    }
}

impl Drop for Presence {
    fn drop(&mut self) {
        if let Some(cell) = self.here.take() {
            leave(&self.session, &cell.path);
        }
    }
}

impl fmt::Debug for Presence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Presence")
            .field("path", &self.cell().path)
            .field("collision", &self.collision())
            .finish_non_exhaustive()
    }
}

/// A leave that was not sent yet. Should it never be, the path is left as if the handle was dropped.
struct Leaving<'s> {
    session: &'s Session,
    path: Option<Arc<str>>,
}

impl Drop for Leaving<'_> {
    fn drop(&mut self) {
        if let Some(path) = self.path.take() {
            leave(self.session, &path);
        }
    }
}

fn leave(session: &Session, path: &Arc<str>) {
    let (shared, key) = (session.shared(), session.key());
    shared.with(|ledger, now| ledger.leave_path(now, key, path));
}
