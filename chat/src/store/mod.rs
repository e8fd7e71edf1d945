//! The companion's database: chats, messages, marks, and what has to be told of them.
//!
//! Each act is one transaction, and its answer comes after a durable commit. What follows from it for others lies in
//! the outbox by the same commit. Knows no HTTP, no token and no Tenure; who asks was found out before. Everything is
//! scoped by organisation, and whoever may not see a chat is told that there is none.

mod access;
mod amending;
mod archive;
mod audit;
mod chats;
mod database;
mod error;
mod history;
mod import;
mod jobs;
pub mod limits;
mod marks;
mod messages;
mod outbox;
mod page;
mod rows;
mod search;
mod types;
mod upkeep;
mod views;
mod words;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify as Signal;
use uuid::{Builder, NoContext, Timestamp, Uuid};

use database::{Database, Transaction};
pub use error::{Error, Result, Thing};
pub use types::*;
pub use upkeep::*;

/// How a database is opened.
#[derive(Clone)]
pub struct StoreOptions {
    /// Connections at most: readers of SQLite, all of PostgreSQL.
    pub connections_max: u32,
    /// How long a request waits for a connection before it fails.
    pub patience: Duration,
    /// What stamps rows.
    pub clock: Arc<dyn Fn() -> UnixMs + Send + Sync>,
}

impl Default for StoreOptions {
    fn default() -> Self {
        Self {
            connections_max: 16,
            patience: Duration::from_secs(5),
            clock: Arc::new(UnixMs::now),
        }
    }
}

/// A database of chats. Cheap to clone; all clones share its connections.
#[derive(Clone)]
pub struct Store {
    shared: Arc<Shared>,
}

/// What all acts use.
struct Shared {
    database: Database,
    clock: Arc<dyn Fn() -> UnixMs + Send + Sync>,
    signal: Arc<Signal>,
}

/// What an act answers.
enum Done<T> {
    /// It has changed something.
    Changed(T),
    /// It was so already.
    Unchanged(T),
}

impl Shared {
    fn now(&self) -> UnixMs {
        (self.clock)()
    }

    /// An id of something that is made at this time.
    fn id_at(&self, at: UnixMs) -> Uuid {
        let ms = u64::try_from(at.0).unwrap_or(0);
        let nanos = u32::try_from(ms % 1_000 * 1_000_000).unwrap_or(0);
        Uuid::new_v7(Timestamp::from_unix(NoContext, ms / 1_000, nanos))
    }

    /// The lowest id of what is made at this time.
    fn first_id_at(&self, at: UnixMs) -> Uuid {
        let ms = u64::try_from(at.0).unwrap_or(0);
        Builder::from_unix_timestamp_millis(ms, &[0; 10]).into_uuid()
    }

    /// Ends an act. What has changed something is committed, and told to who waits for the outbox; in any case what is
    /// answered is durable when this returns.
    async fn settle<T>(&self, tx: Transaction, outcome: Result<Done<T>>) -> Result<T> {
        match outcome {
            Ok(Done::Changed(value)) => {
                self.commit_and_ring(tx).await?;
                Ok(value)
            }
            Ok(Done::Unchanged(value)) => {
                tx.leave().await?;
                Ok(value)
            }
            Err(failed @ Error::Database(_)) => Err(failed),
            Err(refused) => {
                tx.leave().await?;
                Err(refused)
            }
        }
    }

    /// Makes it so, and tells who waits for the outbox.
    async fn commit_and_ring(&self, tx: Transaction) -> Result<()> {
        tx.commit().await?;
        self.signal.notify_one();
        Ok(())
    }
}

impl Store {
    /// Opens `sqlite:PATH` or `postgres://...`, and brings its tables up to date.
    ///
    /// # Errors
    /// [`Error::Unusable`] if the URL is neither, or the database is newer than this program or not one of chats.
    pub async fn open(url: &str, options: StoreOptions) -> Result<Self> {
        let database = Database::open(url, &options).await?;
        Ok(Self {
            shared: Arc::new(Shared {
                database,
                clock: options.clock,
                signal: Arc::default(),
            }),
        })
    }

