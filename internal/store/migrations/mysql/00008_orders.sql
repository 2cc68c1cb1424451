-- An order, with all that a worker needs to continue it after a crash.
-- idx_orders_idempotency enforces one order per (user, key); idx_orders_user serves the lists by user, newest
-- first; idx_orders_status serves the sweeper (what is due, oldest first) and the lists by status.

-- +goose Up
CREATE TABLE IF NOT EXISTS orders (
  id              BIGINT          NOT NULL AUTO_INCREMENT PRIMARY KEY,
  user_id         BIGINT          NOT NULL,
  status          VARCHAR(10)     NOT NULL,
  total_amount    DECIMAL(10,2)   NOT NULL,
  currency        CHAR(3)         NOT NULL,
  idempotency_key VARBINARY(1020) NOT NULL,
  fingerprint     VARBINARY(33)   NOT NULL,
  payment_method  VARCHAR(255)    NOT NULL,
  attempts        INT             NOT NULL,
  tries_left      INT             NOT NULL,
  lease_token     VARCHAR(64)     NOT NULL,
  due_at          DATETIME(6)     NULL,
  version         INT             NOT NULL,
  cancelled_at    DATETIME(6)     NULL,
  created_at      DATETIME(6)     NOT NULL,
  updated_at      DATETIME(6)     NOT NULL,
  UNIQUE KEY idx_orders_idempotency (user_id, idempotency_key),
  KEY idx_orders_user (user_id, id),
  KEY idx_orders_status (status, due_at),
  CONSTRAINT fk_orders_user FOREIGN KEY (user_id) REFERENCES users (id),
  CONSTRAINT chk_orders_status CHECK (status IN ('PENDING', 'PROCESSING', 'PAID', 'FAILED', 'CANCELLED')),
  CONSTRAINT chk_orders_total CHECK (total_amount >= 0)
) ENGINE=InnoDB ROW_FORMAT=DYNAMIC DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

-- +goose Down
DROP TABLE IF EXISTS orders;
