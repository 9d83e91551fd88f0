-- The state of factd: what was read, what is proposed, what the model was made of. Version 6.
--
-- This file is what a new database is made from; `migrations.py` brings an older one to the same shape, and a
-- test compares the two. Every time is ISO-8601 text in UTC with microseconds and "+00:00", so that text
-- order is time order. Times come from the caller.

-- What was applied, and when. PRAGMA user_version holds the newest version.
CREATE TABLE migration (
    version    INTEGER PRIMARY KEY,
    name       TEXT NOT NULL,
    applied_at TEXT NOT NULL
) STRICT;

---------------------------------------------------------------------------------------------------- what was read

-- sha256 is unique: the same text under two ids is one article, the first that came.
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
    simhash      INTEGER NOT NULL          -- 64 bits, stored as the signed number with the same bits
) STRICT;
CREATE INDEX article_fetched ON article (fetched_at);

-- Earlier wordings of an article that its publisher has changed since.
CREATE TABLE article_old (
    sha256     TEXT PRIMARY KEY,
    article_id TEXT NOT NULL REFERENCES article (id),
    title      TEXT NOT NULL,
    text       TEXT NOT NULL,
    fetched_at TEXT NOT NULL
) STRICT;

-- An article counts as read once per version of the reader; a better reader reads it again.
CREATE TABLE article_read (
    article_id TEXT NOT NULL REFERENCES article (id),
    reader     TEXT NOT NULL,
    read_at    TEXT NOT NULL,
    PRIMARY KEY (article_id, reader)
) STRICT, WITHOUT ROWID;

-- retired_at: the article was read again (changed, or by a newer reader) and no longer says so.
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
    gone          INTEGER NOT NULL,
    origin        TEXT NOT NULL DEFAULT '',  -- the url in the settings that `url` began as
    body_sha256   TEXT NOT NULL DEFAULT ''
) STRICT;

------------------------------------------------------------------------------------------------------- the queue

-- The legal moves, each with what makes it. A trigger refuses every other.
CREATE TABLE transition (
    from_status TEXT NOT NULL,
    to_status   TEXT NOT NULL,
    PRIMARY KEY (from_status, to_status)
) STRICT, WITHOUT ROWID;
INSERT INTO transition (from_status, to_status) VALUES
    ('pending',     'approved'),      -- a person, or a written policy
    ('pending',     'rejected'),      -- a person, with a reason
    ('pending',     'superseded'),    -- a newer object for the same key came, or the same fact is live again
    ('approved',    'editing'),       -- the worker took it, with a lease
    ('approved',    'rejected'),      -- a person thought again
    ('approved',    'pending'),       -- what it rests on no longer says so
    ('approved',    'superseded'),    -- another object for the same key was approved, or the same fact is live again
    ('editing',     'approved'),      -- the lease ran out, or the worker gave it back
    ('editing',     'verified'),      -- the gate let it pass
    ('editing',     'failed'),        -- the edit could not be computed, or the gate refused it
    ('editing',     'superseded'),    -- given back while another object for the same key had been approved
    ('verified',    'approved'),      -- the lease ran out before the revision was published
    ('verified',    'failed'),        -- the gate refused the batch it was in because of it
    ('verified',    'superseded'),    -- as from editing
    ('verified',    'live'),          -- the revision that holds it was published
    ('live',        'superseded'),    -- a revision with another object for the same key was published
    ('live',        'rolled_back'),   -- taken back, or a revision without it is current again
    ('superseded',  'live'),          -- a revision that holds it is current again
    ('rolled_back', 'live'),          -- a revision that holds it is current again
    ('rejected',    'pending'),       -- further publishers say so, or a person reopened it
    ('failed',      'pending');       -- a person reopened it

