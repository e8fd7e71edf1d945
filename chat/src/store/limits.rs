//! What may come in, and how much of it. Checked before a statement sees it; what is outside is refused with what was
//! expected.
//!
//! No text may hold NUL, which PostgreSQL cannot keep. Lengths are bytes, but for what people read: that is characters.

use super::error::{Error, Result};
use super::types::{Attachment, NewChat, NewMessage, NewParticipant};
use super::upkeep::{Imported, NewAudit};

/// Participants of a chat.
pub const PARTICIPANTS_MAX: usize = 256;
/// Bytes of what a message says.
pub const BODY_MAX: usize = 16_384;
/// What may hang on a message.
pub const ATTACHMENTS_MAX: usize = 16;
/// Characters of a name by which a client knows a message or a chat.
pub const CLIENT_ID_MAX: usize = 64;
/// Bytes of a person's id.
pub const PERSON_MAX: usize = 128;
/// Characters of a person's name, and of a title.
pub const NAME_MAX: usize = 200;
/// Characters of what is looked for.
pub const SEARCH_MAX: usize = 1_024;
/// Messages of one page of a history.
pub const HISTORY_MAX: u32 = 200;
/// Items of one page of a list.
pub const PAGE_MAX: u32 = 100;
/// Rows of one answer about changes.
pub const CHANGES_MAX: u32 = 500;
/// Chats that can be asked about at once, and rows of the outbox that can be taken at once.
pub const BATCH_MAX: u32 = 500;
/// Messages of one part of an export.
pub const EXPORT_MAX: u32 = 1_000;
/// Messages that are imported by one commit.
pub const IMPORT_MAX: usize = 1_000;
/// Everybody in a chat who is listed.
pub const MEMBERS_MAX: i64 = 1_000;
/// Participants of whom each is told about singly.
pub const RECEIPTS_MAX: usize = 100;
/// Messages that are shown to a sender who has missed some.
pub const MISSED_MAX: i64 = 50;
/// Tokens and sizes: what JavaScript reads exactly.
pub const NUMBER_MAX: i64 = (1 << 53) - 1;
/// Bytes of the particulars of an audit line.
pub const DETAIL_MAX: usize = 4_096;

/// Checks a chat that is to be made.
pub(super) fn chat(new: &NewChat) -> Result<()> {
    if let Some(title) = &new.title {
        characters("title", title, 1, NAME_MAX)?;
    }
    if let Some(id) = &new.client_chat_id {
        characters("client_chat_id", id, 1, CLIENT_ID_MAX)?;
    }
    participants(&new.participants)
}

/// Checks people who are to take part.
pub(super) fn participants(people: &[NewParticipant]) -> Result<()> {
    count("participants", people.len(), PARTICIPANTS_MAX)?;
    for NewParticipant { person, name } in people {
        bytes("person", person, 1, PERSON_MAX)?;
        characters("name", name, 0, NAME_MAX)?;
    }
    Ok(())
}

/// Checks people who are to take part no more.
pub(super) fn people(people: &[String]) -> Result<()> {
    count("remove", people.len(), PARTICIPANTS_MAX)?;
    people
        .iter()
        .try_for_each(|person| bytes("person", person, 1, PERSON_MAX))
}

/// Checks a message that is to be sent.
pub(super) fn message(new: &NewMessage) -> Result<()> {
    characters("client_msg_id", &new.client_msg_id, 1, CLIENT_ID_MAX)?;
    count("attachments", new.attachments.len(), ATTACHMENTS_MAX)?;
    new.attachments.iter().try_for_each(attachment)?;
    body(&new.body, !new.attachments.is_empty())?;
    // One below 0 is older than any, and so says: only if it was sent before.
    number("lock_token", new.lock_token.unwrap_or(0).max(0))?;
    number("expected_last_seq", new.expected_last_seq.unwrap_or(0))
}

