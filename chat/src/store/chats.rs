//! Making chats, and who takes part in them.
//!
//! Whoever joins has read what was said before: a newcomer's marks begin at the last message, so that "read by all"
//! never goes back. Whoever leaves stays as a row that does not take part, and is counted on, so that its marks hold
//! when it comes back.

use std::collections::HashSet;

use serde::Serialize;
use uuid::Uuid;

use super::access::{self, Seen};
use super::database::{Sql, Transaction, values};
use super::error::{Error, Result};
use super::limits::{self, BATCH_MAX, MEMBERS_MAX, PARTICIPANTS_MAX};
use super::outbox::{self, Told};
use super::rows::{self, member_columns};
use super::types::{
    Actor, Audience, ChatId, ChatView, Member, NewChat, NewParticipant, Participant, Role, Stored,
    UnixMs,
};
use super::upkeep::{EventName, Listeners, Notify};
use super::views;
use super::{Done, Shared};

/// Makes a chat, in which whoever makes it takes part.
pub(super) async fn create(store: &Shared, who: &Actor, new: NewChat) -> Result<Stored<ChatView>> {
    limits::chat(&new)?;
    access::no_guest(who)?;
    let people = with_maker(who, &new.participants);
    at_most_all(people.len())?;
    let now = store.now();
    let chat = ChatId(store.id_at(now));
    let mut tx = store.database.begin().await?;
    let made = create_in(&mut tx, who, (chat, now), new, &people).await;
    store.settle(tx, made).await
}

async fn create_in(
    tx: &mut Transaction,
    who: &Actor,
    (chat, now): (ChatId, UnixMs),
    new: NewChat,
    people: &[NewParticipant],
) -> Result<Done<Stored<ChatView>>> {
    let NewChat {
        audience,
        title,
        client_chat_id,
        ..
    } = new;
    let count = i64::try_from(people.len()).unwrap_or(i64::MAX);
    let made = tx
        .run(
            "INSERT INTO chats (id, org, audience, title, created_by, created_at, client_chat_id, last_activity_at, \
                 rev, participant_count) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $6, $8, $8) \
             ON CONFLICT (org, created_by, client_chat_id) DO NOTHING",
            values![
                chat,
                &who.org,
                audience == Audience::Org,
                title.clone(),
                &who.id,
                now,
                client_chat_id.clone(),
                count,
            ],
        )
        .await?;
    if made == 0 {
        let chat = made_before(tx, who, client_chat_id).await?;
        let view = views::chat_in(tx, who, chat).await?;
        return Ok(Done::Unchanged(Stored::Replayed(view)));
    }
    let joining = Joining {
        rev: 0,
        last_seq: 0,
        last_activity_at: now,
    };
    join(tx, who, chat, people, &joining).await?;
    let payload = ChatCreated {
        chat,
        rev: count,
        audience,
        title,
        participants: people.iter().map(participant).collect(),
    };
    let told = Told {
        event: EventName::ChatCreated,
        rev: count,
        payload: rows::to_json(&payload),
        notify: nothing_unread(people.iter().map(|new| &new.person), who),
    };
    outbox::tell(tx, who, chat, now, told).await?;
    let view = views::chat_in(tx, who, chat).await?;
    Ok(Done::Changed(Stored::New(view)))
}

/// Adds and removes participants.
pub(super) async fn set_participants(
    store: &Shared,
    who: &Actor,
    chat: ChatId,
    add: &[NewParticipant],
    remove: &[String],
) -> Result<ChatView> {
    limits::participants(add)?;
    limits::people(remove)?;
    let mut tx = store.database.begin().await?;
    let set = set_in(&mut tx, who, (chat, store.now()), add, remove).await;
    store.settle(tx, set).await
}

