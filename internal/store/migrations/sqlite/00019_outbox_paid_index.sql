-- Serves: the relay (unpublished rows, oldest first) and the purge of published rows. (In MySQL the table contains it.)

-- +goose Up
CREATE INDEX idx_outbox_paid ON outbox (paid_at, created_at);

-- +goose Down
DROP INDEX idx_outbox_paid;
