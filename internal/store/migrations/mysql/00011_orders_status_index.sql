-- Serves: the sweeper (what is due, oldest first), the lists by status, invariant 7. (In MySQL it stands in the table.)

-- +goose Up
SELECT 1;

-- +goose Down
SELECT 1;
