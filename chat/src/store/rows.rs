//! From rows to the words of the store, and to the JSON that it keeps in columns.
//! Knows the names of columns, and no statement.

use std::borrow::Cow;

use serde::de::DeserializeOwned;

use super::access::{self, Standing};
use super::database::Row;
use super::error::{Error, Result};
use super::types::{ChatId, ChatView, Member, Message, MessageId};

/// The columns of a message, in either of its tables.
macro_rules! message_columns {
    () => {
        "id, chat_id, seq, rev, sender, sender_name, client_msg_id, body, attachments, created_at, edited_at, \
         deleted_at, unguarded"
    };
}
pub(super) use message_columns;

/// The columns of somebody in a chat.
macro_rules! member_columns {
    () => {
        "person, name, participating, delivered_seq, read_seq, rev"
    };
}
pub(super) use member_columns;

/// A message, by `message_columns`.
pub(super) fn message(row: &Row) -> Result<Message> {
    message_of(row, "")
}

/// A message whose columns' names begin with this.
fn message_of(row: &Row, prefix: &str) -> Result<Message> {
    let column = |name: &'static str| -> Cow<'static, str> {
        if prefix.is_empty() {
            Cow::Borrowed(name)
        } else {
            Cow::Owned(format!("{prefix}{name}"))
        }
    };
    Ok(Message {
        id: MessageId(row.get(&column("id"))?),
        chat: ChatId(row.get(&column("chat_id"))?),
        seq: row.get(&column("seq"))?,
        rev: row.get(&column("rev"))?,
        sender: row.get(&column("sender"))?,
        sender_name: row.get(&column("sender_name"))?,
        client_msg_id: row.get(&column("client_msg_id"))?,
        body: row.get(&column("body"))?,
        attachments: json(row, &column("attachments"))?,
        created_at: row.time(&column("created_at"))?,
        edited_at: row.maybe_time(&column("edited_at"))?,
        deleted_at: row.maybe_time(&column("deleted_at"))?,
        unguarded: row.flag(&column("unguarded"))?,
    })
}

/// Somebody in a chat, by `member_columns`.
pub(super) fn member(row: &Row) -> Result<Member> {
    Ok(Member {
        person: row.get("person")?,
        name: row.get("name")?,
        participating: row.flag("participating")?,
        delivered_seq: row.get("delivered_seq")?,
        read_seq: row.get("read_seq")?,
        rev: row.get("rev")?,
    })
}

/// What somebody has in a chat.
pub(super) fn standing(row: &Row) -> Result<Standing> {
    Ok(Standing {
        participating: row.flag("participating")?,
        delivered_seq: row.get("delivered_seq")?,
        read_seq: row.get("read_seq")?,
        unread: row.get("unread")?,
    })
}

/// A chat as somebody sees it, by the columns of `views.rs`.
pub(super) fn view(row: &Row) -> Result<ChatView> {
    let last_seq: i64 = row.get("last_seq")?;
    let standing = standing(row)?;
    Ok(ChatView {
        id: ChatId(row.get("id")?),
        audience: access::audience(row)?,
        title: row.get("title")?,
        created_by: row.get("created_by")?,
        created_at: row.time("created_at")?,
        last_activity_at: row.time("last_activity_at")?,
        last_seq,
        rev: row.get("rev")?,
        message_count: row.get("message_count")?,
        last_message: if last_seq > 0 {
            Some(message_of(row, "l_")?)
        } else {
            None
        },
        participants: json(row, "participants")?,
        participant_count: row.get("participant_count")?,
        participating: standing.participating,
        delivered_seq: standing.delivered_seq,
        read_seq: standing.read_seq,
        unread: standing.unread,
        lock_token: row.get("lock_token")?,
        lock_owner: row.get("lock_owner")?,
    })
}

/// A column that holds JSON of our own making.
pub(super) fn json<T: DeserializeOwned>(row: &Row, column: &str) -> Result<T> {
    let text: String = row.get(column)?;
    serde_json::from_str(&text).map_err(|error| {
        Error::Unusable(format!(
            "column {column}: expected JSON of this program's making, found {error}"
        ))
    })
}

/// What is kept as JSON.
pub(super) fn to_json(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).expect("the store's types have no map whose keys are not text")
}
