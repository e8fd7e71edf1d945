-- Chats, who is in them, what was said. Times are milliseconds since the Unix epoch; ids are UUIDv7 as sixteen bytes,
-- so they sort by time. Every number that is kept here besides the rows themselves can be counted again from them.

CREATE TABLE chats (
    id BLOB NOT NULL PRIMARY KEY,
    org TEXT NOT NULL,
    -- 0: its participants, 1: everybody of the organisation.
    audience INTEGER NOT NULL,
    title TEXT,
    created_by TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    client_chat_id TEXT,
    last_activity_at INTEGER NOT NULL,
    -- The last message's number, and the last change's. Both are raised under the chat's lock, so neither has holes.
    last_seq INTEGER NOT NULL DEFAULT 0,
    rev INTEGER NOT NULL DEFAULT 0,
    -- Messages that are not deleted.
    message_count INTEGER NOT NULL DEFAULT 0,
    participant_count INTEGER NOT NULL DEFAULT 0,
    -- Messages up to this number lie in the archive.
    archived_seq INTEGER NOT NULL DEFAULT 0,
    lock_token INTEGER NOT NULL DEFAULT 0,
    lock_owner TEXT,
    UNIQUE (org, created_by, client_chat_id)
) STRICT, WITHOUT ROWID;

-- The list of those that are open to an organisation.
CREATE INDEX chats_open ON chats (org, last_activity_at DESC, id DESC) WHERE audience = 1;
-- Those that may be cleaned up.
CREATE INDEX chats_empty ON chats (last_activity_at, id) WHERE message_count = 0;

CREATE TABLE members (
    chat_id BLOB NOT NULL REFERENCES chats (id),
    person TEXT NOT NULL,
    org TEXT NOT NULL,
    name TEXT NOT NULL,
    -- 1: takes part. 0: did once, or has written or read in an open chat.
    participating INTEGER NOT NULL,
    joined_rev INTEGER NOT NULL,
    delivered_seq INTEGER NOT NULL DEFAULT 0,
    read_seq INTEGER NOT NULL DEFAULT 0,
    unread INTEGER NOT NULL DEFAULT 0,
    rev INTEGER NOT NULL,
    -- The chat's, so that a list of one's own needs no sorting.
    last_activity_at INTEGER NOT NULL,
    PRIMARY KEY (chat_id, person)
) STRICT, WITHOUT ROWID;

CREATE INDEX members_recent ON members (org, person, last_activity_at DESC, chat_id DESC) WHERE participating = 1;
CREATE INDEX members_unread ON members (org, person, unread) WHERE participating = 1 AND unread > 0;
CREATE INDEX members_joined ON members (chat_id, joined_rev) WHERE participating = 1;

CREATE TABLE messages (
    -- What the index of words calls it; stays the same in the archive.
    key INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    id BLOB NOT NULL UNIQUE,
    chat_id BLOB NOT NULL REFERENCES chats (id),
    seq INTEGER NOT NULL,
    rev INTEGER NOT NULL,
    sender TEXT NOT NULL,
    sender_name TEXT NOT NULL,
    client_msg_id TEXT NOT NULL,
    -- Of what was sent, whatever was made of it since.
    content_hash BLOB NOT NULL,
    body TEXT NOT NULL,
    attachments TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    edited_at INTEGER,
    deleted_at INTEGER,
    unguarded INTEGER NOT NULL,
    UNIQUE (chat_id, seq),
    -- A repeated send is known for as long as the message is.
    UNIQUE (chat_id, sender, client_msg_id)
) STRICT;

CREATE INDEX messages_rev ON messages (chat_id, rev);

-- The same, of long ago.
CREATE TABLE messages_archive (
    key INTEGER NOT NULL PRIMARY KEY,
    id BLOB NOT NULL UNIQUE,
    chat_id BLOB NOT NULL REFERENCES chats (id),
    seq INTEGER NOT NULL,
    rev INTEGER NOT NULL,
    sender TEXT NOT NULL,
    sender_name TEXT NOT NULL,
    client_msg_id TEXT NOT NULL,
    content_hash BLOB NOT NULL,
    body TEXT NOT NULL,
    attachments TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    edited_at INTEGER,
    deleted_at INTEGER,
    unguarded INTEGER NOT NULL,
    UNIQUE (chat_id, seq),
    UNIQUE (chat_id, sender, client_msg_id)
) STRICT;

CREATE INDEX messages_archive_rev ON messages_archive (chat_id, rev);

-- What has to be told, written by the transaction that made it so. Gone once it is told.
CREATE TABLE outbox (
    id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    org TEXT NOT NULL,
    chat_id BLOB NOT NULL,
    rev INTEGER NOT NULL,
    event_id BLOB NOT NULL,
    event TEXT NOT NULL,
    payload TEXT NOT NULL,
    notify TEXT NOT NULL,
    committed_at INTEGER NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0,
    worker BLOB,
    leased_until INTEGER NOT NULL DEFAULT 0
) STRICT;

CREATE INDEX outbox_order ON outbox (chat_id, rev);

CREATE TABLE audit (
    id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    org TEXT NOT NULL,
    at INTEGER NOT NULL,
    actor TEXT NOT NULL,
    act TEXT NOT NULL,
    chat_id BLOB,
    detail TEXT NOT NULL,
    -- How many things it was done to.
    count INTEGER NOT NULL DEFAULT 1,
    -- A run that goes on in many steps has one line for each organisation and act.
    run BLOB,
    UNIQUE (run, org, act)
) STRICT;

CREATE INDEX audit_of_org ON audit (org, id);
