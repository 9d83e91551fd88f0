"""Which parser reads a body: its first character decides, for names and content types lie."""

from __future__ import annotations

from agent.errors import SourceError
from agent.sources.decode import decode
from agent.sources.feed import parse_feed
from agent.sources.items import Context, Parsed
from agent.sources.jsonl import parse_json_feed, parse_jsonl
from agent.sources.unpack import MAX_BYTES, Unpacker

_GZIP = b"\x1f\x8b\x08"


def parse_body(
    body: bytes, context: Context, *, name: str = "", content_type: str = "", base_url: str = ""
) -> Parsed:
    """The articles in `body`. `name` (a path) tells JSONL from a JSON Feed where the content does not.

    Raises:
        SourceError: what `parse_feed`, `parse_json_feed` and `parse_jsonl` raise.
    """
    if body.startswith(_GZIP):  # a .gz served as what is in it
        unpacker = Unpacker("gzip", MAX_BYTES)
        unpacker.feed(body)
        body = unpacker.finish()
    if name.lower().endswith((".jsonl", ".ndjson")) or "jsonl" in content_type or "ndjson" in content_type:
        return parse_jsonl(body, context, content_type=content_type)
    if not decode(body[:256], content_type).lstrip("\ufeff \t\r\n").startswith("{"):
        return parse_feed(body, context, content_type=content_type, base_url=base_url)
    try:
        return parse_json_feed(body, context, content_type=content_type)
    except SourceError as as_feed:
        try:
            return parse_jsonl(body, context, content_type=content_type)
        except SourceError:
            raise as_feed from None
