-- Enforces one order per (user, key). (In MySQL the table contains it.)

-- +goose Up
SELECT 1;

-- +goose Down
SELECT 1;
