-- +goose Up
-- What a channel of a product offers, decided but perhaps not signed yet.
CREATE TABLE repository_head (
    product       TEXT   NOT NULL,
    channel       TEXT   NOT NULL,
    sequence      BIGINT NOT NULL, -- of the head; never goes down
    number        BIGINT NOT NULL, -- the last one that an offer got; never goes down
    content       BYTEA  NOT NULL, -- the head as JSON
    PRIMARY KEY (product, channel)
);

-- Every file that was ever offered: one path never gets other bytes, not even
-- after it is gone.
CREATE TABLE repository_target (
    path    TEXT PRIMARY KEY,
    product TEXT   NOT NULL,
    kind    TEXT   NOT NULL, -- file, bundle, delta
    sha256  TEXT   NOT NULL,
    size    BIGINT NOT NULL,
    gone    BIGINT NOT NULL -- 1: no longer offered
);
CREATE INDEX repository_target_product ON repository_target (product, gone);

-- The last version number that a role's metadata got, and the metadata that is
-- published.
CREATE TABLE repository_role (
    name      TEXT PRIMARY KEY,
    version   BIGINT NOT NULL, -- never goes down
    published BIGINT NOT NULL, -- 0: nothing yet
    expires   BIGINT NOT NULL, -- of what is published
    content   BYTEA  NOT NULL
);

-- What waits for signatures. At most one row.
CREATE TABLE repository_stage (
    id      TEXT PRIMARY KEY, -- UUIDv7
    content BYTEA NOT NULL
);

-- Files of earlier states, which clients in the middle of an update still read.
CREATE TABLE repository_stale (
    path  TEXT PRIMARY KEY,
    since BIGINT NOT NULL
);

-- What clients report of a version, and what was stopped at once.
CREATE TABLE repository_health (
    product TEXT   NOT NULL,
    channel TEXT   NOT NULL,
    version TEXT   NOT NULL,
    ok      BIGINT NOT NULL,
    failed  BIGINT NOT NULL,
    PRIMARY KEY (product, channel, version)
);

-- +goose Down
DROP TABLE repository_health;
DROP TABLE repository_stale;
DROP TABLE repository_stage;
DROP TABLE repository_role;
DROP TABLE repository_target;
DROP TABLE repository_head;
