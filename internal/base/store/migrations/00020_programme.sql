-- +goose Up
-- One row: the version in force, 0 when there is none. Putting one in force
-- updates it, which is what makes two attempts at a time wait for each other.
CREATE TABLE programme_head (
    id      INTEGER PRIMARY KEY,
    version BIGINT NOT NULL
);
INSERT INTO programme_head (id, version) VALUES (1, 0);

CREATE TABLE programme_version (
    version    BIGINT PRIMARY KEY, -- from 1, without gaps
    digest     TEXT   NOT NULL,    -- the folder's, hex
    n          BIGINT NOT NULL,    -- the statement that says so
    applied_at BIGINT NOT NULL     -- Unix milliseconds
);

-- The files of each version. Rows are never changed and never deleted.
CREATE TABLE programme_file (
    version BIGINT NOT NULL,
    path    TEXT   NOT NULL,
    sha256  TEXT   NOT NULL, -- hex
    PRIMARY KEY (version, path)
);
CREATE INDEX programme_file_sha256 ON programme_file (sha256);

-- What the files hold. An older programme.yaml has no row here any more: people's
-- names stand in it, and whoever left must not stay in the database.
CREATE TABLE programme_content (
    sha256  TEXT  PRIMARY KEY,
    content BYTEA NOT NULL
);

-- +goose Down
DROP TABLE programme_content;
DROP TABLE programme_file;
DROP TABLE programme_version;
DROP TABLE programme_head;