-- A deferred proposal is pending with not_before_at. Nothing is ever deleted: a dead worker's lease runs out.
CREATE TABLE proposal (
    id            INTEGER PRIMARY KEY AUTOINCREMENT,
    subject       TEXT NOT NULL,
    relation      TEXT NOT NULL,
    object        TEXT NOT NULL,
    valid_from    TEXT NOT NULL,
    evidence      TEXT NOT NULL,           -- JSON list of claim ids
    publishers    TEXT NOT NULL,           -- JSON list
    single        INTEGER NOT NULL,        -- 1: the subject has one object for this relation at a time
    target_old    TEXT NOT NULL,
    reason        TEXT NOT NULL,
    belief        TEXT,                    -- JSON of Belief: prompts, answers, verdict, logp
    request       TEXT,                    -- JSON of EditRequest, where a person gave the prompts
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
-- The same fact is open once, whoever proposes it, and a single-valued key has one live object.
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

-- One row per move, and per change that is none (deferred, more evidence): then from_status = to_status.
CREATE TABLE proposal_event (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    proposal_id INTEGER NOT NULL REFERENCES proposal (id),
    at          TEXT NOT NULL,
    who         TEXT NOT NULL,
    from_status TEXT NOT NULL,             -- '' for the row's creation
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

--------------------------------------------------------------------------------------------- what was published

-- Revision 0 is the base and has no row. identity: sha256 over base, settings, delta and the proposals, so
-- that publishing the same thing twice is publishing it once.
CREATE TABLE revision (
    id           INTEGER PRIMARY KEY,
    identity     TEXT NOT NULL UNIQUE,
    base_sha     TEXT NOT NULL,
    delta_sha    TEXT NOT NULL,
    settings_sha TEXT NOT NULL,
    facts        TEXT NOT NULL,            -- JSON list of Fact, in the order of the proposals' ids
    report       TEXT,                     -- JSON of Report
    files        TEXT NOT NULL,            -- JSON: file name -> sha256
    status       TEXT NOT NULL CHECK (status IN ('published', 'rolled_back')),
    created_at   TEXT NOT NULL,
    pinned_at    TEXT,                     -- kept by `revisions gc`,
    pin_reason   TEXT NOT NULL DEFAULT '', -- for this reason
    removed_at   TEXT                      -- when `revisions gc` removed its files; it can be compiled again
) STRICT;
CREATE TRIGGER revision_stays BEFORE DELETE ON revision
BEGIN
    SELECT RAISE(ABORT, 'revisions are never deleted');
END;

CREATE TABLE revision_fact (
    revision_id INTEGER NOT NULL REFERENCES revision (id),
    proposal_id INTEGER NOT NULL REFERENCES proposal (id),
    place       TEXT NOT NULL DEFAULT 'weights' CHECK (place IN ('weights', 'overlay')),
    PRIMARY KEY (revision_id, proposal_id)
) STRICT, WITHOUT ROWID;
CREATE TRIGGER proposal_lives_in_revision BEFORE UPDATE OF status ON proposal
WHEN NEW.status = 'live' AND NOT EXISTS (SELECT 1 FROM revision_fact WHERE proposal_id = NEW.id)
BEGIN
    SELECT RAISE(ABORT, 'a proposal is live only through a revision that holds it');
END;

-- Which revision is served; no row is the base. The `current` link in revisions/ is derived from this.
CREATE TABLE current_revision (
    one         INTEGER PRIMARY KEY CHECK (one = 1),
    revision_id INTEGER REFERENCES revision (id)
) STRICT;

-- hash = sha256 of the canonical JSON of (seq, at, kind, payload, prev); prev = the hash of the row before.
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

------------------------------------------------------------------------------------------- version 2: what was left

-- The last reason for which a fact was not proposed, and how often it was given.
CREATE TABLE skip (
    subject  TEXT NOT NULL,
    relation TEXT NOT NULL,
    object   TEXT NOT NULL,
    code     TEXT NOT NULL,
    reason   TEXT NOT NULL,
    evidence TEXT NOT NULL,
    first_at TEXT NOT NULL,
    last_at  TEXT NOT NULL,
    times    INTEGER NOT NULL,
    PRIMARY KEY (subject, relation, object)
) STRICT, WITHOUT ROWID;

-- When each stage of the pipeline last came to its end, and what it left for the next run.
CREATE TABLE stage (
    name    TEXT PRIMARY KEY,
    done_at TEXT NOT NULL,
    detail  TEXT NOT NULL
) STRICT, WITHOUT ROWID;

------------------------------------------------------------------------------ version 3: the ways that texts come by

-- The same text through another source, or crediting another publisher, than the article's own row says.
CREATE TABLE article_copy (
    article_id TEXT NOT NULL REFERENCES article (id),
    source     TEXT NOT NULL,
    publisher  TEXT NOT NULL,
    PRIMARY KEY (article_id, source, publisher)
) STRICT, WITHOUT ROWID;

------------------------------------------------------------------------------- version 6: the rounds of `factd run`

-- outcome: 'running' until it ends; 'stopped': told to stop; 'lost': its process ended before it did.
-- errors: how many in a row were lost or ended in an error, this one included. Old rows are removed.
CREATE TABLE round (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    started_at TEXT NOT NULL,
    ended_at   TEXT,
    outcome    TEXT NOT NULL CHECK (outcome IN ('running', 'ok', 'error', 'stopped', 'lost')),
    took_s     REAL NOT NULL,
    errors     INTEGER NOT NULL,
    next_at    TEXT,                       -- when the next one is due, where somebody knows
    message    TEXT NOT NULL,
    counts     TEXT NOT NULL               -- JSON: what it found, name -> number
) STRICT;
