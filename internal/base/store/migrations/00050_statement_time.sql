-- +goose Up
-- Statements of a time, in the order of their numbers, without reading them.
CREATE INDEX statement_n_said_at ON statement (n, said_at);

-- +goose Down
DROP INDEX statement_n_said_at;
