-- +goose Up
-- One row per version of an advisory. Rows are never changed and never deleted,
-- but that a document is put where a restored database has only its statement.
CREATE TABLE advisory (
    slug         TEXT   NOT NULL, -- of the tracking id: the file's name
    revision     BIGINT NOT NULL, -- from 1, without gaps
    tracking     TEXT   NOT NULL, -- the document's tracking id
    version      TEXT   NOT NULL, -- and version
    title        TEXT   NOT NULL,
    sha256       TEXT   NOT NULL, -- of the document
    document     BYTEA,           -- exact
    entry        BIGINT NOT NULL, -- of the advisory statement; the VEX statement follows it
    year         BIGINT NOT NULL, -- of the first release, which names its folder
    released_at  BIGINT NOT NULL, -- the document's current release date, Unix milliseconds
    published_at BIGINT NOT NULL,
    PRIMARY KEY (slug, revision),
    UNIQUE (slug, version)
);
CREATE INDEX advisory_published ON advisory (published_at, slug);

-- What each version of an advisory says something about.
CREATE TABLE advisory_product (
    slug     TEXT   NOT NULL,
    revision BIGINT NOT NULL,
    product  TEXT   NOT NULL,
    version  TEXT   NOT NULL,
    PRIMARY KEY (slug, revision, product, version)
);
CREATE INDEX advisory_product_version ON advisory_product (product, version);

-- Reports of weaknesses: what was sent, encrypted, and how far we are. Times are
-- Unix milliseconds; 0 is not yet, and for what is due: never promised.
CREATE TABLE report (
    id              TEXT   PRIMARY KEY, -- UUIDv7
    receipt         TEXT   NOT NULL UNIQUE, -- statement.Receipt of the reporter's reference
    recipient       TEXT   NOT NULL, -- the public key that it is encrypted to
    ciphertext      BYTEA  NOT NULL, -- age
    state           TEXT   NOT NULL,
    received_at     BIGINT NOT NULL,
    acknowledge_due BIGINT NOT NULL,
    triage_due      BIGINT NOT NULL,
    fix_due         BIGINT NOT NULL,
    publish_due     BIGINT NOT NULL,
    acknowledged_at BIGINT NOT NULL,
    triaged_at      BIGINT NOT NULL,
    fixed_at        BIGINT NOT NULL,
    published_at    BIGINT NOT NULL,
    rejected_at     BIGINT NOT NULL
);
CREATE INDEX report_state ON report (state, received_at);
CREATE INDEX report_received ON report (received_at);

-- What was said about reports, so that the next account begins where this ends.
CREATE TABLE disclosure (
    until_at BIGINT PRIMARY KEY,
    from_at  BIGINT NOT NULL,
    entry    BIGINT NOT NULL
);

-- +goose Down
DROP TABLE disclosure;
DROP TABLE report;
DROP TABLE advisory_product;
DROP TABLE advisory;
