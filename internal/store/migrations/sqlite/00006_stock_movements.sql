-- All that was ever put into stock or taken out by hand. With the orders it proves the stock (invariant 1).

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
