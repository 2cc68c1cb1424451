-- All units that were ever added to stock or removed by hand. With the orders they prove the stock (invariant 1).

-- +goose Up
CREATE TABLE stock_movements (
  id         INTEGER PRIMARY KEY,
  product_id INTEGER NOT NULL REFERENCES products (id) DEFERRABLE INITIALLY DEFERRED,
  quantity   INTEGER NOT NULL,
  reason     TEXT    NOT NULL,
  unique_key TEXT    NOT NULL UNIQUE,
  actor      TEXT    NOT NULL,
  created_at INTEGER NOT NULL
) STRICT;

-- +goose Down
DROP TABLE stock_movements;