/// Checks what a message says; one on which something hangs need not say anything.
pub(super) fn body(body: &str, has_attachments: bool) -> Result<()> {
    bytes("body", body, usize::from(!has_attachments), BODY_MAX)
}

/// Checks messages from elsewhere.
pub(super) fn imported(messages: &[Imported]) -> Result<()> {
    if messages.is_empty() || messages.len() > IMPORT_MAX {
        let found = messages.len().to_string();
        return invalid("messages", format!("1 to {IMPORT_MAX}"), found);
    }
    for message in messages {
        characters("client_msg_id", &message.client_msg_id, 1, CLIENT_ID_MAX)?;
        bytes("person", &message.sender.person, 1, PERSON_MAX)?;
        characters("name", &message.sender.name, 0, NAME_MAX)?;
        count("attachments", message.attachments.len(), ATTACHMENTS_MAX)?;
        message.attachments.iter().try_for_each(attachment)?;
        body(&message.body, !message.attachments.is_empty())?;
        number("created_at", message.created_at.0)?;
    }
    Ok(())
}

/// Checks a number that has to be exact in JavaScript.
pub(super) fn number(field: &'static str, number: i64) -> Result<()> {
    if (0..=NUMBER_MAX).contains(&number) {
        return Ok(());
    }
    invalid(field, format!("0 to {NUMBER_MAX}"), number.to_string())
}

/// Checks what is looked for, before its words are taken apart.
pub(super) fn search(text: &str) -> Result<()> {
    characters("q", text, 1, SEARCH_MAX)
}

/// Checks an owner of a lock.
pub(super) fn person(person: &str) -> Result<()> {
    bytes("owner", person, 1, PERSON_MAX)
}

/// Checks a line for the audit log; answers its particulars as text.
pub(super) fn audit(new: &NewAudit) -> Result<String> {
    bytes("act", &new.act, 1, CLIENT_ID_MAX)?;
    let detail = new.detail.to_string();
    bytes("detail", &detail, 0, DETAIL_MAX)?;
    Ok(detail)
}

/// What was asked for, brought within 1 and the most.
pub(super) fn limit(asked: u32, most: u32) -> i64 {
    i64::from(asked.clamp(1, most))
}

fn attachment(attachment: &Attachment) -> Result<()> {
    let Attachment {
        name,
        media_type,
        bytes: size,
        url,
    } = attachment;
    characters("attachment name", name, 1, 255)?;
    bytes("attachment media_type", media_type, 3, 127)?;
    if !media_type.contains('/') {
        return invalid("attachment media_type", "type/subtype", "no slash");
    }
    number("attachment bytes", *size)?;
    bytes("attachment url", url, 1, 2_048)?;
    if !(url.starts_with("https://") || url.starts_with("http://")) {
        return invalid("attachment url", "http:// or https://", "another scheme");
    }
    Ok(())
}

fn characters(field: &'static str, text: &str, least: usize, most: usize) -> Result<()> {
    measured(field, text, text.chars().count(), least, most, "characters")
}

fn bytes(field: &'static str, text: &str, least: usize, most: usize) -> Result<()> {
    measured(field, text, text.len(), least, most, "bytes")
}

fn measured(
    field: &'static str,
    text: &str,
    length: usize,
    least: usize,
    most: usize,
    unit: &str,
) -> Result<()> {
    if !(least..=most).contains(&length) {
        return invalid(
            field,
            format!("{least} to {most} {unit}"),
            length.to_string(),
        );
    }
    if text.contains('\0') {
        return invalid(field, "text without NUL", "NUL");
    }
    Ok(())
}

fn count(field: &'static str, length: usize, most: usize) -> Result<()> {
    if length <= most {
        return Ok(());
    }
    invalid(field, format!("at most {most}"), length.to_string())
}

/// A refusal.
pub(super) fn invalid<T>(
    field: &'static str,
    expected: impl Into<String>,
    found: impl Into<String>,
) -> Result<T> {
    Err(Error::Invalid {
        field,
        expected: expected.into(),
        found: found.into(),
    })
}
