-- Serves: an order's lines. (In MySQL the table contains it.)

-- +goose Up
CREATE UNIQUE INDEX idx_order_items_order ON order_items (order_id, product_id);

-- +goose Down
DROP INDEX idx_order_items_order;
