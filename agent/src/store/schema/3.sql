-- Who did what, newest last, each row chained to the one before; bounded by the agent.
CREATE TABLE audit (
    seq INTEGER PRIMARY KEY,
    at_ms INTEGER NOT NULL,
    -- `agent`, or the name of a token.
    actor TEXT NOT NULL,
    action TEXT NOT NULL,
    subject TEXT NOT NULL,
    -- JSON.
    detail TEXT NOT NULL,
    -- The hash of the row before.
    previous BLOB NOT NULL,
    -- SHA-256 of all the above.
    hash BLOB NOT NULL
) STRICT;

-- Where the chain starts, after the last row that was forgotten, and where it ends.
CREATE TABLE audit_ends (
    name TEXT PRIMARY KEY CHECK (name IN ('start', 'end')),
    seq INTEGER NOT NULL,
    hash BLOB NOT NULL
) STRICT, WITHOUT ROWID;
