-- The append-only history of each order. (order, sequence) is an event's identity everywhere.

-- +goose Up
CREATE TABLE order_events (
  order_id    INTEGER NOT NULL REFERENCES orders (id) DEFERRABLE INITIALLY DEFERRED,
  sequence    INTEGER NOT NULL,
  type        TEXT    NOT NULL,
  payload     TEXT    NOT NULL,
  actor       TEXT    NOT NULL,
  trace_id    TEXT    NOT NULL,
  traceparent TEXT    NOT NULL,
  created_at  INTEGER NOT NULL,
  PRIMARY KEY (order_id, sequence)
) STRICT, WITHOUT ROWID;

-- +goose Down
DROP TABLE order_events;
