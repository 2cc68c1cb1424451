-- Serves: the sweeper (what is due, oldest first), the lists by status, invariant 7. (In MySQL the table contains it.)

-- +goose Up
SELECT 1;

-- +goose Down
SELECT 1;
