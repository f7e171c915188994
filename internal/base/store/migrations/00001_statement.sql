-- +goose Up
CREATE TABLE outbox_head (
    id   INTEGER PRIMARY KEY,
    next BIGINT NOT NULL
);
INSERT INTO outbox_head (id, next) VALUES (1, 0);

-- Row n is log entry n. Rows are never changed and never deleted.
CREATE TABLE statement (
    n         BIGINT PRIMARY KEY,
    envelope  BYTEA  NOT NULL,
    sha256    TEXT   NOT NULL,
    kind      TEXT   NOT NULL,
    said_at   BIGINT NOT NULL -- Unix milliseconds
);
CREATE UNIQUE INDEX statement_sha256 ON statement (sha256);
CREATE INDEX statement_kind ON statement (kind, n);
CREATE INDEX statement_said_at ON statement (said_at, n);

CREATE TABLE statement_subject (
    n      BIGINT NOT NULL,
    name   TEXT   NOT NULL,
    digest TEXT   NOT NULL -- hex; one row per digest
);
CREATE INDEX statement_subject_digest ON statement_subject (digest, n);
CREATE INDEX statement_subject_name ON statement_subject (name, n);
CREATE INDEX statement_subject_n ON statement_subject (n);

CREATE TABLE statement_signer (
    n     BIGINT NOT NULL,
    keyid TEXT   NOT NULL,
    PRIMARY KEY (keyid, n)
);

-- +goose Down
DROP TABLE statement_signer;
DROP TABLE statement_subject;
DROP TABLE statement;
DROP TABLE outbox_head;
