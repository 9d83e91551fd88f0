"""What factd remembers: one folder with a SQLite database, the published revisions and the worker's lock.

    <state>/factd.db            articles, claims, feeds, the queue, revisions and the ledger (schema.sql tells
    all of it) <state>/revisions/<id>/     delta.safetensors, facts.json, report.json, revision.json of one
    published revision <state>/revisions/current   link to the one that is served; derived from the database,
    absent for the base <state>/cache/              other packages' caches; may be deleted at any time
    <state>/lock                held by the one process that works on the state

Read `db.py` (opening, transactions), then `articles.py` -> `queue.py` -> `revisions.py` along the flow;
`ledger.py` records it. Plain functions take the `Store`. Only the standard library is imported here, because
`factd queue list` answers at once.
"""
