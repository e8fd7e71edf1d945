//! What happens at the lock server, in the words of a feed: frames of Server-Sent Events.
//!
//! Pure, and the only place that knows how a feed is spelled. Rule: a frame with an id is about what is in the stream, so
//! that a browser that comes back with the id misses nothing; what is state (viewers, collisions) has none.

use std::fmt::Write as _;

use bytes::Bytes;
use serde_json::{Value, json};
use tenure_client::{Collision, Event, Happened, Position, Who};

use crate::locks::{LossView, Told, ViewersView, chat_at};
use crate::store::ChatId;

/// Whom something is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum For {
    /// Whoever may hear of the chat.
    Chat(ChatId),
    /// One person.
    Person(String),
}

/// Something for the feeds of an organisation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Telling {
    pub(super) to: For,
    /// What the feed calls it.
    pub(super) name: String,
    pub(super) frame: Bytes,
    /// Persons who hear of it besides, although they may hear of the chat no more.
    pub(super) also: Vec<String>,
}

/// A frame. `data` is one line of JSON.
pub(super) fn frame(id: Option<Position>, name: &str, data: &str) -> Bytes {
    let mut text = String::with_capacity(data.len() + name.len() + 64);
    if let Some(id) = id {
        let _ = writeln!(text, "id: {id}");
    }
    let _ = write!(text, "event: {name}\ndata: {data}\n\n");
    Bytes::from(text)
}

/// A sign of life that repeats the position, so that a browser that heard nothing can come back too.
pub(super) fn still_here(position: Option<Position>) -> Bytes {
    position.map_or_else(
        || Bytes::from_static(b":\n\n"),
        |at| Bytes::from(format!("id: {at}\n\n")),
    )
}

/// What happened, for whom; `None` when it is for nobody here.
pub(super) fn telling(happened: &Happened) -> Option<Telling> {
    if let Event::Published {
        path,
        event,
        payload,
        ..
    } = &happened.event
    {
        return published(happened.position, path, event, payload);
    }
    let chat = happened
        .event
        .paths()
        .iter()
        .find_map(|path| chat_at(path))?;
    let (name, mut data) = of_lock(&happened.event)?;
    data["chat"] = json!(chat);
    data["at"] = json!(crate::locks::at(happened.at));
    Some(Telling {
        to: For::Chat(chat),
        name: name.to_owned(),
        frame: frame(Some(happened.position), name, &data.to_string()),
        also: Vec::new(),
    })
}

