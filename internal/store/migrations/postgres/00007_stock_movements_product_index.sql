-- Serves: the audit's sum of movements by product.

-- +goose Up
CREATE INDEX idx_stock_movements_product ON stock_movements (product_id);

-- +goose Down
DROP INDEX idx_stock_movements_product;
