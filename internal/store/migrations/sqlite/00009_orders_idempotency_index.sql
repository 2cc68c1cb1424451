-- Enforces one order per (user, key). (In MySQL the table contains it.)

-- +goose Up
CREATE UNIQUE INDEX idx_orders_idempotency ON orders (user_id, idempotency_key);

-- +goose Down
DROP INDEX idx_orders_idempotency;