fn published(at: Position, path: &str, event: &str, payload: &[u8]) -> Option<Telling> {
    // What others publish there is passed on, if it is JSON at all; on one line, whatever it was.
    let data = serde_json::from_slice::<Value>(payload).ok()?;
    let to = match chat_at(path) {
        Some(chat) => For::Chat(chat),
        None => For::Person(path.strip_prefix("user/")?.to_owned()),
    };
    let removed = data["removed"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default();
    let also = removed.iter().filter_map(|person| {
        let id = person.as_str().or_else(|| person["person"].as_str());
        id.map(str::to_owned)
    });
    Some(Telling {
        to,
        name: event.to_owned(),
        also: also.collect(),
        frame: frame(Some(at), event, &data.to_string()),
    })
}

fn of_lock(event: &Event) -> Option<(&'static str, Value)> {
    let whose = |who: &Who| json!({"person": who.owner, "name": who.to_string()});
    let told = match event {
        Event::LockGranted {
            who, token, mode, ..
        } => {
            let mut data = whose(who);
            data["token"] = json!(token);
            data["mode"] = json!(mode.to_string());
            ("chat.locked", data)
        }
        Event::LockConverted {
            who, token, mode, ..
        } => {
            let mut data = whose(who);
            data["token"] = json!(token);
            data["mode"] = json!(mode.to_string());
            ("chat.lock_converted", data)
        }
        Event::LockEnded {
            who,
            loss,
            held_for,
        } => {
            let mut data = whose(who);
            let loss = LossView::from(loss);
            data["token"] = json!(loss.token);
            data["cause"] = json!(loss.cause);
            data["by"] = json!(loss.by);
            data["reason"] = json!(loss.reason);
            data["held_ms"] = json!(crate::locks::millis(*held_for));
            ("chat.unlocked", data)
        }
        Event::LockOrphaned { who, .. } => ("chat.lock_orphaned", whose(who)),
        Event::LockAdopted { who, .. } => ("chat.lock_adopted", whose(who)),
        Event::LockQueued { who, .. } => ("chat.lock_awaited", whose(who)),
        Event::LockWaitEnded { who, why, .. } => {
            let mut data = whose(who);
            data["why"] = json!(why.name());
            ("chat.lock_wait_ended", data)
        }
        Event::Published { .. } | _ => return None,
    };
    Some(told)
}

/// Who is in a chat has changed. What the feed calls it says whether it is about typing too.
pub(super) fn viewers(chat: ChatId, now: &ViewersView) -> Bytes {
    let data = json!({"chat": chat, "viewers": now});
    frame(None, "viewers.changed", &data.to_string())
}

/// Who types in a chat has changed.
pub(super) fn typing(chat: ChatId, now: &ViewersView) -> Bytes {
    let people: Vec<_> = now.people.iter().filter(|viewer| viewer.types()).collect();
    let data = json!({"chat": chat, "count": now.typing, "people": people});
    frame(None, "typing", &data.to_string())
}

/// Whether a change is about who types.
pub(super) fn is_about_typing(before: &ViewersView, after: &ViewersView) -> bool {
    let who = |view: &ViewersView| -> Vec<(String, bool)> {
        let typing = view.people.iter().filter(|viewer| viewer.types());
        typing
            .map(|viewer| (viewer.person.clone(), viewer.internal))
            .collect()
    };
    before.typing != after.typing || who(before) != who(after)
}

/// What concerns one browser alone.
pub(super) fn to_browser(told: &Told) -> Bytes {
    let (name, mut data) = match told {
        Told::LockLost(loss) => ("lock.lost", json!(LossView::from(loss))),
        Told::Asked {
            path,
            ask,
            who,
            note,
        } => (
            "lock.asked",
            json!({"path": path, "ask": ask, "person": who.owner, "name": who.to_string(), "note": note}),
        ),
        Told::Collision { path, collision } => ("collision", collision_data(path, collision)),
        Told::Swept { path } => ("presence.ended", json!({"path": path})),
        Told::Renamed { ticket } => ("session.renamed", json!({"session": ticket})),
        Told::Over { why } => ("session.over", json!({"why": why})),
    };
    if let Some(chat) = data["path"].as_str().and_then(chat_at) {
        data["chat"] = json!(chat);
    }
    frame(None, name, &data.to_string())
}

fn collision_data(path: &str, collision: &Collision) -> Value {
    let by: Vec<_> = collision
        .by
        .iter()
        .map(|who| json!({"person": who.owner, "name": who.to_string()}))
        .collect();
    json!({"path": path, "level": collision.level.name(), "by": by})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_as_the_standard_says() {
        let at = Position {
            epoch: 3,
            offset: 9,
        };
        assert_eq!(
            &frame(Some(at), "message.created", "{}")[..],
            b"id: 3:9\nevent: message.created\ndata: {}\n\n"
        );
        assert_eq!(&still_here(Some(at))[..], b"id: 3:9\n\n");
    }

    #[test]
    fn what_is_published_is_on_one_line_and_for_whom_it_says() {
        let at = Position {
            epoch: 3,
            offset: 9,
        };
        let chat = ChatId(uuid::Uuid::now_v7());
        let payload = b"{\n \"removed\": [\"bob\", {\"person\": \"eve\"}]\n}";
        let told = published(at, &format!("chat/{chat}"), "participants.changed", payload).unwrap();
        assert_eq!(told.to, For::Chat(chat));
        assert_eq!(told.also, ["bob", "eve"]);
        assert_eq!(told.frame.iter().filter(|byte| **byte == b'\n').count(), 4);
        let told = published(at, "user/ada", "message.notification", b"{}").unwrap();
        assert_eq!(told.to, For::Person("ada".into()));
        assert_eq!(published(at, "doc/1", "x", b"{}"), None);
        assert_eq!(published(at, "user/ada", "x", b"not json"), None);
    }
}
