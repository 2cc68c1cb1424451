-- Serves: the products that are sold out, or nearly so.

-- +goose Up
CREATE INDEX idx_products_stock ON products (stock);

-- +goose Down
DROP INDEX idx_products_stock;
