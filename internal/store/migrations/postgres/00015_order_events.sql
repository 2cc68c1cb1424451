-- The append-only history of each order. (order, sequence) is an event's identity everywhere.

-- +goose Up
CREATE TABLE order_events (
  order_id    BIGINT       NOT NULL CONSTRAINT fk_order_events_order REFERENCES orders (id),
  sequence    INTEGER      NOT NULL,
  type        VARCHAR(32)  NOT NULL,
  payload     TEXT         NOT NULL,
  actor       VARCHAR(255) NOT NULL,
  trace_id    VARCHAR(128) NOT NULL,
  traceparent VARCHAR(64)  NOT NULL,
  created_at  TIMESTAMPTZ  NOT NULL,
  PRIMARY KEY (order_id, sequence)
);

-- +goose Down
DROP TABLE order_events;
