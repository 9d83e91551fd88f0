"""Bytes of an XML or JSON body -> str, by what the web does rather than what the standards say.

Feeds lie about their encoding in the header, in the XML declaration, or in both. So: a byte order mark, then
UTF-8 if the bytes are valid UTF-8 with something beyond ASCII in them (other encodings hardly ever are by
chance), then the header, then the declaration, then Windows-1252, which decodes anything.
"""

from __future__ import annotations

import codecs
import re

_BOMS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
# Python also knows "zip", "idna" and "unicode_escape"; a server does not get to choose among those.
_ALLOWED = re.compile(
    r"utf-(?:8|16|32)(?:-[lb]e)?|ascii|cp(?:125\d|866|437|850|874|932|949|950)|iso8859-\d+|koi8-[ru]"
    r"|gb(?:2312|k|18030)|big5(?:hkscs)?|euc_(?:jp|kr)|iso2022_jp|shift_jis|mac-(?:roman|cyrillic)|tis-620|hz"
)
_WIDE = re.compile(rb"\x00{1,3}[<{\[\s]\x00?|[<{\[\s]\x00")
_CHARSET = re.compile(r"charset\s*=\s*[\"']?([\w.:-]{1,40})", re.IGNORECASE)
_DECLARED = re.compile(rb"^\s{0,64}<\?xml[^>]{0,200}?encoding\s{0,9}=\s{0,9}[\"']([\w.:-]{1,40})[\"']")


def decode(body: bytes, content_type: str = "") -> str:
    """`body` as text, without a byte order mark.

    Never raises: what no encoding fits is read with replacement characters.
    """
    for bom, encoding in _BOMS:
        if body.startswith(bom):
            return body[len(bom) :].decode(encoding, "replace")
    if _WIDE.match(body):
        return body.decode(_wide(body), "replace")
    if not body.isascii():
        try:
            return body.decode("utf-8")
        except UnicodeDecodeError:
            pass
    declared = _DECLARED.match(body[:400])
    header = _CHARSET.search(content_type)
    for name in (header[1] if header else "", declared[1].decode("ascii") if declared else ""):
        codec = _known(name)
        if codec is not None:
            try:
                return body.decode(codec)
            except UnicodeDecodeError:
                continue
    # Mostly UTF-8 with a few broken bytes, or a legacy page without a word about it?
    as_utf8 = body.decode("utf-8", "replace")
    broken = as_utf8.count("\ufffd")
    whole = len(as_utf8) - len(as_utf8.encode("ascii", "ignore")) - broken
    return as_utf8 if whole > broken else body.decode("cp1252", "replace")


def _wide(body: bytes) -> str:
    if body[:4].count(0) == 3:
        return "utf-32-be" if body[0] == 0 else "utf-32-le"
    return "utf-16-be" if body[0] == 0 else "utf-16-le"


def _known(name: str) -> str | None:
    if not name:
        return None
    try:
        codec = codecs.lookup(name).name
    except (LookupError, UnicodeError):
        return None
    if codec == "iso8859-1":
        return "cp1252"  # as browsers do: curly quotes are what the sender meant
    return codec if _ALLOWED.fullmatch(codec) and not codec.startswith(("utf-16", "utf-32")) else None
