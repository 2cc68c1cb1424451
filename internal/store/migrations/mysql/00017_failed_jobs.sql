-- Orders whose payment used up its attempts, open (resolved_at NULL) until an operator retries or abandons them. One row per order,
-- reopened when it fails again, so that its id stays valid.

-- +goose Up
CREATE TABLE IF NOT EXISTS failed_jobs (
  id          BIGINT      NOT NULL AUTO_INCREMENT PRIMARY KEY,
  order_id    BIGINT      NOT NULL,
  attempts    INT         NOT NULL,
  error       TEXT        NOT NULL,
  failed_at   DATETIME(6) NOT NULL,
  resolved_at DATETIME(6) NULL,
  resolution  VARCHAR(32) NOT NULL,
  UNIQUE KEY idx_failed_jobs_order (order_id),
  CONSTRAINT fk_failed_jobs_order FOREIGN KEY (order_id) REFERENCES orders (id)
) ENGINE=InnoDB ROW_FORMAT=DYNAMIC DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

-- +goose Down
DROP TABLE IF EXISTS failed_jobs;
