-- An order, with all that a worker needs to continue it after a crash.
-- idx_orders_idempotency enforces one order per (user, key); idx_orders_user serves the lists by user, newest
-- first; idx_orders_status serves the sweeper (what is due, oldest first) and the lists by status.

-- +goose Up
CREATE TABLE orders (
  id              INTEGER PRIMARY KEY,
  user_id         INTEGER NOT NULL REFERENCES users (id) DEFERRABLE INITIALLY DEFERRED,
  status          TEXT    NOT NULL CHECK (status IN ('PENDING', 'PROCESSING', 'PAID', 'FAILED', 'CANCELLED')),
  total_amount    INTEGER NOT NULL CHECK (total_amount BETWEEN 0 AND 9999999999),
  currency        TEXT    NOT NULL,
  idempotency_key TEXT    NOT NULL,
  fingerprint     BLOB    NOT NULL,
  payment_method  TEXT    NOT NULL,
  attempts        INTEGER NOT NULL,
  tries_left      INTEGER NOT NULL,
  lease_token     TEXT    NOT NULL,
  due_at          INTEGER,
  version         INTEGER NOT NULL,
  cancelled_at    INTEGER,
  created_at      INTEGER NOT NULL,
  updated_at      INTEGER NOT NULL
) STRICT;

-- +goose Down
DROP TABLE orders;
