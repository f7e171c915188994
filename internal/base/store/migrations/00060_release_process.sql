-- +goose Up
-- The state of a release is one of draft, proposed, reviewed, tested, approved,
-- signed, logged, published, superseded, revoked; only the table of moves in the
-- release room changes it. What was published before is said for sure, and
-- becomes published again as soon as a checkpoint is seen to cover it.
UPDATE release SET state = 'logged' WHERE state = 'published';
ALTER TABLE release ADD COLUMN restores TEXT NOT NULL DEFAULT ''; -- the version whose content this one brings back
ALTER TABLE release ADD COLUMN superseded_by TEXT NOT NULL DEFAULT ''; -- version
ALTER TABLE release ADD COLUMN emergency BIGINT NOT NULL DEFAULT 0; -- 1: a review is due when it is said, 2: reviewed
CREATE INDEX release_emergency ON release (emergency, id);
CREATE INDEX release_state ON release (state, id);

-- Who has looked at which text.
CREATE TABLE release_review (
    release_id   TEXT   NOT NULL REFERENCES release (id),
    holder       TEXT   NOT NULL,
    payload_hash TEXT   NOT NULL,
    note         TEXT   NOT NULL,
    at           BIGINT NOT NULL, -- Unix milliseconds, here and below
    PRIMARY KEY (release_id, holder)
);

-- Signatures by release keys, until they are said together.
CREATE TABLE release_signature (
    release_id   TEXT   NOT NULL REFERENCES release (id),
    keyid        TEXT   NOT NULL,
    payload_hash TEXT   NOT NULL,
    sig          BYTEA  NOT NULL,
    at           BIGINT NOT NULL,
    PRIMARY KEY (release_id, keyid)
);

-- Signing requests as they were handed out: an answer names the hash of its file.
CREATE TABLE release_request (
    hash       TEXT   PRIMARY KEY, -- SHA-256 of the file, hex
    release_id TEXT   NOT NULL REFERENCES release (id),
    role       TEXT   NOT NULL, -- release or approver
    file       BYTEA  NOT NULL,
    at         BIGINT NOT NULL
);
CREATE INDEX release_request_release ON release_request (release_id);

-- Every change of state, in order.
CREATE TABLE release_step (
    release_id TEXT   NOT NULL REFERENCES release (id),
    n          BIGINT NOT NULL, -- from 1
    from_state TEXT   NOT NULL,
    to_state   TEXT   NOT NULL,
    holder     TEXT   NOT NULL, -- who; clerestory is the program itself
    why        TEXT   NOT NULL,
    at         BIGINT NOT NULL,
    PRIMARY KEY (release_id, n)
);
CREATE INDEX release_step_at ON release_step (at, release_id, n);

-- +goose Down
DROP TABLE release_step;
DROP TABLE release_request;
DROP TABLE release_signature;
DROP TABLE release_review;
DROP INDEX release_state;
DROP INDEX release_emergency;
ALTER TABLE release DROP COLUMN emergency;
ALTER TABLE release DROP COLUMN superseded_by;
ALTER TABLE release DROP COLUMN restores;
UPDATE release SET state = 'proposed' WHERE entry IS NULL;
UPDATE release SET state = 'published' WHERE state IN ('logged', 'superseded');
