-- Which message says which word. The words are made by the program, the same for both databases, so no dictionary and
-- no configuration of the server has a say. Beside them stand the message's organisation and chat, as `o/...` and
-- `c/...`, so that what is common elsewhere costs nothing here; no word of a message has a slash.

ALTER TABLE messages ADD COLUMN words tsvector NOT NULL DEFAULT ''::tsvector;
ALTER TABLE messages_archive ADD COLUMN words tsvector NOT NULL DEFAULT ''::tsvector;

CREATE INDEX messages_words ON messages USING gin (words);
CREATE INDEX messages_archive_words ON messages_archive USING gin (words);
