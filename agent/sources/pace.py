"""When to ask a source again. Pure; seconds in, seconds or a time out."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime

_MAX_AGE = re.compile(r"\bmax-age\s*=\s*\"?(\d{1,9})", re.IGNORECASE)
_RECENT = 30
JITTER = 0.1
MAX_JITTER_S = 1800.0


@dataclass(frozen=True, slots=True)
class Pacing:
    """Bounds of polling. Only Retry-After may ask for more than `slowest_s`, up to `retry_after_s`."""

    fastest_s: float = 600.0
    usual_s: float = 3600.0
    slowest_s: float = 43_200.0
    first_error_s: float = 300.0
    slowest_error_s: float = 86_400.0
    retry_after_s: float = 604_800.0


DEFAULT_PACING = Pacing()


def own_pace_s(published_at: Sequence[datetime], now: datetime, pacing: Pacing = DEFAULT_PACING) -> float:
    """The mean gap of the feed's last 30 items, counted up to now: a feed that falls silent slows down."""
    recent = sorted({at for at in published_at if at <= now}, reverse=True)[:_RECENT]
    if len(recent) < 2:
        return pacing.usual_s
    gap_s = (now - recent[-1]).total_seconds() / len(recent)
    return min(max(gap_s, pacing.fastest_s), pacing.slowest_s)


def next_poll_at(
    now: datetime,
    own_s: float,
    headers: Mapping[str, str],
    ttl_s: float = 0.0,
    pacing: Pacing = DEFAULT_PACING,
    name: str = "",
) -> datetime:
    """After a good answer: the feed's own pace, no sooner than ttl, Cache-Control, Expires and Retry-After allow.

    A `name` adds its jitter.
    """
    wait_s = max(own_s, ttl_s, fresh_s(headers, now), pacing.fastest_s)
    wait_s = max(min(wait_s, pacing.slowest_s), retry_after_s(headers, now, pacing))
    return now + timedelta(seconds=wait_s + jitter_s(name, wait_s))


def retry_at(
    now: datetime,
    errors: int,
    headers: Mapping[str, str] | None = None,
    pacing: Pacing = DEFAULT_PACING,
    name: str = "",
) -> datetime:
    """After the `errors`-th failure in a row: 5 minutes, doubling to a day, and never before Retry-After.

    A `name` adds its jitter.
    """
    back_off_s = min(pacing.first_error_s * 2 ** min(errors - 1, 30), pacing.slowest_error_s)
    wait_s = max(back_off_s, retry_after_s(headers or {}, now, pacing))
    return now + timedelta(seconds=wait_s + jitter_s(name, wait_s))


def jitter_s(name: str, wait_s: float) -> float:
    """Up to a tenth of the wait and half an hour more, the same for the same name; 0 without one.

    A thousand feeds that were first polled together do not come due together for ever.
    """
    if not name:
        return 0.0
    share = int.from_bytes(hashlib.sha256(name.encode("utf-8", "surrogatepass")).digest()[:4], "big") / 2**32
    return share * min(JITTER * wait_s, MAX_JITTER_S)


def fresh_s(headers: Mapping[str, str], now: datetime) -> float:
    """Seconds for which the answer is fresh by max-age, or by Expires where there is none (RFC 9111, 4.2.1).

    Expires is taken against the server's own Date, if it gives one: many clocks are wrong. 0 when nothing is said.
    """
    max_age = _MAX_AGE.search(headers.get("cache-control", ""))
    if max_age:
        return float(max_age[1])
    expires_at = _date(headers.get("expires", ""))
    if expires_at is None:
        return 0.0
    return max(0.0, (expires_at - (_date(headers.get("date", "")) or now)).total_seconds())


def retry_after_s(headers: Mapping[str, str], now: datetime, pacing: Pacing = DEFAULT_PACING) -> float:
    """Seconds that Retry-After (a number or a date) asks for, at most a week; 0 without one."""
    value = headers.get("retry-after", "").strip()[:64]
    if re.fullmatch(r"[0-9]{1,9}", value):
        wait_s = float(value)
    else:
        at = _date(value)
        if at is None:
            return 0.0
        wait_s = (at - now).total_seconds()
    return min(max(wait_s, 0.0), pacing.retry_after_s)


def _date(value: str) -> datetime | None:
    """An HTTP date; None for anything else, and for one without a zone."""
    try:
        at = parsedate_to_datetime(value.strip()[:64])
    except (ValueError, OverflowError, TypeError, IndexError):
        return None
    return at if at.tzinfo is not None else None
