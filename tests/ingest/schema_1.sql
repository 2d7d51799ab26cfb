CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE documents (
    rowid INTEGER PRIMARY KEY AUTOINCREMENT,
    document_id TEXT NOT NULL UNIQUE,
    name TEXT NOT NULL UNIQUE,
    title TEXT NOT NULL,
    media_type TEXT NOT NULL,
    sha256 TEXT NOT NULL,
    size INTEGER NOT NULL,
    source TEXT NOT NULL,           -- absolute path it was read from, empty for an upload
    recipe TEXT NOT NULL,           -- reader version and chunk sizes: another recipe means reading again
    added_at TEXT NOT NULL,
    pages INTEGER NOT NULL,
    chunks INTEGER NOT NULL,
    embedded INTEGER NOT NULL DEFAULT 0,
    metadata TEXT NOT NULL,         -- JSON
    headings TEXT NOT NULL,         -- JSON [[page, start, title, level], ...]
    problems TEXT NOT NULL          -- JSON [[page, reason, remedy], ...]
);
CREATE INDEX documents_by_hash ON documents (sha256);
CREATE INDEX documents_by_source ON documents (source);
CREATE TABLE aliases (              -- further names of the same content
    name TEXT PRIMARY KEY,
    document INTEGER NOT NULL REFERENCES documents ON DELETE CASCADE,
    source TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE failures (             -- files that could not be read, with the content that failed
    name TEXT PRIMARY KEY,
    sha256 TEXT NOT NULL,
    size INTEGER NOT NULL,
    source TEXT NOT NULL,
    recipe TEXT NOT NULL,
    failed_at TEXT NOT NULL,
    reason TEXT NOT NULL,
    remedy TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE pages (
    document INTEGER NOT NULL REFERENCES documents ON DELETE CASCADE,
    number INTEGER NOT NULL,
    width REAL NOT NULL,
    height REAL NOT NULL,
    label TEXT NOT NULL,
    text BLOB NOT NULL,             -- ingest/prepared.py packs and unpacks both
    words BLOB NOT NULL
);
CREATE UNIQUE INDEX pages_by_number ON pages (document, number);
CREATE TABLE chunks (               -- text = page text [start:end], not stored twice
    rowid INTEGER PRIMARY KEY AUTOINCREMENT,
    document INTEGER NOT NULL REFERENCES documents ON DELETE CASCADE,
    ordinal INTEGER NOT NULL,
    page INTEGER NOT NULL,
    start INTEGER NOT NULL,
    end INTEGER NOT NULL,
    context TEXT NOT NULL
);
CREATE UNIQUE INDEX chunks_by_ordinal ON chunks (document, ordinal);
CREATE TABLE vectors (
    chunk INTEGER PRIMARY KEY REFERENCES chunks ON DELETE CASCADE,
    vector BLOB NOT NULL            -- dim float16, unit length
);
CREATE VIRTUAL TABLE lexical USING fts5(
    body, context, content='', tokenize="ascii tokenchars '-.,&''_'"
);
CREATE VIRTUAL TABLE lexical_vocabulary USING fts5vocab(lexical, col);
