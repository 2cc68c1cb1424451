-- Serves: a product's lines. (In MySQL it stands in the table.)

-- +goose Up
CREATE INDEX idx_order_items_product ON order_items (product_id);

-- +goose Down
DROP INDEX idx_order_items_product;
