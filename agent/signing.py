"""Ed25519 signatures over the head of the ledger, through the package `cryptography` (the extra `sign`).

A signature says: I have seen the ledger up to row `seq`, whose hash is `hash`. The hash covers every row before it. Keys are PEM files,
as `openssl genpkey -algorithm ed25519` writes them.
"""

from __future__ import annotations

import base64
import hashlib
import json
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from agent.errors import InputError, UsageError
from agent.private import FILE
from agent.whole import write_new

FORMAT = "factd-ledger-head-1"


@dataclass(frozen=True, slots=True)
class Statement:
    """What is signed. `at` is ISO 8601, `who` a login name."""

    seq: int
    hash: str
    who: str
    at: str

    def to_bytes(self) -> bytes:
        """One form for all: sorted keys, no spaces, and the format's name, so that nothing else that is signed can pass for it."""
        return json.dumps({"format": FORMAT, **asdict(self)}, sort_keys=True, separators=(",", ":")).encode()


def available() -> bool:
    return find_spec("cryptography") is not None


def check_available() -> None:
    """Raises UsageError."""
    if not available():
        raise UsageError("signatures need cryptography, which is not installed; pip install 'factd[sign]'")


def make_key(path: Path) -> Path:
    """A new private key in `path` (0600), its public key in `path`.pub, whose path is returned. Raises InputError when either exists."""
    check_available()
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    key = Ed25519PrivateKey.generate()
    pem = serialization.Encoding.PEM
    secret = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    public = key.public_key().public_bytes(pem, serialization.PublicFormat.SubjectPublicKeyInfo)
    beside = path.with_name(f"{path.name}.pub")
    if beside.exists():
        raise InputError(f"{beside}: is there already; name another file")
    _write_new(path, secret, FILE)
    _write_new(beside, public, 0o644)
    return beside


def sign(statement: Statement, private: Path) -> tuple[str, str]:
    """(public key, signature), both base64. Raises UsageError without the package, InputError for what is no private key."""
    check_available()
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    try:
        key = serialization.load_pem_private_key(_read(private), None)
    except (ValueError, TypeError) as error:
        raise InputError(
            f"{private}: is no private key without a passphrase in PEM; make one with `factd audit key FILE`"
        ) from error
    if not isinstance(key, Ed25519PrivateKey):
        raise InputError(f"{private}: is no Ed25519 key; make one with `factd audit key FILE`")
    raw = key.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
    return _text(raw), _text(key.sign(statement.to_bytes()))


def is_signed(statement: Statement, public: str, signature: str) -> bool:
    """Whether `signature` (base64) is that of the key `public` (base64) over the statement. Raises UsageError without the package."""
    check_available()
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    try:
        key = Ed25519PublicKey.from_public_bytes(base64.b64decode(public, validate=True))
        key.verify(base64.b64decode(signature, validate=True), statement.to_bytes())
    except (InvalidSignature, ValueError, TypeError):
        return False
    return True


def read_public(path: Path) -> str:
    """The public key of a PEM file, base64; of a private key's file, its public half. Raises UsageError, InputError."""
    check_available()
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

    content = _read(path)
    try:
        key: Any = serialization.load_pem_public_key(content)
    except ValueError:
        try:
            key = serialization.load_pem_private_key(content, None)
        except (ValueError, TypeError) as error:
            raise InputError(f"{path}: holds no key in PEM") from error
    if isinstance(key, Ed25519PrivateKey):
        key = key.public_key()
    if not isinstance(key, Ed25519PublicKey):
        raise InputError(f"{path}: holds no Ed25519 key")
    return _text(key.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw))


def name_of(public: str) -> str:
    """A short name of a key, for people: the beginning of the SHA-256 (hex) of its text."""
    return hashlib.sha256(public.encode()).hexdigest()[:16]


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); check the path") from error


def _write_new(path: Path, content: bytes, mode: int) -> None:
    try:
        write_new(path, content, mode=mode)
    except FileExistsError as error:
        raise InputError(f"{path}: is there already; name another file") from error
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror}); check the path") from error


def _text(raw: bytes) -> str:
    return base64.b64encode(raw).decode("ascii")
