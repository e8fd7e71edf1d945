-- Which message says which word. The words are made by the program, the same for both databases; FTS5 only keeps which
-- row has which. `scope` holds the message's organisation and chat as words of their own, so that what is common
-- elsewhere costs nothing here. Rows are known by `messages.key`, also when the message has moved to the archive.

CREATE VIRTUAL TABLE message_words USING fts5 (
    scope,
    words,
    content = '',
    contentless_delete = 1,
    detail = 'column',
    tokenize = "unicode61 remove_diacritics 0"
);
