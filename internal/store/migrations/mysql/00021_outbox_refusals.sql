-- When a full bus last refused events: one row for the installation. By it the audit distinguishes a full bus from a relay that
-- does not publish. Nothing on the path of an order writes here.

-- +goose Up
CREATE TABLE IF NOT EXISTS outbox_refusals (
  id         BIGINT      NOT NULL PRIMARY KEY,
  refused_at DATETIME(6) NOT NULL
) ENGINE=InnoDB ROW_FORMAT=DYNAMIC DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

-- +goose Down
DROP TABLE IF EXISTS outbox_refusals;
