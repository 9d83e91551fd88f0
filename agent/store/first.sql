-- Version 1, as it was. Never changed again: see migrations.py.

CREATE TABLE migration (
    version    INTEGER PRIMARY KEY,
    name       TEXT NOT NULL,
    applied_at TEXT NOT NULL
) STRICT;

CREATE TABLE article (
    id           TEXT PRIMARY KEY,
    source       TEXT NOT NULL,
    publisher    TEXT NOT NULL,
    url          TEXT NOT NULL,
    title        TEXT NOT NULL,
    text         TEXT NOT NULL,
    published_at TEXT NOT NULL,
    fetched_at   TEXT NOT NULL,
    sha256       TEXT NOT NULL UNIQUE,
    simhash      INTEGER NOT NULL
) STRICT;
CREATE INDEX article_fetched ON article (fetched_at);

CREATE TABLE article_old (
    sha256     TEXT PRIMARY KEY,
    article_id TEXT NOT NULL REFERENCES article (id),
    title      TEXT NOT NULL,
    text       TEXT NOT NULL,
    fetched_at TEXT NOT NULL
) STRICT;

CREATE TABLE article_read (
    article_id TEXT NOT NULL REFERENCES article (id),
    reader     TEXT NOT NULL,
    read_at    TEXT NOT NULL,
    PRIMARY KEY (article_id, reader)
) STRICT, WITHOUT ROWID;

CREATE TABLE claim (
    id         TEXT PRIMARY KEY,
    subject    TEXT NOT NULL,
    relation   TEXT NOT NULL,
    object     TEXT NOT NULL,
    kind       TEXT NOT NULL,
    article_id TEXT NOT NULL REFERENCES article (id),
    sentence   TEXT NOT NULL,
    as_of      TEXT NOT NULL,
    score      REAL NOT NULL,
    added_at   TEXT NOT NULL,
    retired_at TEXT
) STRICT;
CREATE INDEX claim_key ON claim (subject, relation);
CREATE INDEX claim_article ON claim (article_id);

CREATE TABLE feed (
    source        TEXT PRIMARY KEY,
    url           TEXT NOT NULL,
    etag          TEXT NOT NULL,
    last_modified TEXT NOT NULL,
    polled_at     TEXT,
    next_poll_at  TEXT,
    errors        INTEGER NOT NULL,
    last_error    TEXT NOT NULL,
    gone          INTEGER NOT NULL
) STRICT;

CREATE TABLE transition (
    from_status TEXT NOT NULL,
    to_status   TEXT NOT NULL,
    PRIMARY KEY (from_status, to_status)
) STRICT, WITHOUT ROWID;
INSERT INTO transition (from_status, to_status) VALUES
    ('pending',     'approved'),
    ('pending',     'rejected'),
    ('pending',     'superseded'),
    ('approved',    'editing'),
    ('approved',    'rejected'),
    ('approved',    'superseded'),
    ('editing',     'approved'),
    ('editing',     'verified'),
    ('editing',     'failed'),
    ('editing',     'superseded'),
    ('verified',    'approved'),
    ('verified',    'failed'),
    ('verified',    'superseded'),
    ('verified',    'live'),
    ('live',        'superseded'),
    ('live',        'rolled_back'),
    ('superseded',  'live'),
    ('rolled_back', 'live'),
    ('rejected',    'pending'),
    ('failed',      'pending');

CREATE TABLE proposal (
    id            INTEGER PRIMARY KEY AUTOINCREMENT,
    subject       TEXT NOT NULL,
    relation      TEXT NOT NULL,
    object        TEXT NOT NULL,
    valid_from    TEXT NOT NULL,
    evidence      TEXT NOT NULL,
    publishers    TEXT NOT NULL,
    single        INTEGER NOT NULL,
    target_old    TEXT NOT NULL,
    reason        TEXT NOT NULL,
    belief        TEXT,
    request       TEXT,
    status        TEXT NOT NULL CHECK (status IN ('pending', 'approved', 'editing', 'verified', 'live', 'rejected',
                                                  'failed', 'superseded', 'rolled_back')),
    superseded_by INTEGER REFERENCES proposal (id),
    created_at    TEXT NOT NULL,
    decided_at    TEXT,
    not_before_at TEXT,
    lease_owner   TEXT,
    lease_until   TEXT,
    CHECK ((status IN ('editing', 'verified')) = (lease_owner IS NOT NULL)),
    CHECK ((lease_owner IS NULL) = (lease_until IS NULL))
) STRICT;
CREATE INDEX proposal_status ON proposal (status);
CREATE INDEX proposal_key ON proposal (subject, relation);
CREATE UNIQUE INDEX proposal_open ON proposal (subject, relation, object)
    WHERE status IN ('pending', 'approved', 'editing', 'verified', 'live');
