-- One row: the random id of this installation. It begins every charge's idempotency key, so that two databases never
-- share a charge.

-- +goose Up
CREATE TABLE IF NOT EXISTS installation (
  id         VARCHAR(36) NOT NULL PRIMARY KEY,
  created_at DATETIME(6) NOT NULL
) ENGINE=InnoDB ROW_FORMAT=DYNAMIC DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

-- +goose Down
DROP TABLE IF EXISTS installation;
