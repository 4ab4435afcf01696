ALTER TABLE releases ADD COLUMN withdrawn_at TEXT;
