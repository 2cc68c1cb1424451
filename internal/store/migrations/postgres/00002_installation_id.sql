-- +goose Up
INSERT INTO installation (id, created_at) VALUES (replace(gen_random_uuid()::text, '-', ''), statement_timestamp());

-- +goose Down
DELETE FROM installation;
