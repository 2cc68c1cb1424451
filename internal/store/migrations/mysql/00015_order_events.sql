-- The append-only history of each order. (order, sequence) is an event's identity everywhere.

-- +goose Up
CREATE TABLE IF NOT EXISTS order_events (
  order_id    BIGINT       NOT NULL,
  sequence    INT          NOT NULL,
  type        VARCHAR(32)  NOT NULL,
  payload     TEXT         NOT NULL,
  actor       VARCHAR(255) NOT NULL,
  trace_id    VARCHAR(128) NOT NULL,
  traceparent VARCHAR(64)  NOT NULL,
  created_at  DATETIME(6)  NOT NULL,
  PRIMARY KEY (order_id, sequence),
  CONSTRAINT fk_order_events_order FOREIGN KEY (order_id) REFERENCES orders (id)
) ENGINE=InnoDB ROW_FORMAT=DYNAMIC DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

-- +goose Down
DROP TABLE IF EXISTS order_events;