    /// Answers if the database does.
    ///
    /// # Errors
    /// Whatever keeps it from answering.
    pub async fn ready(&self) -> Result<()> {
        let answer = "SELECT COUNT(*) AS answer FROM chats WHERE org = $1 AND created_by = $1";
        self.shared
            .database
            .row(answer, database::values![""])
            .await
            .map(|_| ())
    }

    /// Statements sent to the database so far, for tests that count them.
    #[must_use]
    pub fn statements(&self) -> u64 {
        self.shared.database.statements()
    }

    /// Rings after a commit of this process that has put something into the outbox.
    #[must_use]
    pub fn outbox_signal(&self) -> Arc<Signal> {
        Arc::clone(&self.shared.signal)
    }

    /// Closes all connections; what is under way is finished first.
    pub async fn close(&self) {
        self.shared.database.close().await;
    }

    /// Makes a chat; whoever makes it takes part.
    ///
    /// # Errors
    /// [`Error::Invalid`].
    pub async fn create_chat(&self, who: &Actor, new: NewChat) -> Result<Stored<ChatView>> {
        chats::create(&self.shared, who, new).await
    }

    /// One chat.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub async fn chat(&self, who: &Actor, chat: ChatId) -> Result<ChatView> {
        views::chat(&self.shared, who, chat).await
    }

    /// One's own chats and those open to the organisation, the one with the newest message first. One statement.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a cursor that was made up.
    pub async fn chats(&self, who: &Actor, page: PageRequest) -> Result<Page<ChatView>> {
        views::chats(&self.shared, who, &page).await
    }

    /// Adds and removes participants. Whoever takes part may add, and leave; others are removed by whoever made the
    /// chat, or by a moderator.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Forbidden`], [`Error::Invalid`] (more than 256 in all).
    pub async fn set_participants(
        &self,
        who: &Actor,
        chat: ChatId,
        add: &[NewParticipant],
        remove: &[String],
    ) -> Result<ChatView> {
        chats::set_participants(&self.shared, who, chat, add, remove).await
    }

    /// Everybody in a chat, with how far.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub async fn members(&self, who: &Actor, chat: ChatId) -> Result<Vec<Member>> {
        chats::members(&self.shared, who, chat).await
    }

    /// Sends a message. The answer comes after a durable commit. A repetition is answered with the original, before
    /// any other refusal; then the lock token is compared, then the view.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Invalid`], [`Error::Mismatch`], [`Error::StaleToken`], [`Error::StaleView`].
    pub async fn send(
        &self,
        who: &Actor,
        chat: ChatId,
        message: NewMessage,
    ) -> Result<Stored<Message>> {
        messages::send(&self.shared, who, chat, message).await
    }

    /// One message.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub async fn message(&self, who: &Actor, chat: ChatId, message: MessageId) -> Result<Message> {
        history::message(&self.shared, who, chat, message).await
    }

    /// Changes what one's own message says.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Forbidden`] (somebody else's), [`Error::Final`] (deleted, archived),
    /// [`Error::Invalid`].
    pub async fn edit(
        &self,
        who: &Actor,
        chat: ChatId,
        message: MessageId,
        body: String,
    ) -> Result<Message> {
        amending::edit(&self.shared, who, chat, message, body).await
    }

    /// Makes a tombstone of a message: one's own, or as a moderator. A second time changes nothing.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Forbidden`].
    pub async fn delete(&self, who: &Actor, chat: ChatId, message: MessageId) -> Result<Message> {
        amending::delete(&self.shared, who, chat, message).await
    }

    /// A part of a history, by number; the archive included.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub async fn history(&self, who: &Actor, chat: ChatId, page: HistoryPage) -> Result<History> {
        history::history(&self.shared, who, chat, page).await
    }

    /// What has changed in a chat after a `rev`; at most 500 rows.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub async fn changes(
        &self,
        who: &Actor,
        chat: ChatId,
        after_rev: i64,
        limit: u32,
    ) -> Result<Changes> {
        history::changes(&self.shared, who, chat, after_rev, limit).await
    }

    /// Says how far one is. What lies beyond the last message is brought down to it.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub async fn mark(&self, who: &Actor, chat: ChatId, mark: Mark) -> Result<Marked> {
        marks::check(mark)?;
        marks::mark(&self.shared, who, chat, mark).await
    }

    /// How far the participants are.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub async fn receipts(&self, who: &Actor, chat: ChatId) -> Result<Receipts> {
        marks::receipts(&self.shared, who, chat).await
    }

    /// What one has not read in the chats one takes part in.
    ///
    /// # Errors
    /// Only those of the database.
    pub async fn unread(&self, who: &Actor) -> Result<UnreadTotals> {
        marks::unread(&self.shared, who).await
    }

    /// Counts again what is unread, and what is there, in the chats of an organisation, or of one person of it, chat
    /// by chat; puts right what was wrong, and leaves a line in the audit log if anything was.
    ///
    /// # Errors
    /// Only those of the database.
    pub async fn recount(&self, org: &str, person: Option<&str>) -> Result<Recounted> {
        marks::recount(&self.shared, org, person).await
    }

    /// Notes that a chat's lock was granted with this token. A lower one than is known changes nothing.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Invalid`] for a token beyond 2^53-1.
    pub async fn record_lock(
        &self,
        who: &Actor,
        chat: ChatId,
        token: i64,
        owner: &str,
    ) -> Result<()> {
        chats::record_lock(&self.shared, who, chat, token, owner).await
    }

    /// Those of these chats (at most 500) that the person may see. One statement.
    ///
    /// # Errors
    /// Only those of the database.
    pub async fn may_see(&self, who: &Actor, chats: &[ChatId]) -> Result<Vec<ChatId>> {
        chats::may_see(&self.shared, who, chats).await
    }

    /// Who may hear of a chat; nobody if there is none.
    ///
    /// # Errors
    /// Only those of the database.
    pub async fn listeners(&self, org: &str, chat: ChatId) -> Result<Option<Listeners>> {
        chats::listeners(&self.shared, org, chat).await
    }

    /// Takes the oldest rows (at most 500) that nobody else has taken, for so long. Within a chat they come in order,
    /// and a chat of which another worker has something is passed over. What is not done in time is given to the next
    /// who asks.
    ///
    /// # Errors
    /// Only those of the database.
    pub async fn outbox_take(
        &self,
        worker: Uuid,
        limit: u32,
        lease: Duration,
    ) -> Result<Vec<OutboxRow>> {
        outbox::take(&self.shared, worker, &[], limit, lease).await
    }

    /// [`outbox_done`](Self::outbox_done) and [`outbox_take`](Self::outbox_take) by one commit: both, or neither.
    ///
    /// # Errors
    /// Only those of the database.
    pub async fn outbox_go_on(
        &self,
        worker: Uuid,
        told: &[i64],
        limit: u32,
        lease: Duration,
    ) -> Result<Vec<OutboxRow>> {
        outbox::take(&self.shared, worker, told, limit, lease).await
    }

    /// These were told: they are gone.
    ///
    /// # Errors
    /// Only those of the database.
    pub async fn outbox_done(&self, ids: &[i64]) -> Result<()> {
        outbox::done(&self.shared, ids).await
    }

    /// Gives back what this worker has taken and not done, so that nobody has to wait for its lease to end.
    ///
    /// # Errors
    /// Only those of the database.
    pub async fn outbox_give_back(&self, worker: Uuid) -> Result<()> {
        outbox::give_back(&self.shared, worker).await
    }

    /// What waits to be told.
    ///
    /// # Errors
    /// Only those of the database.
    pub async fn outbox_lag(&self) -> Result<OutboxLag> {
        outbox::lag(&self.shared).await
    }

    /// Writes a line into the audit log of the actor's organisation.
    ///
    /// # Errors
    /// [`Error::Invalid`].
    pub async fn audit_add(&self, who: &Actor, new: NewAudit) -> Result<()> {
        let mut tx = self.shared.database.begin().await?;
        audit::add(&mut tx, &who.org, &who.id, self.shared.now(), &new).await?;
        tx.commit().await
    }

    /// The audit log of the actor's organisation since then, newest first.
    ///
    /// # Errors
    /// [`Error::Forbidden`] unless an admin asks, [`Error::Invalid`] for a cursor that was made up.
    pub async fn audit(
        &self,
        who: &Actor,
        since: UnixMs,
        page: PageRequest,
    ) -> Result<Page<AuditLine>> {
        audit::audit(&self.shared, who, since, &page).await
    }

    /// Messages that say all of these words, in the chats that one may see, the archive included.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Invalid`] (no word, more than 16, a cursor that was made up).
    pub async fn search(&self, who: &Actor, request: SearchRequest) -> Result<Found> {
        search::search(&self.shared, who, &request).await
    }

    /// The messages after a number, for an export: at most 1,000, the archive included.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub async fn export(
        &self,
        who: &Actor,
        chat: ChatId,
        after_seq: i64,
        limit: u32,
    ) -> Result<Vec<Message>> {
        history::export(&self.shared, who, chat, after_seq, limit).await
    }

    /// The chats that an export of all of one's chats is made of, by rising id: at most 1,000 after this one.
    ///
    /// # Errors
    /// Only those of the database.
    pub async fn export_chats(
        &self,
        who: &Actor,
        after: Option<ChatId>,
        limit: u32,
    ) -> Result<Vec<ChatId>> {
        history::export_chats(&self.shared, who, after, limit).await
    }

    /// Puts messages from elsewhere, at most 1,000 and in their order, behind those of a chat, by one commit, with the
    /// times they had; answers the number of the last. Nobody is told, and whoever takes part has not read them.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Invalid`]; a `client_msg_id` that its sender has used in the chat is an error of
    /// the database, and nothing is imported.
    pub async fn import(&self, org: &str, chat: ChatId, messages: &[Imported]) -> Result<i64> {
        import::import(&self.shared, org, chat, messages).await
    }

    /// How many messages are older than the run's limit and not archived.
    ///
    /// # Errors
    /// Only those of the database.
    pub async fn archive_count(&self, run: &ArchiveRun) -> Result<i64> {
        archive::count(&self.shared, run).await
    }

    /// Moves a batch of old messages of one chat to the archive: of the first chat from this one on that has any. To
    /// be called with what it names as next, until that is nothing. May stop anywhere and begin again at any time.
    ///
    /// # Errors
    /// Only those of the database.
    pub async fn archive_step(
        &self,
        run: &ArchiveRun,
        from: Option<ChatId>,
    ) -> Result<ArchiveStep> {
        archive::step(&self.shared, run, from).await
    }

    /// How many chats without a message have had no activity since.
    ///
    /// # Errors
    /// Only those of the database.
    pub async fn cleanup_count(&self, run: &ArchiveRun) -> Result<i64> {
        archive::cleanup_count(&self.shared, run).await
    }

    /// Cleans up a batch of chats without a message. As [`archive_step`](Self::archive_step).
    ///
    /// # Errors
    /// Only those of the database.
    pub async fn cleanup_step(&self, run: &ArchiveRun) -> Result<ArchiveStep> {
        archive::cleanup_step(&self.shared, run).await
    }

    /// Takes the turn at a job that is done every so often by one worker of all that share the database, if it is free
    /// and due; it is this worker's for as long as the lease. What was begun and not ended is due at once.
    ///
    /// # Errors
    /// [`Error::Unusable`] if there is no such job.
    pub async fn job_take(
        &self,
        job: &str,
        worker: Uuid,
        every: Duration,
        lease: Duration,
    ) -> Result<Turn> {
        jobs::take(&self.shared, job, worker, every, lease).await
    }

    /// Makes the lease longer, from this instant on. Answers whether the turn is this worker's still.
    ///
    /// # Errors
    /// Only those of the database.
    pub async fn job_keep(&self, job: &str, worker: Uuid, lease: Duration) -> Result<bool> {
        jobs::keep(&self.shared, job, worker, lease).await
    }

    /// The job is done: the turn is given back, and it is due again so long after it was begun.
    ///
    /// # Errors
    /// Only those of the database.
    pub async fn job_done(&self, job: &str, worker: Uuid) -> Result<()> {
        jobs::end(&self.shared, job, worker, true).await
    }

    /// The turn is given back, and the job is due.
    ///
    /// # Errors
    /// Only those of the database.
    pub async fn job_give_back(&self, job: &str, worker: Uuid) -> Result<()> {
        jobs::end(&self.shared, job, worker, false).await
    }
}
