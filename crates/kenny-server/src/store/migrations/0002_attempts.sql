ALTER TABLE updates ADD COLUMN kind TEXT NOT NULL DEFAULT 'update';
ALTER TABLE updates ADD COLUMN origin TEXT NOT NULL DEFAULT 'operator';
ALTER TABLE updates ADD COLUMN attempt INTEGER NOT NULL DEFAULT 1;
ALTER TABLE updates ADD COLUMN tally TEXT NOT NULL DEFAULT '{}';
ALTER TABLE updates ADD COLUMN log TEXT NOT NULL DEFAULT '[]';
CREATE INDEX updates_by_version ON updates (agent_id, version, sequence);

CREATE TABLE holds (
    agent_id TEXT NOT NULL REFERENCES agents (id) ON DELETE CASCADE,
    version TEXT NOT NULL,
    attempts INTEGER NOT NULL,
    since TEXT NOT NULL,
    reason TEXT NOT NULL,
    cleared INTEGER NOT NULL,
    PRIMARY KEY (agent_id, version)
) STRICT, WITHOUT ROWID;
