-- When a full bus last refused events: one row for the installation. By it the audit distinguishes a full bus from a relay that
-- does not publish. Nothing on the path of an order writes here.

-- +goose Up
CREATE TABLE outbox_refusals (
  id         INTEGER NOT NULL PRIMARY KEY,
  refused_at INTEGER NOT NULL
) STRICT;

-- +goose Down
DROP TABLE outbox_refusals;
