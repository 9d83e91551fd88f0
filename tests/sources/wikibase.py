"""A small Wikibase on loopback, in the documented forms: the MediaWiki API, wbgetentities, and a query service.

No live server could be asked when this was written. The forms are those of the documentation: API:RecentChanges and
API:Revisions on mediawiki.org, docs_topics_json and docs_topics_rdf-binding of Wikibase, SPARQL 1.1 results in JSON.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

CLOCK = "2026-03-04T12:00:00Z"
EARLIER = "2026-03-01T08:00:00Z"
URL = {"P854": ["https://paper.example/story"]}


def snak(property_: str, value: str) -> dict[str, Any]:
    """An item (Q5), a time (+2021-...), a string; `somevalue` and `novalue` are themselves."""
    common = {"property": property_, "hash": "0" * 40}
    if value in ("somevalue", "novalue"):
        return {"snaktype": value, **common, "datatype": "wikibase-item"}
    if re.fullmatch(r"Q\d+", value):
        inner: Any = {"entity-type": "item", "numeric-id": int(value[1:]), "id": value}
        return {"snaktype": "value", **common, "datavalue": {"value": inner, "type": "wikibase-entityid"}}
    if value.startswith("+"):
        inner = {"time": value, "timezone": 0, "before": 0, "after": 0, "precision": 9 if "-00-" in value else 11,
                 "calendarmodel": "http://www.wikidata.org/entity/Q1985727"}  # fmt: skip
        return {"snaktype": "value", **common, "datavalue": {"value": inner, "type": "time"}}
    return {"snaktype": "value", **common, "datavalue": {"value": value, "type": "string"}}


def claim(
    value: str,
    *references: dict[str, list[str]],
    id: str = "Q17$AAAA-1",
    rank: str = "normal",
    property_: str = "P6",
    **qualifiers: str,
) -> dict[str, Any]:
    """A statement with references {property: values} and qualifiers P580="+2021-10-04T00:00:00Z"."""
    found: dict[str, Any] = {
        "mainsnak": snak(property_, value), "type": "statement", "id": id, "rank": rank,
        "references": [
            {"hash": "1" * 40, "snaks": {p: [snak(p, v) for v in vs] for p, vs in r.items()},
             "snaks-order": list(r)}
            for r in references
        ],
    }  # fmt: skip
    if qualifiers:
        found["qualifiers"] = {p: [snak(p, v)] for p, v in qualifiers.items()}
        found["qualifiers-order"] = list(qualifiers)
    return found


def item(
    id: str, name: str = "", *claims: dict[str, Any], modified: str = EARLIER, code: str = "en"
) -> dict[str, Any]:
    by_property: dict[str, list[Any]] = {}
    for one in claims:
        by_property.setdefault(one["mainsnak"]["property"], []).append(one)
    labels = {code: {"language": code, "value": name}} if name else []
    return {
        "pageid": 1, "ns": 0, "title": id, "lastrevid": 7, "modified": modified, "type": "item", "id": id,
        "labels": labels, "claims": by_property or [],
    }  # fmt: skip


@dataclass
class Wikibase:
    """`items` by number; `changes` are (timestamp, title), oldest first. `asked` are the requests' parameters.

    `before` may answer a request itself: (status, headers, body), or None to let it pass.
    """

    url: str = ""
    items: dict[str, dict[str, Any]] = field(default_factory=dict)
    changes: list[tuple[str, str]] = field(default_factory=list)
    clock: str = CLOCK
    asked: list[dict[str, str]] = field(default_factory=list)
    agents: list[str] = field(default_factory=list)
    before: Callable[[dict[str, str]], tuple[int, dict[str, str], bytes] | None] = lambda _: None

    def add(self, *items: dict[str, Any]) -> None:
        self.items |= {one["id"]: one for one in items}

    def kinds_asked(self) -> list[str]:
        """What each request was, in a word."""
        return [a.get("list") or a.get("prop") or a.get("props") or "query" for a in self.asked]

    def answer(self, params: dict[str, str]) -> dict[str, Any]:
        if "query" in params:
            return self.select(params["query"])
        if params.get("action") == "wbgetentities":
            return self.entities(params["ids"].split("|"), "claims" in params["props"])
        head = {"batchcomplete": True, "curtimestamp": self.clock}
        if params.get("list") == "recentchanges":
            return head | self.recent(params["rcstart"], params.get("rccontinue", ""), int(params["rclimit"]))
        return head | {"query": {"pages": [self.page(t) for t in params["titles"].split("|")]}}

    def page(self, title: str) -> dict[str, Any]:
        if title not in self.items:
            return {"ns": 0, "title": title, "missing": True}
        at = self.items[title]["modified"]
        return {
            "pageid": 1,
            "ns": 0,
            "title": title,
            "revisions": [{"revid": 7, "parentid": 6, "timestamp": at}],
        }

    def recent(self, start: str, go: str, limit: int) -> dict[str, Any]:
        rows = [(n, at, title) for n, (at, title) in enumerate(self.changes) if at >= start]
        rows = [row for row in rows if not go or row[0] >= int(go.partition("|")[2])]
        shown = [
            {"type": "edit", "ns": 0, "title": title, "pageid": 1, "revid": n, "old_revid": n - 1, "rcid": n,
             "timestamp": at}
            for n, at, title in rows[:limit]
        ]  # fmt: skip
        found: dict[str, Any] = {"query": {"recentchanges": shown}}
        if len(rows) > limit:
            number, at, _ = rows[limit]
            found["continue"] = {"rccontinue": f"{re.sub(r'[^0-9]', '', at)}|{number}", "continue": "-||"}
        return found

    def entities(self, ids: list[str], claims: bool) -> dict[str, Any]:
        assert len(ids) <= 50
        found = {}
        for id in ids:
            one = self.items.get(id)
            if one is None:
                found[id] = {"id": id, "missing": ""}
            else:
                kept = one if claims else {k: one[k] for k in ("type", "id", "labels")}
                found[one["id"]] = {
                    **kept,
                    **({"redirects": {"from": id, "to": one["id"]}} if one["id"] != id else {}),
                }
        return {"entities": found, "success": 1}

    def select(self, query: str) -> dict[str, Any]:
        """The rows that the query service gives for our one kind of query, by the RDF mapping."""
        ids = re.findall(r"wd:(Q\d+)", query.partition("VALUES ?item {")[2].partition("}")[0])
        properties = re.findall(r"\(wd:(P\d+) p:", query)
        doubts = re.findall(r"\(wd:(P\d+) pq:", query)
        rows = [
            row
            for id in ids
            if id in self.items
            for p in properties
            for one in self.best(id, p)
            for row in self.rows(id, p, one, doubts)
        ]
        return {"head": {"vars": ["item"]}, "results": {"bindings": rows}}

    def best(self, id: str, property_: str) -> list[dict[str, Any]]:
        claims = self.items[id]["claims"]
        found = [c for c in (claims or {}).get(property_, []) if c["rank"] != "deprecated"]
        preferred = [c for c in found if c["rank"] == "preferred"]
        # novalue is a class of the statement and has no value
        return [c for c in preferred or found if c["mainsnak"]["snaktype"] != "novalue"]

    def rows(
        self, id: str, property_: str, one: dict[str, Any], doubts: list[str]
    ) -> Iterator[dict[str, Any]]:
        value = rdf(one["mainsnak"])
        common = {
            "item": uri(f"entity/{id}"), "modified": literal(self.items[id]["modified"]),
            "property": uri(f"entity/{property_}"), "value": value,
            "statement": uri("entity/statement/" + one["id"].replace("$", "-")),
            "rank": {"type": "uri", "value": f"http://wikiba.se/ontology#{one['rank'].title()}Rank"},
        }  # fmt: skip
        labels = self.items.get(value["value"].rpartition("/")[2], {"labels": {}})["labels"] or {}
        for code, name in labels.items():
            common[code] = {"type": "literal", "xml:lang": code, "value": name["value"]}
        qualifiers = one.get("qualifiers", {})
        for variable, p in (("start", "P580"), ("end", "P582")):
            if p in qualifiers and qualifiers[p][0]["snaktype"] != "novalue":
                common[variable] = rdf(qualifiers[p][0])
        told: list[dict[str, Any]] = [
            {"reference": uri(f"reference/{number}"), "source": uri(f"prop/reference/{p}"), "told": rdf(s)}
            for number, r in enumerate(one["references"])
            for p, snaks in r["snaks"].items()
            for s in snaks
        ]
        doubted: list[dict[str, Any]] = [{"doubt": uri(f"entity/{p}")} for p in doubts if p in qualifiers]
        for reference in told or [{}]:
            for doubt in doubted or [{}]:
                yield {**common, **reference, **doubt}


def uri(path: str) -> dict[str, str]:
    return {"type": "uri", "value": f"http://www.wikidata.org/{path}"}


def literal(value: str) -> dict[str, str]:
    return {"type": "literal", "datatype": "http://www.w3.org/2001/XMLSchema#dateTime", "value": value}


def rdf(one: dict[str, Any]) -> dict[str, str]:
    """A snak's value as the query service writes it: an unknown value is a generated address."""
    if one["snaktype"] != "value":
        return uri(".well-known/genid/3d0a5b")
    value = one["datavalue"]["value"]
    if isinstance(value, dict) and "id" in value:
        return uri(f"entity/{value['id']}")
    if isinstance(value, dict):
        return literal(value["time"].lstrip("+").replace("-00", "-01"))
    if value.startswith("http"):
        return {"type": "uri", "value": value}
    return {"type": "literal", "value": value}


@contextmanager
def serving(wikibase: Wikibase) -> Iterator[Wikibase]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            params = {k: v[0] for k, v in parse_qs(urlsplit(self.path).query).items()}
            wikibase.asked.append(params)
            wikibase.agents.append(self.headers.get("User-Agent", ""))
            status, headers, body = wikibase.before(params) or (200, {}, b"")
            body = body or (json.dumps(wikibase.answer(params)).encode() if status == 200 else b"")
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    wikibase.url = f"http://127.0.0.1:{server.server_address[1]}/w/api.php"
    try:
        yield wikibase
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
