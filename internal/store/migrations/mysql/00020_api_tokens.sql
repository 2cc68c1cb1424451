-- Bearer tokens, stored hashed.

-- +goose Up
CREATE TABLE IF NOT EXISTS api_tokens (
  id         BIGINT        NOT NULL AUTO_INCREMENT PRIMARY KEY,
  user_id    BIGINT        NULL,
  token_hash VARBINARY(32) NOT NULL,
  name       VARCHAR(255)  NOT NULL,
  admin      TINYINT(1)    NOT NULL DEFAULT 0,
  created_at DATETIME(6)   NOT NULL,
  expires_at DATETIME(6)   NULL,
  revoked_at DATETIME(6)   NULL,
  UNIQUE KEY idx_api_tokens_hash (token_hash),
  KEY idx_api_tokens_user (user_id),
  CONSTRAINT fk_api_tokens_user FOREIGN KEY (user_id) REFERENCES users (id)
) ENGINE=InnoDB ROW_FORMAT=DYNAMIC DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

-- +goose Down
DROP TABLE IF EXISTS api_tokens;
