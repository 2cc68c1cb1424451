-- Serves: an order's lines. A product is in at most one line of an order.

-- +goose Up
CREATE UNIQUE INDEX idx_order_items_order ON order_items (order_id, product_id);

-- +goose Down
DROP INDEX idx_order_items_order;
