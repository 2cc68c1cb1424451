-- Columns by the terms of the field: claims are numbered, payment attempts are left, events are published.

-- +goose Up
ALTER TABLE orders RENAME COLUMN attempts TO claims;
ALTER TABLE orders RENAME COLUMN tries_left TO attempts_left;
ALTER TABLE payments RENAME COLUMN attempt TO claim;
ALTER TABLE outbox RENAME COLUMN paid_at TO published_at;
ALTER INDEX idx_outbox_paid RENAME TO idx_outbox_published;

-- +goose Down
ALTER INDEX idx_outbox_published RENAME TO idx_outbox_paid;
ALTER TABLE outbox RENAME COLUMN published_at TO paid_at;
ALTER TABLE payments RENAME COLUMN claim TO attempt;
ALTER TABLE orders RENAME COLUMN attempts_left TO tries_left;
ALTER TABLE orders RENAME COLUMN claims TO attempts;
