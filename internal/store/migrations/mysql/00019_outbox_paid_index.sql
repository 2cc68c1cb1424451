-- Serves: the relay (unpublished rows, oldest first) and the purge of published rows. (In MySQL the table contains it.)

-- +goose Up
SELECT 1;

-- +goose Down
SELECT 1;