async fn set_in(
    tx: &mut Transaction,
    who: &Actor,
    (chat, now): (ChatId, UnixMs),
    add: &[NewParticipant],
    remove: &[String],
) -> Result<Done<ChatView>> {
    let seen = access::lock(tx, who, chat).await?;
    may_change(who, &seen, add, remove)?;
    let current = participating(tx, chat).await?;
    let removed: Vec<String> = unique(remove.iter().cloned())
        .filter(|person| current.contains(person))
        .collect();
    let added: Vec<NewParticipant> = unique_people(add)
        .filter(|new| !current.contains(&new.person) || removed.contains(&new.person))
        .collect();
    let staying = current.len() - removed.len() + added.len();
    at_most_all(staying)?;
    if added.is_empty() && removed.is_empty() {
        return Ok(Done::Unchanged(views::chat_in(tx, who, chat).await?));
    }
    leave(tx, chat, &removed, seen.rev).await?;
    let joining = Joining {
        rev: seen.rev + length(&removed),
        last_seq: seen.last_seq,
        last_activity_at: seen.last_activity_at,
    };
    join(tx, who, chat, &added, &joining).await?;
    let rev = joining.rev + length(&added);
    let count = i64::try_from(staying).unwrap_or(i64::MAX);
    tx.run(
        "UPDATE chats SET rev = $2, participant_count = $3 WHERE id = $1",
        values![chat, rev, count],
    )
    .await?;
    let touched = added.iter().map(|new| &new.person).chain(&removed);
    let told = Told {
        event: EventName::ParticipantsChanged,
        rev,
        notify: nothing_unread(touched, who),
        payload: rows::to_json(&ParticipantsChanged {
            chat,
            rev,
            added: added.iter().map(participant).collect(),
            removed,
        }),
    };
    outbox::tell(tx, who, chat, now, told).await?;
    Ok(Done::Changed(shown_to(tx, who, chat).await?))
}

/// Everybody in a chat, with how far.
pub(super) async fn members(store: &Shared, who: &Actor, chat: ChatId) -> Result<Vec<Member>> {
    let mut tx = store.database.snapshot().await?;
    access::look_in(&mut tx, who, chat).await?;
    let members = concat!(
        "SELECT ",
        member_columns!(),
        " FROM members WHERE chat_id = $1 ORDER BY joined_rev, person LIMIT $2"
    );
    let rows = tx.rows(members, values![chat, MEMBERS_MAX]).await?;
    rows.iter().map(rows::member).collect()
}

/// Those of these chats that somebody may see.
pub(super) async fn may_see(store: &Shared, who: &Actor, chats: &[ChatId]) -> Result<Vec<ChatId>> {
    if chats.len() > usize::try_from(BATCH_MAX).unwrap_or(usize::MAX) {
        return limits::invalid(
            "chats",
            format!("at most {BATCH_MAX}"),
            chats.len().to_string(),
        );
    }
    const VISIBLE: Sql = Sql::each(
        "SELECT c.id FROM chats c LEFT JOIN members m ON m.chat_id = c.id AND m.person = $3 \
         WHERE c.id IN (SELECT unhex(value) FROM json_each($1)) AND c.org = $2 \
             AND (m.participating = 1 OR c.audience + $4 >= 2)",
        "SELECT c.id FROM chats c LEFT JOIN members m ON m.chat_id = c.id AND m.person = $3 \
         WHERE c.id = ANY($1) AND c.org = $2 AND (m.participating = 1 OR c.audience + $4 >= 2)",
    );
    let ids: Vec<Uuid> = chats.iter().map(|chat| chat.0).collect();
    let rows = store
        .database
        .rows(VISIBLE, values![ids, &who.org, &who.id, access::sight(who)])
        .await?;
    rows.iter().map(|row| Ok(ChatId(row.get("id")?))).collect()
}

