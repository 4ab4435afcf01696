CREATE TABLE trust_metadata (
    role TEXT NOT NULL,
    version INTEGER NOT NULL,
    body BLOB NOT NULL,
    PRIMARY KEY (role, version)
) STRICT, WITHOUT ROWID;
