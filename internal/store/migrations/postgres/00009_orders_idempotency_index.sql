-- One order for each user and key. Keys are compared byte by byte.

-- +goose Up
CREATE UNIQUE INDEX idx_orders_idempotency ON orders (user_id, idempotency_key);

-- +goose Down
DROP INDEX idx_orders_idempotency;
