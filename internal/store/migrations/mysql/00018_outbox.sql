-- The events of a transaction that the bus does not have yet: one row per transaction, under the transaction's random id.

-- +goose Up
CREATE TABLE IF NOT EXISTS outbox (
  id           VARCHAR(64) NOT NULL PRIMARY KEY,
  events       MEDIUMTEXT  NOT NULL,
  created_at   DATETIME(6) NOT NULL,
  leased_until DATETIME(6) NOT NULL,
  paid_at      DATETIME(6) NULL,
  KEY idx_outbox_paid (paid_at, created_at)
) ENGINE=InnoDB ROW_FORMAT=DYNAMIC DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

-- +goose Down
DROP TABLE IF EXISTS outbox;
