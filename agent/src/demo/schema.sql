-- The small social-media application: people write posts, some for a campaign, and every view and click is an event.
CREATE TABLE users (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    handle     text NOT NULL UNIQUE,
    name       text NOT NULL,
    followers  integer NOT NULL DEFAULT 0,
    created_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE campaigns (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    owner_id     bigint NOT NULL REFERENCES users,
    name         text NOT NULL,
    status       text NOT NULL DEFAULT 'running' CHECK (status IN ('draft', 'running', 'ended')),
    budget_cents bigint NOT NULL CHECK (budget_cents >= 0),
    spent_cents  bigint NOT NULL DEFAULT 0,
    updated_at   timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE posts (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    author_id   bigint NOT NULL REFERENCES users,
    campaign_id bigint REFERENCES campaigns,
    body        text NOT NULL,
    likes       integer NOT NULL DEFAULT 0,
    created_at  timestamptz NOT NULL DEFAULT now()
);

CREATE INDEX posts_author_newest ON posts (author_id, created_at DESC);
CREATE INDEX posts_campaign ON posts (campaign_id) WHERE campaign_id IS NOT NULL;

CREATE TABLE analytics_events (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    post_id     bigint NOT NULL REFERENCES posts ON DELETE CASCADE,
    kind        text NOT NULL CHECK (kind IN ('view', 'like', 'click', 'import')),
    happened_at timestamptz NOT NULL DEFAULT now(),
    details     jsonb NOT NULL DEFAULT '{}'
);

CREATE INDEX analytics_events_post ON analytics_events (post_id, happened_at);

INSERT INTO users (handle, name, followers)
SELECT 'user' || n, 'User ' || n, (1000 / n)::integer
FROM generate_series(1, 2000) AS n;

INSERT INTO campaigns (owner_id, name, budget_cents)
SELECT 1 + n % 2000, 'Campaign ' || n, 100000 + n * 500
FROM generate_series(1, 50) AS n;

INSERT INTO posts (author_id, campaign_id, body, likes, created_at)
SELECT
    1 + (n * 7919) % 2000,
    CASE WHEN n % 4 = 0 THEN 1 + n % 50 END,
    'Post ' || n || ' ' || repeat('lorem ipsum ', 1 + n % 8),
    n % 100,
    now() - n * interval '1 minute'
FROM generate_series(1, 8000) AS n;

INSERT INTO analytics_events (post_id, kind, happened_at)
SELECT
    1 + (n * 104729) % 8000,
    (ARRAY['view', 'view', 'view', 'like', 'click'])[1 + n % 5],
    now() - n * interval '20 seconds'
FROM generate_series(1, 20000) AS n;

ANALYZE;
