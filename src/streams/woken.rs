//! What one batch of a shard has put into rings, until readers may have it, and those who are to read it.
//!
//! Where everything may be read at once, only who is to be woken is kept. Where it has to be on disk first, readers are
//! shown nothing before [`Woken::wake`] or [`Woken::tell`]. A single event is kept with them, which they can be told past
//! their connections. Must hold: whoever has something in the batch is woken or told after it is shown.

use std::mem;
use std::sync::Arc;

use bytes::BytesMut;
use tokio::time::Instant;

use super::excerpt::Excerpt;
use super::listener::Listener;
use super::ring::Showing;
use super::spread::Spread;
use super::stream::Stream;

/// More listeners than these are told by threads that do nothing else (ADR 19).
const WOKEN_AT_ONCE: usize = 16;

/// So many are told by whoever has made the event. To wake another worker for them would cost as much as it saves.
const TOLD_ALONE: usize = 32;

/// See the file's header.
#[derive(Debug, Default)]
#[must_use = "whoever is not woken does not read"]
pub(crate) struct Woken {
    listeners: Vec<Arc<Listener>>,
    /// Those whose connections have to know of them first.
    called: Vec<Arc<Listener>>,
    /// What is to be shown.
    news: Vec<News>,
    /// Number of the batch; 0 where everything is shown at once.
    batch: u64,
    /// How many events there are in the batch, and the first of them, if anybody cares for it.
    events: usize,
    event: Option<(Arc<Stream>, u64)>,
    /// The event, if it is the only one.
    excerpt: Excerpt,
}

/// What has been put into the rings of one stream.
#[derive(Debug)]
struct News {
    stream: Arc<Stream>,
    offset: u64,
    version: u64,
}

impl Woken {
    /// So few hear of it before whoever has made the event is answered: they wait for it, and the asker knows what was asked.
    pub(crate) const TOLD_FIRST: usize = 8;

    /// Nothing yet.
    pub(super) fn first(showing: Showing) -> Self {
        let batch = match showing {
            Showing::AtOnce => 0,
            Showing::WhenTold => 1,
        };
        Self {
            batch,
            ..Self::default()
        }
    }

    /// What there is so far, with the frame of the newest event; the next batch begins.
    pub(super) fn take(&mut self, frame: &mut BytesMut) -> Box<Self> {
        let next = if self.batch == 0 { 0 } else { self.batch + 1 };
        let is_single = mem::take(&mut self.events) == 1;
        let single = self.event.take().filter(|_| is_single);
        let excerpt = single
            .map(|(stream, offset)| Excerpt::of_event(stream, offset, frame.split()))
            .unwrap_or_default();
        Box::new(Self {
            listeners: mem::take(&mut self.listeners),
            called: mem::take(&mut self.called),
            news: mem::take(&mut self.news),
            batch: mem::replace(&mut self.batch, next),
            excerpt,
            ..Self::default()
        })
    }

    /// Something is for this listener. If everything is shown at once, one that has not looked since it was woken last,
    /// and so is not unknown to have something, finds this too. Else it may look before this is shown.
    pub(super) fn note(&mut self, listener: &Arc<Listener>, is_unknown: bool) {
        let is_missing = match self.batch {
            0 => is_unknown,
            batch => listener.is_first_in(batch),
        };
        if is_missing {
            self.listeners.push(Arc::clone(listener));
        }
    }

    /// This one is to be woken, whatever it has: who is only told past their connection stays unknown to it.
    pub(super) fn call(&mut self, listener: Arc<Listener>) {
        self.called.push(listener);
    }

    pub(super) fn note_event(&mut self, stream: &Arc<Stream>, offset: u64, is_heard: bool) {
        if self.batch > 0 {
            self.news_of(stream).offset = offset;
        }
        self.events += 1;
        if self.events == 1 && is_heard {
            self.event = Some((Arc::clone(stream), offset));
        }
    }

    pub(super) fn note_presence(&mut self, stream: &Arc<Stream>, version: u64) {
        if self.batch > 0 {
            self.news_of(stream).version = version;
        }
    }

    /// A batch mostly concerns one org, or a few: those who come again are found from the end.
    fn news_of(&mut self, stream: &Arc<Stream>) -> &mut News {
        let found = self
            .news
            .iter()
            .rposition(|news| Arc::ptr_eq(&news.stream, stream));
        let index = found.unwrap_or_else(|| {
            self.news.push(News {
                stream: Arc::clone(stream),
                offset: 0,
                version: 0,
            });
            self.news.len() - 1
        });
        &mut self.news[index]
    }

    /// Whether nothing at all has happened.
    pub(super) const fn is_unused(&self) -> bool {
        self.events == 0 && self.is_empty()
    }

    /// Whether it concerns nobody.
    pub(super) const fn is_empty(&self) -> bool {
        self.listeners.is_empty() && self.called.is_empty() && self.news.is_empty()
    }

    /// Whether it costs the asker little to be answered after they are told.
    pub(crate) const fn is_for_few(&self) -> bool {
        self.listeners.len() <= Self::TOLD_FIRST
    }

    /// Shows what was put into rings, and tells them, past those of their connections that sleep, which are not woken then: a
    /// few at once; many on tasks of their own. What it saves is the waking. What wakes them instead has them take what has
    /// come together meanwhile, and is for when much happens.
    pub(crate) fn tell(mut self, now: Instant) {
        self.show();
        if self.listeners.len() <= TOLD_ALONE {
            for listener in &self.listeners {
                listener.tell(&mut self.excerpt, now);
            }
        } else {
            Spread::of(self.listeners, self.excerpt, now).by_tasks();
        }
    }

    /// Whoever is called has what is shown, too.
    fn show(&self) {
        for news in &self.news {
            news.stream.events.show(news.offset);
            news.stream.presence.show(news.version);
        }
        self.called.iter().for_each(Listener::wake);
    }

    /// Shows what was put into rings, and wakes who is to read it, if they are few. Many are told past their connections, by
    /// threads that do nothing else: to write to very many sockets is much work, for which nobody's commands have to wait,
    /// and whatever comes meanwhile is read together by those whose turn comes late.
    pub(crate) fn wake(self) {
        self.show();
        let listeners = self.listeners;
        if listeners.len() > WOKEN_AT_ONCE {
            Spread::of(listeners, self.excerpt, Instant::now()).by_threads();
            return;
        }
        // Whoever is marked once until they look is woken once; the others would be for each batch.
        let wake = if self.batch == 0 {
            Listener::wake
        } else {
            Listener::wake_once
        };
        listeners.iter().for_each(wake);
    }
}
