-- The promise itself: one order a (user, key). (In MySQL it stands in the table.)

-- +goose Up
SELECT 1;

-- +goose Down
SELECT 1;
