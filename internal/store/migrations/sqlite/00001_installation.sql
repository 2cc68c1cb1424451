-- One row: the random id of this installation. It begins every charge's idempotency key, so that two databases never
-- share a charge.

-- +goose Up
CREATE TABLE installation (
  id         TEXT    NOT NULL PRIMARY KEY,
  created_at INTEGER NOT NULL
) STRICT;

-- +goose Down
DROP TABLE installation;
