-- +goose Up
INSERT INTO installation (id, created_at)
VALUES (lower(hex(randomblob(16))), CAST(unixepoch('subsec') * 1000000 AS INTEGER));

-- +goose Down
DELETE FROM installation;
