CREATE TABLE settings (
    name TEXT PRIMARY KEY,
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE agents (
    id TEXT PRIMARY KEY,
    token_hash TEXT NOT NULL,
    created_at TEXT NOT NULL,
    last_seen_at TEXT,
    facts TEXT,
    desired_version TEXT,
    desired_allow_downgrade INTEGER NOT NULL DEFAULT 0
) STRICT;

CREATE TABLE releases (
    version TEXT NOT NULL,
    os TEXT NOT NULL,
    arch TEXT NOT NULL,
    sha256 TEXT NOT NULL,
    size_bytes INTEGER NOT NULL,
    added_at TEXT NOT NULL,
    PRIMARY KEY (version, os, arch)
) STRICT;

CREATE TABLE updates (
    sequence INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    agent_id TEXT NOT NULL REFERENCES agents (id) ON DELETE CASCADE,
    from_version TEXT,
    version TEXT NOT NULL,
    allow_downgrade INTEGER NOT NULL,
    sha256 TEXT,
    state TEXT NOT NULL,
    phase TEXT,
    failure TEXT,
    sent INTEGER NOT NULL,
    staged_reply INTEGER NOT NULL,
    requested_at TEXT NOT NULL,
    finished_at TEXT,
    journal TEXT NOT NULL
) STRICT;
CREATE INDEX updates_by_agent ON updates (agent_id, sequence);

CREATE TABLE update_timeline (
    update_id TEXT NOT NULL REFERENCES updates (id) ON DELETE CASCADE,
    position INTEGER NOT NULL,
    step TEXT NOT NULL,
    at TEXT NOT NULL,
    detail TEXT,
    PRIMARY KEY (update_id, position)
) STRICT, WITHOUT ROWID;

CREATE TABLE telemetry (
    agent_id TEXT PRIMARY KEY REFERENCES agents (id) ON DELETE CASCADE,
    collected_at TEXT NOT NULL,
    received_at TEXT NOT NULL,
    snapshot TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE events (
    id INTEGER PRIMARY KEY,
    at TEXT NOT NULL,
    kind TEXT NOT NULL,
    agent_id TEXT,
    summary TEXT NOT NULL,
    body TEXT
) STRICT;
CREATE INDEX events_by_agent ON events (agent_id, id) WHERE agent_id IS NOT NULL;
