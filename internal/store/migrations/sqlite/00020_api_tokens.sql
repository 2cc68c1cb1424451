-- Bearer tokens, stored hashed.

-- +goose Up
CREATE TABLE api_tokens (
  id         INTEGER PRIMARY KEY,
  user_id    INTEGER REFERENCES users (id) DEFERRABLE INITIALLY DEFERRED,
  token_hash BLOB    NOT NULL UNIQUE,
  name       TEXT    NOT NULL,
  admin      INTEGER NOT NULL DEFAULT 0 CHECK (admin IN (0, 1)),
  created_at INTEGER NOT NULL,
  expires_at INTEGER,
  revoked_at INTEGER
) STRICT;

-- +goose Down
DROP TABLE api_tokens;
