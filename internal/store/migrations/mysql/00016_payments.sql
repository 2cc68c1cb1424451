-- One row for each attempt that called the gateway and was reported.

-- +goose Up
CREATE TABLE IF NOT EXISTS payments (
  order_id   BIGINT       NOT NULL,
  attempt    INT          NOT NULL,
  kind       VARCHAR(8)   NOT NULL,
  outcome    VARCHAR(16)  NOT NULL,
  reference  VARCHAR(255) NOT NULL,
  error      TEXT         NOT NULL,
  actor      VARCHAR(255) NOT NULL,
  created_at DATETIME(6)  NOT NULL,
  PRIMARY KEY (order_id, attempt, kind),
  CONSTRAINT fk_payments_order FOREIGN KEY (order_id) REFERENCES orders (id),
  CONSTRAINT chk_payments_kind CHECK (kind IN ('charge', 'void', 'refund')),
  CONSTRAINT chk_payments_outcome CHECK (outcome IN ('succeeded', 'declined', 'no_answer'))
) ENGINE=InnoDB ROW_FORMAT=DYNAMIC DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

-- +goose Down
DROP TABLE IF EXISTS payments;
