-- The promise itself: one order a (user, key). (In MySQL it stands in the table.)

-- +goose Up
CREATE UNIQUE INDEX idx_orders_idempotency ON orders (user_id, idempotency_key);

-- +goose Down
DROP INDEX idx_orders_idempotency;
