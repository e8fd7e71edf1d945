//! A feed that is heard: its events in order, and the id to come back with.
//!
//! Knows no event by name. Rule: as a browser does, it keeps the id of whatever it has read, also of what has no data.

use std::time::Duration;

use serde_json::Value;
use tokio::time::timeout;

use super::{Http, PATIENCE};

/// An event of a feed.
#[derive(Debug, Clone)]
pub(crate) struct Told {
    pub(crate) name: String,
    pub(crate) data: Value,
}

/// See the file's header.
pub(crate) struct Hearing {
    http: Http,
    text: String,
    /// As a browser would keep it.
    pub(crate) last_id: Option<String>,
}

impl Hearing {
    pub(crate) fn new(http: Http, last_id: Option<String>) -> Self {
        assert_eq!(http.status, 200);
        assert!(http.is_chunked());
        Self {
            http,
            text: String::new(),
            last_id,
        }
    }

    /// The next event; `None` when the feed is over.
    pub(crate) async fn next(&mut self) -> Option<Told> {
        timeout(PATIENCE, self.next_patiently())
            .await
            .expect("something is told")
    }

    /// The next event, if one comes in time.
    pub(crate) async fn next_within(&mut self, limit: Duration) -> Option<Told> {
        timeout(limit, self.next_patiently()).await.ok().flatten()
    }

    /// The next of this name; what comes before is passed over.
    pub(crate) async fn next_named(&mut self, name: &str) -> Value {
        let heard = async {
            loop {
                let told = self.next_patiently().await;
                let told = told.unwrap_or_else(|| panic!("the feed ended before {name}"));
                if told.name == name {
                    return told.data;
                }
            }
        };
        timeout(PATIENCE, heard)
            .await
            .unwrap_or_else(|_| panic!("{name} was not told"))
    }

    async fn next_patiently(&mut self) -> Option<Told> {
        loop {
            while let Some(end) = self.text.find("\n\n") {
                let frame: String = self.text.drain(..end + 2).collect();
                if let Some(told) = self.read(&frame) {
                    return Some(told);
                }
            }
            let chunk = self.http.chunk().await.ok()??;
            self.text.push_str(&chunk);
        }
    }

    fn read(&mut self, frame: &str) -> Option<Told> {
        let (mut name, mut data) = (String::new(), None);
        for line in frame.lines() {
            match line.split_once(": ") {
                Some(("id", id)) => self.last_id = Some(id.to_owned()),
                Some(("event", event)) => name = event.to_owned(),
                Some(("data", text)) => data = serde_json::from_str(text).ok(),
                _ => {}
            }
        }
        data.map(|data| Told { name, data })
    }
}