CREATE UNIQUE INDEX proposal_live ON proposal (subject, relation) WHERE status = 'live' AND single = 1;
CREATE TRIGGER proposal_starts BEFORE INSERT ON proposal WHEN NEW.status <> 'pending'
BEGIN
    SELECT RAISE(ABORT, 'a proposal starts as pending');
END;
CREATE TRIGGER proposal_moves BEFORE UPDATE OF status ON proposal
WHEN NEW.status <> OLD.status
    AND NOT EXISTS (SELECT 1 FROM transition WHERE from_status = OLD.status AND to_status = NEW.status)
BEGIN
    SELECT RAISE(ABORT, 'this move of a proposal is not in the table of transitions');
END;
CREATE TRIGGER proposal_stays BEFORE DELETE ON proposal
BEGIN
    SELECT RAISE(ABORT, 'proposals are never deleted');
END;

CREATE TABLE proposal_event (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    proposal_id INTEGER NOT NULL REFERENCES proposal (id),
    at          TEXT NOT NULL,
    who         TEXT NOT NULL,
    from_status TEXT NOT NULL,
    to_status   TEXT NOT NULL,
    reason      TEXT NOT NULL
) STRICT;
CREATE INDEX proposal_event_of ON proposal_event (proposal_id);
CREATE TRIGGER proposal_event_true BEFORE INSERT ON proposal_event
WHEN NEW.to_status <> (SELECT status FROM proposal WHERE id = NEW.proposal_id)
BEGIN
    SELECT RAISE(ABORT, 'an event names the status that its proposal has');
END;
CREATE TRIGGER proposal_event_fixed BEFORE UPDATE ON proposal_event
BEGIN
    SELECT RAISE(ABORT, 'events are never changed');
END;
CREATE TRIGGER proposal_event_stays BEFORE DELETE ON proposal_event
BEGIN
    SELECT RAISE(ABORT, 'events are never deleted');
END;

CREATE TABLE revision (
    id           INTEGER PRIMARY KEY,
    identity     TEXT NOT NULL UNIQUE,
    base_sha     TEXT NOT NULL,
    delta_sha    TEXT NOT NULL,
    settings_sha TEXT NOT NULL,
    facts        TEXT NOT NULL,
    report       TEXT,
    files        TEXT NOT NULL,
    status       TEXT NOT NULL CHECK (status IN ('published', 'rolled_back')),
    created_at   TEXT NOT NULL
) STRICT;
CREATE TRIGGER revision_stays BEFORE DELETE ON revision
BEGIN
    SELECT RAISE(ABORT, 'revisions are never deleted');
END;

CREATE TABLE revision_fact (
    revision_id INTEGER NOT NULL REFERENCES revision (id),
    proposal_id INTEGER NOT NULL REFERENCES proposal (id),
    PRIMARY KEY (revision_id, proposal_id)
) STRICT, WITHOUT ROWID;
CREATE TRIGGER proposal_lives_in_revision BEFORE UPDATE OF status ON proposal
WHEN NEW.status = 'live' AND NOT EXISTS (SELECT 1 FROM revision_fact WHERE proposal_id = NEW.id)
BEGIN
    SELECT RAISE(ABORT, 'a proposal is live only through a revision that holds it');
END;

CREATE TABLE current_revision (
    one         INTEGER PRIMARY KEY CHECK (one = 1),
    revision_id INTEGER REFERENCES revision (id)
) STRICT;

CREATE TABLE ledger (
    seq     INTEGER PRIMARY KEY AUTOINCREMENT,
    at      TEXT NOT NULL,
    kind    TEXT NOT NULL,
    payload TEXT NOT NULL,
    prev    TEXT NOT NULL,
    hash    TEXT NOT NULL
) STRICT;
CREATE TRIGGER ledger_follows BEFORE INSERT ON ledger
WHEN NEW.prev <> coalesce((SELECT hash FROM ledger ORDER BY seq DESC LIMIT 1), '')
BEGIN
    SELECT RAISE(ABORT, 'a ledger row follows the last one');
END;
CREATE TRIGGER ledger_fixed BEFORE UPDATE ON ledger
BEGIN
    SELECT RAISE(ABORT, 'the ledger is never changed');
END;
CREATE TRIGGER ledger_stays BEFORE DELETE ON ledger
BEGIN
    SELECT RAISE(ABORT, 'the ledger is never shortened');
END;
