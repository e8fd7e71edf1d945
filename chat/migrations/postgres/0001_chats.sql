-- Chats, who is in them, what was said. Times are milliseconds since the Unix epoch; ids are UUIDv7, so they sort by
-- time. Every number that is kept here besides the rows themselves can be counted again from them.

CREATE TABLE chats (
    id UUID NOT NULL PRIMARY KEY,
    org TEXT NOT NULL,
    -- 0: its participants, 1: everybody of the organisation.
    audience BIGINT NOT NULL,
    title TEXT,
    created_by TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    client_chat_id TEXT,
    last_activity_at BIGINT NOT NULL,
    -- The last message's number, and the last change's. Both are raised under the chat's lock, so neither has holes.
    last_seq BIGINT NOT NULL DEFAULT 0,
    rev BIGINT NOT NULL DEFAULT 0,
    -- Messages that are not deleted.
    message_count BIGINT NOT NULL DEFAULT 0,
    participant_count BIGINT NOT NULL DEFAULT 0,
    -- Messages up to this number lie in the archive.
    archived_seq BIGINT NOT NULL DEFAULT 0,
    lock_token BIGINT NOT NULL DEFAULT 0,
    lock_owner TEXT,
    UNIQUE (org, created_by, client_chat_id)
);

-- The list of those that are open to an organisation.
CREATE INDEX chats_open ON chats (org, last_activity_at DESC, id DESC) WHERE audience = 1;
-- Those that may be cleaned up.
CREATE INDEX chats_empty ON chats (last_activity_at, id) WHERE message_count = 0;

CREATE TABLE members (
    chat_id UUID NOT NULL REFERENCES chats (id),
    person TEXT NOT NULL,
    org TEXT NOT NULL,
    name TEXT NOT NULL,
    -- 1: takes part. 0: did once, or has written or read in an open chat.
    participating BIGINT NOT NULL,
    joined_rev BIGINT NOT NULL,
    delivered_seq BIGINT NOT NULL DEFAULT 0,
    read_seq BIGINT NOT NULL DEFAULT 0,
    unread BIGINT NOT NULL DEFAULT 0,
    rev BIGINT NOT NULL,
    -- The chat's, so that a list of one's own needs no sorting.
    last_activity_at BIGINT NOT NULL,
    PRIMARY KEY (chat_id, person)
);

CREATE INDEX members_recent ON members (org, person, last_activity_at DESC, chat_id DESC) WHERE participating = 1;
CREATE INDEX members_unread ON members (org, person, unread) WHERE participating = 1 AND unread > 0;
CREATE INDEX members_joined ON members (chat_id, joined_rev) WHERE participating = 1;

CREATE TABLE messages (
    id UUID NOT NULL PRIMARY KEY,
    chat_id UUID NOT NULL REFERENCES chats (id),
    seq BIGINT NOT NULL,
    rev BIGINT NOT NULL,
    sender TEXT NOT NULL,
    sender_name TEXT NOT NULL,
    client_msg_id TEXT NOT NULL,
    -- Of what was sent, whatever was made of it since.
    content_hash BYTEA NOT NULL,
    body TEXT NOT NULL,
    attachments TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    edited_at BIGINT,
    deleted_at BIGINT,
    unguarded BIGINT NOT NULL,
    UNIQUE (chat_id, seq),
    -- A repeated send is known for as long as the message is.
    UNIQUE (chat_id, sender, client_msg_id)
);

CREATE INDEX messages_rev ON messages (chat_id, rev);

-- The same, of long ago.
CREATE TABLE messages_archive (
    id UUID NOT NULL PRIMARY KEY,
    chat_id UUID NOT NULL REFERENCES chats (id),
    seq BIGINT NOT NULL,
    rev BIGINT NOT NULL,
    sender TEXT NOT NULL,
    sender_name TEXT NOT NULL,
    client_msg_id TEXT NOT NULL,
    content_hash BYTEA NOT NULL,
    body TEXT NOT NULL,
    attachments TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    edited_at BIGINT,
    deleted_at BIGINT,
    unguarded BIGINT NOT NULL,
    UNIQUE (chat_id, seq),
    UNIQUE (chat_id, sender, client_msg_id)
);

CREATE INDEX messages_archive_rev ON messages_archive (chat_id, rev);

-- What has to be told, written by the transaction that made it so. Gone once it is told.
CREATE TABLE outbox (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    org TEXT NOT NULL,
    chat_id UUID NOT NULL,
    rev BIGINT NOT NULL,
    event_id UUID NOT NULL,
    event TEXT NOT NULL,
    payload TEXT NOT NULL,
    notify TEXT NOT NULL,
    committed_at BIGINT NOT NULL,
    attempts BIGINT NOT NULL DEFAULT 0,
    worker UUID,
    leased_until BIGINT NOT NULL DEFAULT 0
);

CREATE INDEX outbox_order ON outbox (chat_id, rev);

CREATE TABLE audit (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    org TEXT NOT NULL,
    at BIGINT NOT NULL,
    actor TEXT NOT NULL,
    act TEXT NOT NULL,
    chat_id UUID,
    detail TEXT NOT NULL,
    -- How many things it was done to.
    count BIGINT NOT NULL DEFAULT 1,
    -- A run that goes on in many steps has one line for each organisation and act.
    run UUID,
    UNIQUE (run, org, act)
);

CREATE INDEX audit_of_org ON audit (org, id);
