-- When a full bus last refused events: one row for the installation. By it the audit distinguishes a bus that is full from a relay
-- that does not publish. Nothing on the path of an order writes here.

-- +goose Up
CREATE TABLE outbox_refusals (
  id         BIGINT      NOT NULL PRIMARY KEY,
  refused_at TIMESTAMPTZ NOT NULL
);

-- +goose Down
DROP TABLE outbox_refusals;
