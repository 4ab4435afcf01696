-- An agent has a token (`legacy`), or a key, or neither until a PC enrols for it; no token is the empty text.
ALTER TABLE agents ADD COLUMN legacy INTEGER NOT NULL DEFAULT 0;
ALTER TABLE agents ADD COLUMN public_key TEXT;
ALTER TABLE agents ADD COLUMN enrolled_at TEXT;
UPDATE agents SET legacy = 1;

CREATE TABLE invitations (
    code_hash TEXT PRIMARY KEY,
    agent_id TEXT NOT NULL REFERENCES agents (id) ON DELETE CASCADE,
    created_at TEXT NOT NULL,
    created_by TEXT NOT NULL,
    expires_at TEXT NOT NULL,
    redeemed_at TEXT,
    redeemed_key TEXT
) STRICT, WITHOUT ROWID;
CREATE INDEX invitations_by_agent ON invitations (agent_id);