/// Who may hear of a chat.
pub(super) async fn listeners(
    store: &Shared,
    org: &str,
    chat: ChatId,
) -> Result<Option<Listeners>> {
    let everybody = "SELECT c.audience, m.person FROM chats c \
                     LEFT JOIN members m ON m.chat_id = c.id AND m.participating = 1 \
                     WHERE c.id = $1 AND c.org = $2";
    let rows = store.database.rows(everybody, values![chat, org]).await?;
    let Some(first) = rows.first() else {
        return Ok(None);
    };
    let audience = access::audience(first)?;
    let people = rows
        .iter()
        .map(|row| row.get::<Option<String>>("person"))
        .collect::<Result<Vec<_>>>()?;
    Ok(Some(Listeners {
        audience,
        people: people.into_iter().flatten().collect(),
    }))
}

/// Notes the token of a chat's lock, unless a higher one is known.
pub(super) async fn record_lock(
    store: &Shared,
    who: &Actor,
    chat: ChatId,
    token: i64,
    owner: &str,
) -> Result<()> {
    limits::number("lock_token", token)?;
    limits::person(owner)?;
    let seen = access::look(&store.database, who, chat).await?;
    if token <= seen.lock_token {
        return Ok(());
    }
    let mut tx = store.database.begin().await?;
    tx.run(
        "UPDATE chats SET lock_token = $3, lock_owner = $4 WHERE id = $1 AND org = $2 AND lock_token < $3",
        values![chat, &who.org, token, owner],
    )
    .await?;
    tx.commit().await
}

/// Where a newcomer begins.
struct Joining {
    rev: i64,
    last_seq: i64,
    last_activity_at: UnixMs,
}

async fn join(
    tx: &mut Transaction,
    who: &Actor,
    chat: ChatId,
    people: &[NewParticipant],
    joining: &Joining,
) -> Result<()> {
    const JOIN: Sql = Sql::each(
        "INSERT INTO members (chat_id, person, org, name, participating, joined_rev, delivered_seq, read_seq, unread, \
             rev, last_activity_at) \
         SELECT $1, p.value, $2, n.value, 1, $3 + p.key + 1, $4, $4, 0, $3 + p.key + 1, $5 \
             FROM json_each($6) p JOIN json_each($7) n ON n.key = p.key WHERE true \
         ON CONFLICT (chat_id, person) DO UPDATE SET name = excluded.name, participating = 1, \
             joined_rev = excluded.joined_rev, rev = excluded.rev, delivered_seq = excluded.delivered_seq, \
             read_seq = excluded.read_seq, unread = 0",
        "INSERT INTO members (chat_id, person, org, name, participating, joined_rev, delivered_seq, read_seq, unread, \
             rev, last_activity_at) \
         SELECT $1, p.person, $2, p.name, 1, $3 + p.place, $4, $4, 0, $3 + p.place, $5 \
             FROM unnest($6::text[], $7::text[]) WITH ORDINALITY AS p (person, name, place) \
         ON CONFLICT (chat_id, person) DO UPDATE SET name = excluded.name, participating = 1, \
             joined_rev = excluded.joined_rev, rev = excluded.rev, delivered_seq = excluded.delivered_seq, \
             read_seq = excluded.read_seq, unread = 0",
    );
    if people.is_empty() {
        return Ok(());
    }
    let persons: Vec<String> = people.iter().map(|new| new.person.clone()).collect();
    let names: Vec<String> = people.iter().map(|new| new.name.clone()).collect();
    let joined = values![
        chat,
        &who.org,
        joining.rev,
        joining.last_seq,
        joining.last_activity_at,
        persons,
        names,
    ];
    tx.run(JOIN, joined).await?;
    Ok(())
}

async fn leave(tx: &mut Transaction, chat: ChatId, people: &[String], rev: i64) -> Result<()> {
    const LEAVE: Sql = Sql::each(
        "UPDATE members SET participating = 0, rev = $2 + p.key + 1 FROM json_each($3) p \
         WHERE members.chat_id = $1 AND members.person = p.value",
        "UPDATE members SET participating = 0, rev = $2 + p.place \
         FROM unnest($3::text[]) WITH ORDINALITY AS p (person, place) \
         WHERE members.chat_id = $1 AND members.person = p.person",
    );
    if !people.is_empty() {
        tx.run(LEAVE, values![chat, rev, people.to_vec()]).await?;
    }
    Ok(())
}

