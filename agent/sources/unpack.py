"""Bounded decompression of an HTTP body.

`httpx.Response.iter_bytes()` inflates a whole chunk before anybody can count it: 67 MB came out of one before
a 1 MB limit saw it. Here zlib itself is told how much it may give.
"""

from __future__ import annotations

import zlib

from agent.errors import SourceError, TooLarge

MAX_BYTES = 15 * 1024 * 1024
_WBITS = {"gzip": 16 + zlib.MAX_WBITS, "x-gzip": 16 + zlib.MAX_WBITS, "deflate": zlib.MAX_WBITS}
_MAX_GZIP_MEMBERS = 64  # each costs a copy of what is left of its chunk


class Unpacker:
    """Feed it raw chunks, then `finish()`. `encoding` is the Content-Encoding header's value.

    Raises:
        SourceError: an encoding nobody asked for, or data that is damaged or cut off.
        TooLarge: more than `max_bytes` would come out.
    """

    def __init__(self, encoding: str, max_bytes: int) -> None:
        self._encoding = encoding.strip().lower()
        if self._encoding not in ("", "identity", *_WBITS):
            raise SourceError(
                f"the body comes in the encoding {encoding!a}; only gzip and deflate were asked for"
            )
        self._max_bytes = max_bytes
        self._out = bytearray()
        self._zlib: zlib._Decompress | None = None
        self._members = 0

    def feed(self, chunk: bytes) -> None:
        if self._encoding not in _WBITS:
            self._keep(chunk)
            return
        try:
            while chunk:
                if self._zlib is None:
                    self._zlib = self._begin(chunk)
                self._keep(self._zlib.decompress(chunk, self._max_bytes - len(self._out) + 1))
                chunk = self._zlib.unconsumed_tail
                if self._zlib.eof:
                    chunk, self._zlib = self._zlib.unused_data, None
        except zlib.error as problem:
            raise SourceError(f"the {self._encoding} body is damaged: {problem}") from problem

    def finish(self) -> bytes:
        if self._zlib is not None:
            raise SourceError(f"the {self._encoding} body is cut off after {len(self._out)} unpacked bytes")
        return bytes(self._out)

    def _begin(self, chunk: bytes) -> zlib._Decompress:
        self._members += 1
        if self._members > _MAX_GZIP_MEMBERS:
            raise SourceError(f"the body has more than {_MAX_GZIP_MEMBERS} {self._encoding} members")
        wbits = _WBITS[self._encoding]
        # "deflate" means a zlib wrapper, yet many servers send the bare stream: CM must be 8 and CM/CINFO
        # divisible by 31.
        bare = self._encoding == "deflate" and (
            chunk[0] & 15 != 8 or (len(chunk) > 1 and (chunk[0] << 8 | chunk[1]) % 31 != 0)
        )
        return zlib.decompressobj(-zlib.MAX_WBITS if bare else wbits)

    def _keep(self, data: bytes) -> None:
        self._out += data
        if len(self._out) > self._max_bytes:
            raise TooLarge(
                f"the body unpacks to more than {self._max_bytes / 2**20:g} MB; the limit keeps bombs out"
            )
