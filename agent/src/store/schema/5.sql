-- What collectors found out of a server and want to know again after a restart, which only time could tell them anew.
CREATE TABLE notes (
    -- The id of the server's subject.
    server TEXT NOT NULL,
    collector TEXT NOT NULL,
    -- What of the server it is about; empty where it is about all of it.
    topic TEXT NOT NULL,
    -- Before the note, which may be long.
    written_at_ms INTEGER NOT NULL,
    -- JSON of the model's record.
    note TEXT NOT NULL,
    PRIMARY KEY (server, collector, topic)
) STRICT, WITHOUT ROWID;
