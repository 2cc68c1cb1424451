-- Serves: the relay (what is owed, oldest first) and the purge of what is paid. (In MySQL it stands in the table.)

-- +goose Up
SELECT 1;

-- +goose Down
SELECT 1;
