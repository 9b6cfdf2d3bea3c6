-- Who was told of what, and what they still have to hear: an entry for each receiver and incident, until its end was told.
CREATE TABLE ledger (
    receiver TEXT NOT NULL,
    fingerprint TEXT NOT NULL,
    incident INTEGER NOT NULL,
    -- JSON of the model's record.
    entry TEXT NOT NULL,
    PRIMARY KEY (receiver, fingerprint, incident)
) STRICT, WITHOUT ROWID;

CREATE TABLE silences (
    id TEXT PRIMARY KEY,
    -- JSON of the model's record.
    silence TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE acknowledgements (
    fingerprint TEXT NOT NULL,
    incident INTEGER NOT NULL,
    -- JSON of the model's record.
    acknowledgement TEXT NOT NULL,
    PRIMARY KEY (fingerprint, incident)
) STRICT, WITHOUT ROWID;

-- Alerts of its group that fire and are not told with a row.
ALTER TABLE outbox ADD COLUMN others_firing INTEGER NOT NULL DEFAULT 0;

CREATE INDEX events_subject ON events (kind, subject, id);

-- Earlier versions kept no ledger: who has a row about the beginning of an incident that is not over knows of it. Their ids ended with a
-- number of their own, which goes on here.
INSERT INTO ledger (receiver, fingerprint, incident, entry)
SELECT began.receiver, began.fingerprint, began.incident, json_object(
    'receiver', began.receiver,
    'fingerprint', began.fingerprint,
    'incident', began.incident,
    'group_key', began.group_key,
    'group_labels', json(began.group_labels),
    'told', json_object(
        'severity', (SELECT json_extract(latest.alert, '$.severity') FROM outbox AS latest
                     WHERE latest.receiver = began.receiver AND latest.fingerprint = began.fingerprint
                       AND latest.incident = began.incident ORDER BY latest.seq DESC LIMIT 1),
        'flapping', json('false'),
        'at_ms', began.created_at_ms),
    'hold', NULL,
    'due_at_ms', NULL,
    'rows', (SELECT max(CAST(substr(numbered.id, length(numbered.fingerprint) + length(numbered.incident) + 3) AS INTEGER))
             FROM outbox AS numbered
             WHERE numbered.receiver = began.receiver AND numbered.fingerprint = began.fingerprint
               AND numbered.incident = began.incident),
    'ended', NULL)
FROM outbox AS began
WHERE began.tells = 'begin'
  AND EXISTS (SELECT 1 FROM alerts WHERE alerts.fingerprint = began.fingerprint
              AND json_extract(alerts.alert, '$.incident') = began.incident
              AND json_extract(alerts.alert, '$.state') IN ('firing', 'recovering'))
  AND NOT EXISTS (SELECT 1 FROM outbox AS ended
                  WHERE ended.receiver = began.receiver AND ended.fingerprint = began.fingerprint
                    AND ended.incident = began.incident AND ended.tells = 'end');
