//! Who is where, and what they do there: viewers, their activities, and how near they come to each other.
//!
//! Presence is short-lived: it has a version of its own and no place in a stream, and clients say it again after a restart
//! of the server.

names! {
    /// What a session does at a path. An owner with several sessions there is shown with the strongest: editing, then
    /// typing, then viewing, then idle.
    Activity {
        /// Looks at it.
        1 Viewing "viewing",
        /// Has it open and does nothing.
        2 Idle "idle",
        /// Writes something; shown for some seconds, unless it goes on.
        3 Typing "typing",
        /// Changes it.
        4 Editing "editing",
    }
}

names! {
    /// How near others come at a path, ascending.
    CollisionLevel {
        /// Nobody else is there.
        1 None "none",
        /// Another owner is there.
        2 Viewing "viewing",
        /// Another owner types.
        3 Typing "typing",
        /// Another owner edits, or holds the lock.
        4 Editing "editing",
    }
}

message! {
    /// One owner at a path, as others see it.
    #[derive(Copy)]
    Viewer<'a> {
        /// Who is there.
        owner: &'a str,
        /// How people call them.
        name: &'a str,
        /// The strongest that their sessions do there.
        activity: Activity,
        /// Whether they type for members and higher alone; others see them viewing.
        internal: bool,
        /// Since when, in milliseconds of Unix time, for people to read.
        since_ms: u64,
        /// Sessions of theirs that are there.
        sittings: u32,
        /// What the last of these that entered wants to be shown.
        metadata: &'a [u8],
    }
}

message! {
    /// Viewers by what they do.
    #[derive(Copy, Default)]
    Counts {
        /// Those who look.
        viewing: u32,
        /// Those who do nothing.
        idle: u32,
        /// Those who write something.
        typing: u32,
        /// Those who change it.
        editing: u32,
    }
}

message! {
    /// Who is at one path.
    PathViewers<'a> {
        /// Where.
        path: &'a str,
        /// How many viewers there are.
        total: u32,
        /// The same by what they do.
        counts: Counts,
        /// The first hundred, by arrival.
        viewers: Vec<Viewer<'a>>,
    }
}
