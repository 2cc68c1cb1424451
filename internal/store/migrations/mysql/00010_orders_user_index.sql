-- Serves: a user's orders, newest first. (In MySQL the table contains it.)

-- +goose Up
SELECT 1;

-- +goose Down
SELECT 1;
