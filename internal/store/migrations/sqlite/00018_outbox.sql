-- The events of a transaction that the bus does not have yet: one row per transaction, under the transaction's random id.

-- +goose Up
CREATE TABLE outbox (
  id           TEXT    NOT NULL PRIMARY KEY,
  events       TEXT    NOT NULL,
  created_at   INTEGER NOT NULL,
  leased_until INTEGER NOT NULL,
  paid_at      INTEGER
) STRICT, WITHOUT ROWID;

-- +goose Down
DROP TABLE outbox;
