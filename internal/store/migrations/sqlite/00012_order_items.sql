-- The lines of an order, with the price of a unit at the time of purchase.
-- idx_order_items_order serves reading an order; idx_order_items_product serves the audit and the foreign key.

-- +goose Up
CREATE TABLE order_items (
  id         INTEGER PRIMARY KEY,
  order_id   INTEGER NOT NULL REFERENCES orders (id) DEFERRABLE INITIALLY DEFERRED,
  product_id INTEGER NOT NULL REFERENCES products (id) DEFERRABLE INITIALLY DEFERRED,
  quantity   INTEGER NOT NULL CHECK (quantity > 0),
  unit_price INTEGER NOT NULL CHECK (unit_price >= 0)
) STRICT;

-- +goose Down
DROP TABLE order_items;
