-- Serves: the relay (unpublished events, oldest first) and the purge of published ones.

-- +goose Up
CREATE INDEX idx_outbox_paid ON outbox (paid_at, created_at);

-- +goose Down
DROP INDEX idx_outbox_paid;
