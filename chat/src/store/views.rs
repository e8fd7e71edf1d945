//! Chats as one person sees them: one, or a list, each by one statement, however many chats there are.
//!
//! The last message of a chat never moves to the archive, so it is found in one place. A list of one's own comes in
//! the order of an index over one's own rows, and one of what is open in that of another; two short lists are merged.

use super::Shared;
use super::access;
use super::database::{Sql, Transaction, values};
use super::error::{Error, Result, Thing};
use super::limits::{self, PAGE_MAX, PARTICIPANTS_MAX};
use super::page::Recent;
use super::rows;
use super::types::{Actor, ChatId, ChatView, Page, PageRequest};

/// Participants of each chat in a list.
const LISTED_PARTICIPANTS: i64 = 16;

macro_rules! columns {
    () => {
        "c.id, c.audience, c.title, c.created_by, c.created_at, c.last_activity_at, c.last_seq, c.rev, \
         c.message_count, c.participant_count, c.lock_token, c.lock_owner, \
         COALESCE(m.participating, 0) AS participating, COALESCE(m.delivered_seq, 0) AS delivered_seq, \
         COALESCE(m.read_seq, 0) AS read_seq, COALESCE(m.unread, c.message_count) AS unread, \
         l.id AS l_id, l.chat_id AS l_chat_id, l.seq AS l_seq, l.rev AS l_rev, l.sender AS l_sender, \
         l.sender_name AS l_sender_name, l.client_msg_id AS l_client_msg_id, l.body AS l_body, \
         l.attachments AS l_attachments, l.created_at AS l_created_at, l.edited_at AS l_edited_at, \
         l.deleted_at AS l_deleted_at, l.unguarded AS l_unguarded"
    };
}

macro_rules! participants {
    () => {
        "FROM (SELECT person, name FROM members WHERE chat_id = c.id AND participating = 1 \
               ORDER BY joined_rev LIMIT $3) p) AS participants"
    };
}

macro_rules! beside {
    () => {
        "LEFT JOIN members m ON m.chat_id = c.id AND m.person = $2 \
         LEFT JOIN messages l ON l.chat_id = c.id AND l.seq = c.last_seq"
    };
}

/// Views of chats `c`: parameter 1 is the organisation, 2 the person, 3 how many participants are shown.
macro_rules! views {
    ($chats:literal, $end:literal) => {
        Sql::each(
            concat!(
                "SELECT ",
                columns!(),
                ", (SELECT json_group_array(json_object('person', p.person, 'name', p.name)) ",
                participants!(),
                " FROM ",
                $chats,
                " ",
                beside!(),
                " ",
                $end
            ),
            concat!(
                "SELECT ",
                columns!(),
                ", (SELECT COALESCE(CAST(json_agg(json_build_object( \
                    'person', p.person, 'name', p.name)) AS TEXT), '[]') ",
                participants!(),
                " FROM ",
                $chats,
                " ",
                beside!(),
                " ",
                $end
            ),
        )
    };
}

const ONE: Sql = views!(
    "chats c",
    "WHERE c.id = $4 AND c.org = $1 AND (m.participating = 1 OR c.audience + $5 >= 2)"
);

const LIST: Sql = views!(
    "(SELECT * FROM (SELECT chat_id AS id, last_activity_at FROM members \
            WHERE org = $1 AND person = $2 AND participating = 1 AND (last_activity_at, chat_id) < ($4, $5) \
            ORDER BY last_activity_at DESC, chat_id DESC LIMIT $6) own \
      UNION SELECT * FROM (SELECT id, last_activity_at FROM chats \
            WHERE org = $1 AND audience = 1 AND $7 > 0 AND (last_activity_at, id) < ($4, $5) \
            ORDER BY last_activity_at DESC, id DESC LIMIT $6) opened) listed \
     JOIN chats c ON c.id = listed.id",
    "ORDER BY c.last_activity_at DESC, c.id DESC LIMIT $6"
);

/// One chat.
pub(super) async fn chat(store: &Shared, who: &Actor, chat: ChatId) -> Result<ChatView> {
    let row = store.database.row(ONE, one(who, chat)).await?;
    rows::view(&row.ok_or(Error::NotFound(Thing::Chat))?)
}

/// One chat, as it is within a transaction.
pub(super) async fn chat_in(tx: &mut Transaction, who: &Actor, chat: ChatId) -> Result<ChatView> {
    let row = tx.row(ONE, one(who, chat)).await?;
    rows::view(&row.ok_or(Error::NotFound(Thing::Chat))?)
}

fn one(who: &Actor, chat: ChatId) -> Vec<super::database::Value> {
    let everybody = i64::try_from(PARTICIPANTS_MAX).unwrap_or(i64::MAX);
    values![&who.org, &who.id, everybody, chat, access::sight(who)]
}

/// A page of the chats that somebody takes part in or that are open, the newest activity first.
pub(super) async fn chats(
    store: &Shared,
    who: &Actor,
    page: &PageRequest,
) -> Result<Page<ChatView>> {
    let after = Recent::parse(page.cursor.as_deref())?;
    let limit = limits::limit(page.limit, PAGE_MAX);
    let listed = values![
        &who.org,
        &who.id,
        LISTED_PARTICIPANTS,
        after.at,
        after.id,
        limit + 1,
        access::sight(who),
    ];
    let rows = store.database.rows(LIST, listed).await?;
    let items = rows.iter().map(rows::view).collect::<Result<Vec<_>>>()?;
    Ok(Page::cut(items, limit, |last| {
        Recent {
            at: last.last_activity_at,
            id: last.id.0,
        }
        .to_string()
    }))
}
