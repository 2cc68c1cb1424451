-- Orders whose payment used up its attempts, open (resolved_at NULL) until an operator retries or abandons them. One row per order,
-- reopened when it fails again, so that its id stays valid.

-- +goose Up
CREATE TABLE failed_jobs (
  id          INTEGER PRIMARY KEY,
  order_id    INTEGER NOT NULL UNIQUE REFERENCES orders (id) DEFERRABLE INITIALLY DEFERRED,
  attempts    INTEGER NOT NULL,
  error       TEXT    NOT NULL,
  failed_at   INTEGER NOT NULL,
  resolved_at INTEGER,
  resolution  TEXT    NOT NULL
) STRICT;

-- +goose Down
DROP TABLE failed_jobs;
