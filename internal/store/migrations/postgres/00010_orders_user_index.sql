-- Serves: a user's orders, newest first.

-- +goose Up
CREATE INDEX idx_orders_user ON orders (user_id, id);

-- +goose Down
DROP INDEX idx_orders_user;
