-- +goose Up
INSERT INTO installation (id, created_at) VALUES (REPLACE(UUID(), '-', ''), UTC_TIMESTAMP(6));

-- +goose Down
DELETE FROM installation;
