ALTER TABLE releases ADD COLUMN signer_name TEXT;
ALTER TABLE releases ADD COLUMN signer_certificate_sha256 TEXT;
