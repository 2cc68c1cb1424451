-- The events that the bus does not have yet: one row a transaction, under the transaction's random id.

-- +goose Up
CREATE TABLE outbox (
  id           VARCHAR(64) NOT NULL PRIMARY KEY,
  events       TEXT        NOT NULL,
  created_at   TIMESTAMPTZ NOT NULL,
  leased_until TIMESTAMPTZ NOT NULL,
  paid_at      TIMESTAMPTZ NULL
);

-- +goose Down
DROP TABLE outbox;