async fn participating(tx: &mut Transaction, chat: ChatId) -> Result<HashSet<String>> {
    let people = "SELECT person FROM members WHERE chat_id = $1 AND participating = 1";
    let rows = tx.rows(people, values![chat]).await?;
    rows.iter().map(|row| row.get("person")).collect()
}

async fn made_before(
    tx: &mut Transaction,
    who: &Actor,
    client_chat_id: Option<String>,
) -> Result<ChatId> {
    let made = "SELECT id FROM chats WHERE org = $1 AND created_by = $2 AND client_chat_id = $3";
    let row = tx
        .row(made, values![&who.org, &who.id, client_chat_id])
        .await?;
    let row = row.ok_or(Error::NotFound(super::Thing::Chat))?;
    Ok(ChatId(row.get("id")?))
}

/// The chat as it is after the change, for somebody who has perhaps just left it.
async fn shown_to(tx: &mut Transaction, who: &Actor, chat: ChatId) -> Result<ChatView> {
    let seeing = Actor {
        role: Role::Admin,
        ..who.clone()
    };
    views::chat_in(tx, &seeing, chat).await
}

fn may_change(who: &Actor, seen: &Seen, add: &[NewParticipant], remove: &[String]) -> Result<()> {
    let is_admin = who.role == Role::Admin;
    if !add.is_empty() && !is_admin {
        seen.may_write()?;
    }
    let removes_others = remove.iter().any(|person| *person != who.id);
    if !add.is_empty() || removes_others {
        access::no_guest(who)?;
    }
    if removes_others && seen.created_by != who.id && who.role < Role::Moderator {
        return Err(Error::Forbidden {
            expected: "whoever made the chat, or a moderator",
        });
    }
    Ok(())
}

fn with_maker(who: &Actor, others: &[NewParticipant]) -> Vec<NewParticipant> {
    let maker = NewParticipant {
        person: who.id.clone(),
        name: who.name.clone(),
    };
    let all: Vec<NewParticipant> = std::iter::once(maker)
        .chain(others.iter().cloned())
        .collect();
    unique_people(&all).collect()
}

/// Each person once, by the first name given.
fn unique_people(people: &[NewParticipant]) -> impl Iterator<Item = NewParticipant> {
    let mut met = HashSet::new();
    people
        .iter()
        .filter(move |new| met.insert(new.person.clone()))
        .cloned()
}

fn unique(people: impl Iterator<Item = String>) -> impl Iterator<Item = String> {
    let mut met = HashSet::new();
    people.filter(move |person| met.insert(person.clone()))
}

fn at_most_all(people: usize) -> Result<()> {
    if people <= PARTICIPANTS_MAX {
        return Ok(());
    }
    limits::invalid(
        "participants",
        format!("at most {PARTICIPANTS_MAX} in all"),
        people.to_string(),
    )
}

fn length<T>(rows: &[T]) -> i64 {
    i64::try_from(rows.len()).unwrap_or(i64::MAX)
}

fn participant(new: &NewParticipant) -> Participant {
    Participant {
        person: new.person.clone(),
        name: new.name.clone(),
    }
}

fn nothing_unread<'a>(people: impl Iterator<Item = &'a String>, but: &Actor) -> Vec<Notify> {
    people
        .filter(|person| **person != but.id)
        .map(|person| Notify {
            person: person.clone(),
            unread: 0,
        })
        .collect()
}

#[derive(Serialize)]
struct ChatCreated {
    chat: ChatId,
    rev: i64,
    audience: Audience,
    title: Option<String>,
    participants: Vec<Participant>,
}

#[derive(Serialize)]
struct ParticipantsChanged {
    chat: ChatId,
    rev: i64,
    added: Vec<Participant>,
    removed: Vec<String>,
}
