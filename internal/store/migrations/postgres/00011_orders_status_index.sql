-- Serves: the sweeper (what is due, oldest first), the lists by status, invariant 7.

-- +goose Up
CREATE INDEX idx_orders_status ON orders (status, due_at);

-- +goose Down
DROP INDEX idx_orders_status;
