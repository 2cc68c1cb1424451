-- One row for each attempt that called the gateway and was reported.

-- +goose Up
CREATE TABLE payments (
  order_id   INTEGER NOT NULL REFERENCES orders (id) DEFERRABLE INITIALLY DEFERRED,
  attempt    INTEGER NOT NULL,
  kind       TEXT    NOT NULL CHECK (kind IN ('charge', 'void', 'refund')),
  outcome    TEXT    NOT NULL CHECK (outcome IN ('succeeded', 'declined', 'no_answer')),
  reference  TEXT    NOT NULL,
  error      TEXT    NOT NULL,
  actor      TEXT    NOT NULL,
  created_at INTEGER NOT NULL,
  PRIMARY KEY (order_id, attempt, kind)
) STRICT, WITHOUT ROWID;

-- +goose Down
DROP TABLE payments;
