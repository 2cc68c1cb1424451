-- Serves: a user's orders, newest first. (In MySQL the table contains it.)

-- +goose Up
CREATE INDEX idx_orders_user ON orders (user_id);

-- +goose Down
DROP INDEX idx_orders_user;
