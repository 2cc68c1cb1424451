-- Serves: a product's lines.

-- +goose Up
CREATE INDEX idx_order_items_product ON order_items (product_id);

-- +goose Down
DROP INDEX idx_order_items_product;
