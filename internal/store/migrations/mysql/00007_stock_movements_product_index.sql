-- Serves: the audit's sum of movements by product. (In MySQL the foreign key's index stands in the table.)

-- +goose Up
SELECT 1;

-- +goose Down
SELECT 1;
