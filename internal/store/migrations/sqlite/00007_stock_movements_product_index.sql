-- Serves: the audit's sum of movements by product. (In MySQL the foreign key's index stands in the table.)

-- +goose Up
CREATE INDEX idx_stock_movements_product ON stock_movements (product_id);

-- +goose Down
DROP INDEX idx_stock_movements_product;
