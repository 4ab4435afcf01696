CREATE TABLE accounts (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL UNIQUE,
    role TEXT NOT NULL,
    disabled INTEGER NOT NULL DEFAULT 0,
    created_at TEXT NOT NULL,
    password_hash TEXT,
    totp_secret BLOB,
    totp_confirmed INTEGER NOT NULL DEFAULT 0,
    totp_last_step INTEGER NOT NULL DEFAULT 0,
    generation INTEGER NOT NULL DEFAULT 0
) STRICT;

CREATE TABLE recovery_codes (
    account_id INTEGER NOT NULL REFERENCES accounts (id) ON DELETE CASCADE,
    code_hash TEXT NOT NULL,
    PRIMARY KEY (account_id, code_hash)
) STRICT, WITHOUT ROWID;

CREATE TABLE api_tokens (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    account_id INTEGER NOT NULL REFERENCES accounts (id) ON DELETE CASCADE,
    name TEXT NOT NULL,
    token_hash TEXT NOT NULL UNIQUE,
    role TEXT NOT NULL,
    created_at TEXT NOT NULL,
    expires_at TEXT,
    last_used_at TEXT
) STRICT;
CREATE INDEX api_tokens_by_account ON api_tokens (account_id);

INSERT INTO accounts (name, role, created_at)
SELECT 'owner', 'owner', strftime('%Y-%m-%dT%H:%M:%SZ', 'now') FROM settings WHERE name = 'operator_token_hash';
INSERT INTO api_tokens (account_id, name, token_hash, role, created_at)
SELECT accounts.id, 'first start', settings.value, 'owner', accounts.created_at
FROM accounts, settings WHERE settings.name = 'operator_token_hash';
DELETE FROM settings WHERE name = 'operator_token_hash';
