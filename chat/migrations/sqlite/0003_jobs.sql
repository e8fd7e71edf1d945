-- What is done now and then by one companion of all. Whoever does it has it for a lease; when it was begun and ended is
-- kept, so that neither a restart nor a second companion does it again before its time. Times are this database's.

CREATE TABLE jobs (
    name TEXT NOT NULL PRIMARY KEY,
    began_at INTEGER NOT NULL DEFAULT 0,
    -- Less than `began_at` while it is under way, and when whoever did it was cut off.
    ended_at INTEGER NOT NULL DEFAULT 0,
    worker BLOB,
    leased_until INTEGER NOT NULL DEFAULT 0
) STRICT, WITHOUT ROWID;

INSERT INTO jobs (name) VALUES ('archive');
