"""The standing as Prometheus reads it (text format 0.0.4). Written here: it is some lines of text, and a client library would bring a
registry and threads of its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from agent.health import Standing

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_STATUSES = (
    "pending", "approved", "editing", "verified", "live", "rejected", "failed", "superseded", "rolled_back",
)  # fmt: skip
_SOURCE_STATES = ("new", "ok", "moved", "failing", "gone")
Sample = tuple[Mapping[str, str], float]


def metrics(found: Standing, *, alive: bool) -> str:
    """The whole answer to `/metrics`."""
    served, counts = found.served, (found.rounds[0].counts if found.rounds else {})
    ended = next((r for r in found.rounds if r.outcome != "running"), None)
    states = [source.state for source in found.sources]
    families = [
        _family("factd_alive", "gauge", "Whether rounds get on: 0 when one is stuck.", [_one(alive)]),
        _family("factd_ready", "gauge", "Whether a whole revision is served and the news is read.", [_one(found.is_ready)]),
        _family("factd_problem", "gauge", "What is wrong, by code.", [({"code": p.code}, 1) for p in found.problems]),
        _family("factd_revision", "gauge", "The revision that is served; 0 is the base.", [_one(served.id)]),
        _family("factd_facts", "gauge", "Live facts, by where they are.", [
            ({"place": "weights"}, served.facts - served.beside), ({"place": "overlay"}, served.beside)]),
        _family("factd_proposals", "gauge", "Proposals, by status.", [
            ({"status": status}, found.queue.get(status, 0)) for status in _STATUSES]),
        _family("factd_sources", "gauge", "Sources, by state.", [({"state": s}, states.count(s)) for s in _SOURCE_STATES]),
        _family("factd_source_errors", "gauge", "Failures in a row of the sources that fail.", [
            ({"source": s.name}, s.errors) for s in found.failing]),
        _family("factd_articles", "gauge", "Articles stored.", [_one(found.articles)]),
        _family("factd_claims", "gauge", "Claims that hold.", [_one(found.claims)]),
        _family("factd_rounds_total", "counter", "Rounds that began, ever.", [_one(found.round_count)]),
        _family("factd_round_errors", "gauge", "Rounds in a row that failed.", [_one(ended.errors if ended else 0)]),
        _family("factd_last_round_duration_seconds", "gauge", "How long the last round took that ended.", [
            _one(ended.took_s)] if ended else []),
        _family("factd_last_good_round_timestamp_seconds", "gauge", "When a round last came to its end without an error.", [
            _one(found.last_good_at.timestamp())] if found.last_good_at else []),
        _family("factd_last_round_found", "gauge", "What the newest round found, by kind.", [
            ({"what": name}, number) for name, number in sorted(counts.items())]),
        _family("factd_state_bytes", "gauge", "Bytes of the state folder, by part.", [
            ({"part": part}, size) for part, size in found.disk.used.items()]),
        _family("factd_disk_free_bytes", "gauge", "Bytes free on the disk of the state folder.", [_one(found.disk.free)]),
    ]  # fmt: skip
    return "".join(families)


def _one(value: float) -> Sample:
    return {}, value


def _family(name: str, kind: str, help_: str, samples: Iterable[Sample]) -> str:
    """One metric with its samples."""
    lines = [f"# HELP {name} {help_}", f"# TYPE {name} {kind}"]
    for labels, value in samples:
        inner = ",".join(f'{key}="{escaped(text)}"' for key, text in labels.items())
        lines.append(f"{name}{f'{{{inner}}}' if inner else ''} {float(value):.17g}")
    return "\n".join(lines) + "\n"


def escaped(text: str) -> str:
    """A label's value: backslash, quote and line break by an escape, other control characters as a sign that stands for them."""
    plain = text.encode("utf-8", "replace").decode("utf-8")
    plain = plain.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return "".join(c if c.isprintable() or c == " " else "\N{REPLACEMENT CHARACTER}" for c in plain)
