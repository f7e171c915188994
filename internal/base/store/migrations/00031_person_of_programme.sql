-- +goose Up
ALTER TABLE person ADD COLUMN in_programme INTEGER NOT NULL DEFAULT 0; -- 1: the programme in force names this person

-- +goose Down
ALTER TABLE person DROP COLUMN in_programme;
