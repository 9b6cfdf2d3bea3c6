-- Small state of plugins: survives recycling, reload and restart.
CREATE TABLE plugin_state (
    plugin TEXT NOT NULL,
    key TEXT NOT NULL,
    value BLOB NOT NULL,
    -- Milliseconds since 1970; null: never.
    expires_at_ms INTEGER,
    PRIMARY KEY (plugin, key)
) STRICT, WITHOUT ROWID;

-- What happened, newest last; bounded by the agent.
CREATE TABLE events (
    id INTEGER PRIMARY KEY,
    at_ms INTEGER NOT NULL,
    kind TEXT NOT NULL,
    subject TEXT NOT NULL,
    -- JSON.
    detail TEXT NOT NULL
) STRICT;

-- Alerts that are pending, firing or recovering.
CREATE TABLE alerts (
    fingerprint TEXT PRIMARY KEY,
    -- JSON of the model's record.
    alert TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- Single values: the next incident's number.
CREATE TABLE numbers (
    name TEXT PRIMARY KEY,
    value INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
