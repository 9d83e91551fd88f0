"""Who signed the ledger up to where: what a signature shows, what it finds out, and what is said where it cannot be checked."""

from __future__ import annotations

import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path

import pytest

from agent import signing
from agent.store import ledger
from tests.cli.conftest import World
from tests.store import samples


@pytest.fixture
def key(tmp_path: Path) -> Path:
    signing.make_key(tmp_path / "key")
    return tmp_path / "key"


def public(key: Path) -> Path:
    return key.with_name(f"{key.name}.pub")


def more(world: World) -> None:
    with world.store() as store:
        ledger.append(store, "pointed", {"revision": 1, "before": 1, "reason": "again"}, samples.NOW)


def test_signed_up_to_where_and_by_whom(world: World, key: Path) -> None:
    assert world.run("audit", "sign", "--key", key).out.startswith("signed up to row 1 by ")
    found = world.run("audit", "verify", "--key", public(key))
    assert found.code == 0 and "signed up to row 1 by" in found.out and "since" not in found.out
    more(world)
    assert "; 1 row since" in world.run("audit", "verify", "--key", key).out
    assert world.run("audit", "sign", "--key", key).out.startswith("signed up to row 3")
    told = world.run("audit", "verify", "--json").json["signatures"]
    assert [(s["row"], s["up_to"], s["good"]) for s in told] == [(2, 1, True), (4, 3, True)]
    assert "signed" in world.run("audit", "log").out


def test_a_key_that_did_not_sign(world: World, key: Path, tmp_path: Path) -> None:
    signing.make_key(tmp_path / "other")
    world.run("audit", "sign", "--key", tmp_path / "other")
    found = world.run("audit", "verify", "--key", public(key))
    assert found.code == 1 and "was not signed by the key" in found.err
    assert world.run("audit", "verify").code == 0


def forged(world: World, change: str) -> None:
    """The whole chain written anew, as one can who may write the database: row 1 says something else."""
    with world.store() as store:
        rows = ledger.entries(store)
    with closing(sqlite3.connect(world.state / "factd.db")) as conn:
        triggers = [
            r[0]
            for r in conn.execute("SELECT name FROM sqlite_master WHERE type='trigger' AND tbl_name='ledger'")
        ]
        for trigger in triggers:
            conn.execute(f"DROP TRIGGER {trigger}")
        conn.execute("DELETE FROM ledger")
        conn.execute("UPDATE sqlite_sequence SET seq = 0 WHERE name = 'ledger'")
        conn.commit()
    with world.store() as store:
        for entry in rows:
            payload = {**entry.payload, "note": change} if entry.seq == 1 else entry.payload
            ledger.append(store, entry.kind, payload, entry.at)
        assert ledger.verify_chain(store) is None


def test_a_ledger_written_anew_bears_no_good_signature(world: World, key: Path) -> None:
    world.run("audit", "sign", "--key", key)
    forged(world, "another story")
    found = world.run("audit", "verify", "--key", public(key))
    assert (
        found.code == 1 and "holds a signature by" in found.err and "was not signed by the key" in found.err
    )


def test_a_head_kept_elsewhere_finds_a_ledger_cut_off_or_written_anew(world: World) -> None:
    head = world.run("audit", "verify", "--json").json["head"]
    more(world)
    assert world.run("audit", "verify", "--head", head).code == 0
    forged(world, "another story")
    assert world.run("audit", "verify").code == 0, "by itself the chain is sound"
    found = world.run("audit", "verify", "--head", head)
    assert found.code == 1 and "does not hold the head" in found.err


def test_a_signature_of_something_else_is_none(key: Path) -> None:
    said = signing.Statement(7, "a" * 64, "eva", "2026-03-01T12:00:00+00:00")
    mine, signature = signing.sign(said, key)
    assert signing.is_signed(said, mine, signature)
    for other in (signing.Statement(8, said.hash, "eva", said.at), signing.Statement(7, "b" * 64, "eva", said.at),
                  signing.Statement(7, said.hash, "bob", said.at), signing.Statement(7, said.hash, "eva", "")):  # fmt: skip
        assert not signing.is_signed(other, mine, signature)
    for broken in ("", "x", signature[:-4], signature.swapcase()):
        assert not signing.is_signed(said, mine, broken) and not signing.is_signed(said, broken, signature)


def test_openssls_keys_are_read_and_others_are_refused(world: World, tmp_path: Path) -> None:
    made = tmp_path / "openssl.pem"
    subprocess.run(
        ["openssl", "genpkey", "-algorithm", "ed25519", "-out", str(made)], check=True, capture_output=True
    )
    assert world.run("audit", "sign", "--key", made).code == 0
    assert world.run("audit", "verify", "--key", made).code == 0
    weak = tmp_path / "rsa.pem"
    subprocess.run(
        ["openssl", "genpkey", "-algorithm", "rsa", "-out", str(weak)], check=True, capture_output=True
    )
    (tmp_path / "none").write_text("no key")
    for path in (weak, tmp_path / "none", tmp_path / "missing", tmp_path):
        for command in ("sign", "verify"):
            found = world.run("audit", command, "--key", path)
            assert found.code == 1 and str(path) in found.err and len(found.err.splitlines()) == 1


def test_a_key_is_the_owners_alone_and_replaces_nothing(world: World, key: Path) -> None:
    assert oct(key.stat().st_mode & 0o777) == "0o600"
    before = key.read_bytes()
    assert world.run("audit", "key", key).code == 1 and key.read_bytes() == before
    public(key).unlink()
    assert world.run("audit", "key", key).code == 1


def test_without_the_package_it_is_said(world: World, key: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    world.run("audit", "sign", "--key", key)
    monkeypatch.setattr(signing, "find_spec", lambda _: None)
    for command in (("sign", "--key", key), ("verify", "--key", key), ("key", "x")):
        found = world.run("audit", *command)
        assert found.code == 2 and "pip install 'factd[sign]'" in found.err
    plain = world.run("audit", "verify")
    assert plain.code == 0 and "cannot be checked without factd[sign]" in plain.out


def test_nothing_is_signed_that_is_empty_or_broken(bare: World, key: Path) -> None:
    with bare.store():
        pass
    assert "nothing to sign" in bare.run("audit", "sign", "--key", key).err
