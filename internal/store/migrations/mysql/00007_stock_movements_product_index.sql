-- Serves: the audit's sum of movements by product. (In MySQL the table contains the foreign key's index.)

-- +goose Up
SELECT 1;

-- +goose Down
SELECT 1;
