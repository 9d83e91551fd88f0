"""`python -m tests.security` (make security): every attack is tried, and counted by class. Not zero when one got through."""

from __future__ import annotations

import sys
from collections import Counter
from dataclasses import dataclass, field

import pytest

from tests.security.lists import HERE, cases

OFF = "guards switched off: the attacks of the list get through"
# By the file of the tests: what is tried, and the list it is taken from.
CLASSES = {
    "test_urls": ("hostile URLs, by seven ways in", "urls"),
    "test_feeds": ("hostile feeds and servers", "feeds"),
    "test_strings": ("terminal strings, printed and stored", "strings"),
    "test_paths": ("names that are paths", "paths"),
    "test_pickles": ("files that run code", "pickles"),
    "test_yaml": ("YAML that is more than data", "yaml_tags"),
    "test_secrets": ("secrets that could be said", ""),
    "test_permissions": ("permissions of the state folder", ""),
    "test_signatures": ("ledgers cut off or written anew", ""),
    "test_drills": ("poisoning drills", ""),
    "test_guards_off": (OFF, ""),
    "test_threat_model": ("promises of docs/threat-model.md", ""),
}


@dataclass
class Tally:
    """Counts of attacks by class, and the tests that failed."""

    tried: Counter[str] = field(default_factory=Counter)
    blocked: Counter[str] = field(default_factory=Counter)
    failed: list[str] = field(default_factory=list)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        bad = report.failed or report.skipped
        if report.when != "call" and not bad:
            return
        name = class_of(report.nodeid)
        count = sum(int(str(value)) for key, value in report.user_properties if key == "tried") or 1
        self.tried[name] += count
        if bad:
            self.failed.append(report.nodeid)
        else:
            self.blocked[name] += count


def class_of(nodeid: str) -> str:
    if "::test_without_the_guard" in nodeid:
        return OFF
    return CLASSES[nodeid.partition("::")[0].rpartition("/")[2].removesuffix(".py")][0]


def lines(tally: Tally) -> list[str]:
    rows = [("tried", "blocked", "in the list", "what")]
    for what, listed in CLASSES.values():
        rows.append(
            (
                str(tally.tried[what]),
                str(tally.blocked[what]),
                str(len(cases(listed))) if listed else "",
                what,
            )
        )
    rows.append((str(tally.tried.total()), str(tally.blocked.total()), "", "in all"))
    return [f"{a:>7}  {b:>7}  {c:>11}  {what}" for a, b, c, what in rows]


def main() -> int:
    tally = Tally()
    code = int(
        pytest.main([str(HERE), "-q", "--no-header", "-p", "no:cacheprovider", "--tb=short"], plugins=[tally])
    )
    print("", *lines(tally), sep="\n")
    for nodeid in tally.failed:
        print(f"NOT BLOCKED: {nodeid}")
    empty = [what for what, _ in CLASSES.values() if not tally.tried[what]]
    for what in empty:
        print(f"NOT TRIED: {what}")
    return code or int(bool(tally.failed or empty))


if __name__ == "__main__":
    sys.exit(main())
