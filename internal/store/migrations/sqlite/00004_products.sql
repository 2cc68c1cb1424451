-- Products. The CHECK on stock is the last check: the database itself refuses to oversell.
-- Money is in minor units here, DECIMAL(10,2) in MySQL; times are microseconds since 1970, DATETIME(6) in MySQL.

-- +goose Up
CREATE TABLE products (
  id         INTEGER PRIMARY KEY,
  name       TEXT    NOT NULL,
  price      INTEGER NOT NULL CHECK (price BETWEEN 0 AND 9999999999),
  currency   TEXT    NOT NULL CHECK (length(currency) = 3),
  stock      INTEGER NOT NULL CHECK (stock >= 0),
  active     INTEGER NOT NULL DEFAULT 1 CHECK (active IN (0, 1)),
  created_at INTEGER NOT NULL,
  updated_at INTEGER NOT NULL
) STRICT;

-- +goose Down
DROP TABLE products;
