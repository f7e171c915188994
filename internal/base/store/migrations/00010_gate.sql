-- +goose Up
-- The audit trail's head: the next number, and the hash of the row before it.
CREATE TABLE audit_head (
    id   INTEGER PRIMARY KEY,
    next BIGINT NOT NULL,
    hash TEXT   NOT NULL
);
INSERT INTO audit_head (id, next, hash) VALUES (1, 0, '0000000000000000000000000000000000000000000000000000000000000000');

-- Rows are never changed and never deleted; their hashes are a chain.
CREATE TABLE audit (
    n        BIGINT PRIMARY KEY,
    at       BIGINT NOT NULL, -- Unix milliseconds, here and below
    actor    TEXT   NOT NULL, -- a person's id and nothing more about him
    action   TEXT   NOT NULL,
    object   TEXT   NOT NULL,
    allowed  BIGINT NOT NULL,
    policies TEXT   NOT NULL, -- ids, with commas
    previous TEXT   NOT NULL,
    hash     TEXT   NOT NULL
);
CREATE INDEX audit_actor ON audit (actor, n);
CREATE INDEX audit_action ON audit (action, n);

CREATE TABLE person (
    id       TEXT   PRIMARY KEY,
    name     TEXT   NOT NULL,
    roles    TEXT   NOT NULL, -- with commas, sorted
    handle   TEXT   NOT NULL, -- WebAuthn user handle: random, says nothing
    disabled BIGINT NOT NULL,
    demo     BIGINT NOT NULL, -- a demo identity: never has a passkey
    made_at  BIGINT NOT NULL
);
CREATE UNIQUE INDEX person_handle ON person (handle);

CREATE TABLE credential (
    id              TEXT   PRIMARY KEY, -- base64url of the credential id
    person          TEXT   NOT NULL REFERENCES person (id),
    public_key      BYTEA  NOT NULL, -- COSE
    sign_count      BIGINT NOT NULL,
    backup_eligible BIGINT NOT NULL,
    made_at         BIGINT NOT NULL,
    used_at         BIGINT NOT NULL
);
CREATE INDEX credential_person ON credential (person);

-- At most one open invitation per person; tokens are known by their hash only.
CREATE TABLE invitation (
    hash       TEXT   PRIMARY KEY,
    person     TEXT   NOT NULL REFERENCES person (id),
    purpose    TEXT   NOT NULL, -- invite or recover
    made_by    TEXT   NOT NULL,
    made_at    BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    used_at    BIGINT NOT NULL -- 0: not used
);
CREATE INDEX invitation_person ON invitation (person);

-- A WebAuthn ceremony between its two halves.
CREATE TABLE ceremony (
    hash       TEXT   PRIMARY KEY,
    purpose    TEXT   NOT NULL, -- enrol or sign-in
    invitation TEXT   NOT NULL, -- its hash, for enrol
    data       BYTEA  NOT NULL,
    expires_at BIGINT NOT NULL
);
CREATE INDEX ceremony_expires_at ON ceremony (expires_at);

CREATE TABLE session (
    hash       TEXT   PRIMARY KEY,
    person     TEXT   NOT NULL REFERENCES person (id),
    agent      TEXT   NOT NULL, -- the browser's family, for example Firefox
    made_at    BIGINT NOT NULL,
    seen_at    BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    revoked_at BIGINT NOT NULL -- 0: in force
);
CREATE INDEX session_person ON session (person);
CREATE INDEX session_expires_at ON session (expires_at);

-- +goose Down
DROP TABLE session;
DROP TABLE ceremony;
DROP TABLE invitation;
DROP TABLE credential;
DROP TABLE person;
DROP TABLE audit;
DROP TABLE audit_head;
