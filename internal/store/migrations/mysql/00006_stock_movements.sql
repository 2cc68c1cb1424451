-- All units that were ever added to stock or removed by hand. With the orders they prove the stock (invariant 1).

-- +goose Up
CREATE TABLE IF NOT EXISTS stock_movements (
  id         BIGINT          NOT NULL AUTO_INCREMENT PRIMARY KEY,
  product_id BIGINT          NOT NULL,
  quantity   BIGINT          NOT NULL,
  reason     VARCHAR(255)    NOT NULL,
  unique_key VARBINARY(1020) NOT NULL,
  actor      VARCHAR(255)    NOT NULL,
  created_at DATETIME(6)     NOT NULL,
  UNIQUE KEY idx_stock_movements_key (unique_key),
  KEY idx_stock_movements_product (product_id),
  CONSTRAINT fk_stock_movements_product FOREIGN KEY (product_id) REFERENCES products (id)
) ENGINE=InnoDB ROW_FORMAT=DYNAMIC DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

-- +goose Down
DROP TABLE IF EXISTS stock_movements;
