-- Notifications on their way: a row for each change of an incident and each receiver that is told of it, written with the change itself.
CREATE TABLE outbox (
    -- The order in which they were made; given by the agent.
    seq INTEGER PRIMARY KEY,
    -- The same for the same change.
    id TEXT NOT NULL,
    receiver TEXT NOT NULL,
    group_key TEXT NOT NULL,
    -- JSON.
    group_labels TEXT NOT NULL,
    fingerprint TEXT NOT NULL,
    incident INTEGER NOT NULL,
    tells TEXT NOT NULL CHECK (tells IN ('begin', 'change', 'end')),
    -- JSON of the alert as the message shows it.
    alert TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('waiting', 'sending', 'delivered', 'dead')),
    -- Milliseconds since 1970, like all that end so.
    created_at_ms INTEGER NOT NULL,
    due_at_ms INTEGER NOT NULL,
    settled_at_ms INTEGER,
    attempts INTEGER NOT NULL DEFAULT 0,
    waited_ms INTEGER NOT NULL DEFAULT 0,
    -- The message that carries it and may have arrived.
    message TEXT,
    -- Why the latest attempt failed, or why it was given up.
    reason TEXT,
    why TEXT,
    UNIQUE (receiver, id)
) STRICT;

CREATE INDEX outbox_state ON outbox (state, seq);
CREATE INDEX outbox_incident ON outbox (fingerprint, incident);
