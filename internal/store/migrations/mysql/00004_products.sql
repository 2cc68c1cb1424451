-- Products. The CHECK on stock is the last check: the database itself refuses to oversell.
-- Money is DECIMAL(10,2) here, minor units in SQLite; times are UTC, microseconds since 1970 in SQLite.

-- +goose Up
CREATE TABLE IF NOT EXISTS products (
  id         BIGINT         NOT NULL AUTO_INCREMENT PRIMARY KEY,
  name       VARCHAR(255)   NOT NULL,
  price      DECIMAL(10,2)  NOT NULL,
  currency   CHAR(3)        NOT NULL,
  stock      BIGINT UNSIGNED NOT NULL,
  active     TINYINT(1)     NOT NULL DEFAULT 1,
  created_at DATETIME(6)    NOT NULL,
  updated_at DATETIME(6)    NOT NULL,
  KEY idx_products_stock (stock),
  CONSTRAINT chk_products_price CHECK (price >= 0),
  CONSTRAINT chk_products_stock CHECK (stock >= 0)
) ENGINE=InnoDB ROW_FORMAT=DYNAMIC DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

-- +goose Down
DROP TABLE IF EXISTS products;
