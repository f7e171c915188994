-- +goose Up
CREATE TABLE release (
    id           TEXT PRIMARY KEY, -- UUIDv7
    product      TEXT   NOT NULL,
    version      TEXT   NOT NULL,
    channel      TEXT   NOT NULL,
    state        TEXT   NOT NULL, -- proposed, published, revoked
    payload      BYTEA  NOT NULL, -- the in-toto statement that is approved and signed
    payload_hash TEXT   NOT NULL, -- SHA-256, hex
    proposed_by  TEXT   NOT NULL,
    proposed_at  BIGINT NOT NULL,
    entry        BIGINT,          -- of the release statement, once published
    published_at BIGINT,
    revoked_by   BIGINT,          -- entry of the revocation
    UNIQUE (product, version)
);
CREATE INDEX release_published ON release (published_at, id);

CREATE TABLE release_file (
    release_id TEXT   NOT NULL REFERENCES release (id),
    name       TEXT   NOT NULL,
    sha256     TEXT   NOT NULL,
    size       BIGINT NOT NULL,
    PRIMARY KEY (release_id, name)
);
CREATE INDEX release_file_sha256 ON release_file (sha256);

CREATE TABLE release_approval (
    release_id   TEXT   NOT NULL REFERENCES release (id),
    holder       TEXT   NOT NULL,
    keyid        TEXT   NOT NULL,
    payload_hash TEXT   NOT NULL,
    sig          BYTEA  NOT NULL,
    at           BIGINT NOT NULL,
    PRIMARY KEY (release_id, holder)
);

-- +goose Down
DROP TABLE release_approval;
DROP TABLE release_file;
DROP TABLE release;
