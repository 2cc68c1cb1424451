-- One row for each claim that called the gateway and was reported.

-- +goose Up
CREATE TABLE payments (
  order_id   BIGINT       NOT NULL CONSTRAINT fk_payments_order REFERENCES orders (id),
  attempt    INTEGER      NOT NULL,
  kind       VARCHAR(8)   NOT NULL CONSTRAINT chk_payments_kind CHECK (kind IN ('charge', 'void', 'refund')),
  outcome    VARCHAR(16)  NOT NULL CONSTRAINT chk_payments_outcome CHECK (outcome IN ('succeeded', 'declined', 'no_answer')),
  reference  VARCHAR(255) NOT NULL,
  error      TEXT         NOT NULL,
  actor      VARCHAR(255) NOT NULL,
  created_at TIMESTAMPTZ  NOT NULL,
  PRIMARY KEY (order_id, attempt, kind)
);

-- +goose Down
DROP TABLE payments;
