-- Serves: an order's lines. (In MySQL it stands in the table.)

-- +goose Up
SELECT 1;

-- +goose Down
SELECT 1;
