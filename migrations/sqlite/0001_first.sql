-- The controller's first tables. Bodies of documents are JSON of the model's types.

CREATE TABLE meta (
    id                INTEGER PRIMARY KEY CHECK (id = 1),
    epoch             INTEGER NOT NULL, -- raised by a restore from backup
    generation        INTEGER NOT NULL, -- raised by every change of a plan
    key_epoch         INTEGER NOT NULL, -- raised by a rotation of keys
    certificate_epoch INTEGER NOT NULL  -- raised by a rotation of certificates
) STRICT;
INSERT INTO meta VALUES (1, 1, 1, 0, 0);

CREATE TABLE authority (
    kind        TEXT PRIMARY KEY, -- root, issuing
    certificate BLOB NOT NULL,    -- DER
    key         BLOB NOT NULL     -- PKCS#8, sealed under the key-encryption key
) STRICT;

CREATE TABLE mesh (
    id      INTEGER PRIMARY KEY CHECK (id = 1),
    spec    TEXT NOT NULL,
    version INTEGER NOT NULL
) STRICT;

CREATE TABLE admin_tokens (
    hash    BLOB PRIMARY KEY, -- SHA-256
    name    TEXT NOT NULL,
    created INTEGER NOT NULL
) STRICT;

CREATE TABLE join_tokens (
    name      TEXT PRIMARY KEY,
    hash      BLOB NOT NULL UNIQUE, -- SHA-256
    uses_left INTEGER,              -- without one, any number
    expires   INTEGER NOT NULL,     -- Unix seconds
    labels    TEXT NOT NULL,
    created   INTEGER NOT NULL
) STRICT;

CREATE TABLE nodes (
    name       TEXT PRIMARY KEY,
    labels     TEXT NOT NULL,
    spec       TEXT NOT NULL,
    host_index INTEGER NOT NULL UNIQUE, -- its place in the address pools
    key_hash   BLOB NOT NULL,           -- SHA-256 of its public key
    created    INTEGER NOT NULL,
    version    INTEGER NOT NULL
) STRICT;

CREATE TABLE policies (
    name    TEXT PRIMARY KEY,
    labels  TEXT NOT NULL,
    spec    TEXT NOT NULL,
    version INTEGER NOT NULL
) STRICT;

CREATE TABLE certificates (
    serial     TEXT PRIMARY KEY, -- lower-case hexadecimal
    node       TEXT NOT NULL,
    not_after  INTEGER NOT NULL,
    revoked_at INTEGER
) STRICT;
CREATE INDEX certificates_of_node ON certificates (node);

CREATE TABLE rotations (
    name    TEXT PRIMARY KEY,
    scope   TEXT NOT NULL,
    epoch   INTEGER NOT NULL,
    started INTEGER NOT NULL
) STRICT;

CREATE TABLE audit (
    id      INTEGER PRIMARY KEY,
    at      INTEGER NOT NULL,
    actor   TEXT NOT NULL,
    action  TEXT NOT NULL,
    subject TEXT NOT NULL
) STRICT;
