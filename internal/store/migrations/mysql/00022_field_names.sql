-- Columns by the terms of the field: claims are numbered, payment attempts are left, events are published. MySQL commits at each
-- ALTER TABLE, and neither server has RENAME COLUMN IF EXISTS. So each one looks first whether it was done: the step may run again.

-- +goose Up
SET @rename = IF((SELECT count(*) FROM information_schema.columns
  WHERE table_schema = DATABASE() AND table_name = 'orders' AND column_name = 'tries_left') > 0,
  'ALTER TABLE orders RENAME COLUMN attempts TO claims, RENAME COLUMN tries_left TO attempts_left, ALGORITHM=INPLACE, LOCK=NONE', 'DO 0');
PREPARE rename_columns FROM @rename;
EXECUTE rename_columns;
DEALLOCATE PREPARE rename_columns;
SET @rename = IF((SELECT count(*) FROM information_schema.columns
  WHERE table_schema = DATABASE() AND table_name = 'payments' AND column_name = 'attempt') > 0,
  'ALTER TABLE payments RENAME COLUMN attempt TO claim, ALGORITHM=INPLACE, LOCK=NONE', 'DO 0');
PREPARE rename_columns FROM @rename;
EXECUTE rename_columns;
DEALLOCATE PREPARE rename_columns;
SET @rename = IF((SELECT count(*) FROM information_schema.columns
  WHERE table_schema = DATABASE() AND table_name = 'outbox' AND column_name = 'paid_at') > 0,
  'ALTER TABLE outbox RENAME COLUMN paid_at TO published_at, RENAME INDEX idx_outbox_paid TO idx_outbox_published, ALGORITHM=INPLACE, LOCK=NONE', 'DO 0');
PREPARE rename_columns FROM @rename;
EXECUTE rename_columns;
DEALLOCATE PREPARE rename_columns;

-- +goose Down
SET @rename = IF((SELECT count(*) FROM information_schema.columns
  WHERE table_schema = DATABASE() AND table_name = 'outbox' AND column_name = 'published_at') > 0,
  'ALTER TABLE outbox RENAME COLUMN published_at TO paid_at, RENAME INDEX idx_outbox_published TO idx_outbox_paid, ALGORITHM=INPLACE, LOCK=NONE', 'DO 0');
PREPARE rename_columns FROM @rename;
EXECUTE rename_columns;
DEALLOCATE PREPARE rename_columns;
SET @rename = IF((SELECT count(*) FROM information_schema.columns
  WHERE table_schema = DATABASE() AND table_name = 'payments' AND column_name = 'claim') > 0,
  'ALTER TABLE payments RENAME COLUMN claim TO attempt, ALGORITHM=INPLACE, LOCK=NONE', 'DO 0');
PREPARE rename_columns FROM @rename;
EXECUTE rename_columns;
DEALLOCATE PREPARE rename_columns;
SET @rename = IF((SELECT count(*) FROM information_schema.columns
  WHERE table_schema = DATABASE() AND table_name = 'orders' AND column_name = 'attempts_left') > 0,
  'ALTER TABLE orders RENAME COLUMN attempts_left TO tries_left, RENAME COLUMN claims TO attempts, ALGORITHM=INPLACE, LOCK=NONE', 'DO 0');
PREPARE rename_columns FROM @rename;
EXECUTE rename_columns;
DEALLOCATE PREPARE rename_columns;
