-- One row: the random id of this installation. It begins every charge's idempotency key, so that two databases never
-- share a charge.

-- +goose Up
CREATE TABLE installation (
  id         VARCHAR(36) NOT NULL PRIMARY KEY,
  created_at TIMESTAMPTZ NOT NULL
);

-- +goose Down
DROP TABLE installation;
