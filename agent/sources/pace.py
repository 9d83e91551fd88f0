"""When to ask a source again. Pure; seconds in, seconds or a time out."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime

_MAX_AGE = re.compile(r"\bmax-age\s*=\s*\"?(\d{1,9})", re.IGNORECASE)
_RECENT = 30


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
) -> datetime:
    """After a good answer: the feed's own pace, no sooner than ttl, Cache-Control and Retry-After allow."""
    max_age = _MAX_AGE.search(headers.get("cache-control", ""))
    wait_s = max(own_s, ttl_s, float(max_age[1]) if max_age else 0.0, pacing.fastest_s)
    return now + timedelta(seconds=max(min(wait_s, pacing.slowest_s), retry_after_s(headers, now, pacing)))


def retry_at(
    now: datetime, errors: int, headers: Mapping[str, str] | None = None, pacing: Pacing = DEFAULT_PACING
) -> datetime:
    """After the `errors`-th failure in a row: 5 minutes, doubling to a day, and never before Retry-After."""
    back_off_s = min(pacing.first_error_s * 2 ** min(errors - 1, 30), pacing.slowest_error_s)
    return now + timedelta(seconds=max(back_off_s, retry_after_s(headers or {}, now, pacing)))


def retry_after_s(headers: Mapping[str, str], now: datetime, pacing: Pacing = DEFAULT_PACING) -> float:
    """Seconds that Retry-After (a number or a date) asks for, at most a week; 0 without one."""
    value = headers.get("retry-after", "").strip()[:64]
    if re.fullmatch(r"[0-9]{1,9}", value):
        wait_s = float(value)
    else:
        try:
            wait_s = (parsedate_to_datetime(value) - now).total_seconds()
        except (ValueError, OverflowError, TypeError, IndexError):
            return 0.0
    return min(max(wait_s, 0.0), pacing.retry_after_s)
