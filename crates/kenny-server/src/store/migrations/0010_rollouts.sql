ALTER TABLE agents ADD COLUMN name TEXT;
ALTER TABLE agents ADD COLUMN owner TEXT;
ALTER TABLE agents ADD COLUMN group_name TEXT;
ALTER TABLE agents ADD COLUMN labels TEXT NOT NULL DEFAULT '[]';
ALTER TABLE agents ADD COLUMN channel TEXT NOT NULL DEFAULT 'stable';
ALTER TABLE agents ADD COLUMN pinned TEXT;

-- The rollout whose word the intent is, and the update.
ALTER TABLE agents ADD COLUMN desired_rollout TEXT;
ALTER TABLE updates ADD COLUMN rollout_id TEXT;
ALTER TABLE events ADD COLUMN rollout_id TEXT;

CREATE TABLE rollouts (
    sequence INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    kind TEXT NOT NULL,
    version TEXT NOT NULL,
    selection TEXT NOT NULL,
    preset TEXT,
    strategy TEXT NOT NULL,
    allow_downgrade INTEGER NOT NULL,
    seed TEXT NOT NULL,
    state TEXT NOT NULL,
    reason TEXT,
    stage INTEGER NOT NULL,
    stage_since TEXT NOT NULL,
    started_by TEXT NOT NULL,
    started_at TEXT NOT NULL,
    ended_at TEXT,
    stages TEXT NOT NULL
) STRICT;

CREATE TABLE rollout_members (
    rollout_id TEXT NOT NULL REFERENCES rollouts (id) ON DELETE CASCADE,
    agent_id TEXT NOT NULL REFERENCES agents (id) ON DELETE CASCADE,
    stage INTEGER NOT NULL,
    state TEXT NOT NULL,
    since TEXT NOT NULL,
    begun_at TEXT,
    forgiven INTEGER NOT NULL,
    insisted INTEGER NOT NULL,
    kept TEXT,
    detail TEXT,
    PRIMARY KEY (rollout_id, agent_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX rollout_members_by_agent ON rollout_members (agent_id);
