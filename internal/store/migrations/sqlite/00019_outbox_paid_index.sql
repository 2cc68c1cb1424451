-- Serves: the relay (what is owed, oldest first) and the purge of what is paid. (In MySQL it stands in the table.)

-- +goose Up
CREATE INDEX idx_outbox_paid ON outbox (paid_at, created_at);

-- +goose Down
DROP INDEX idx_outbox_paid;
