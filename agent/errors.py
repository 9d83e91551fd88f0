"""Every error that factd raises on purpose, and the exit code the CLI gives it.

    FactdError                        1
    ├── UsageError                    2   the command line or an argument is off
    │   └── ConfigError               2   a settings or relations file is off: names file, key, nearest key
    ├── InputError                    1   an edit file, a fact file or an article cannot be read
    ├── RequestRefused                1   a client of `factd serve` gets this instead of an answer; it stays in the server
    ├── SourceError                   1   a feed could not be fetched or is no feed (a value in the pipeline, not a crash)
    │   ├── FetchRefused              7   the address, scheme or redirect is not allowed
    │   ├── TooLarge                  1   a body, or what it unpacks to, is over the limit
    │   └── ServerRefused             1   a server answered that it will not; its headers may say when to come back
    ├── ModelError                    1   the model cannot be loaded, or is of an unknown architecture
    ├── EditError                     1   an edit cannot be computed (subject not in prompt, unstable key...)
    ├── VerificationFailed            4   the gate refused; nothing was published
    ├── StoreError                    1   the database cannot be opened, is of a newer version, the disk is full
    │   ├── StaleState                1   somebody else moved this row first
    │   ├── UnknownId                 1   no proposal, revision or fact of that id
    │   └── LockHeld                  6   another factd works on this state folder
    └── PolicyRefused                 7   a written policy forbids it

A message says what went wrong, where, and what to do about it.
"""

from __future__ import annotations

from collections.abc import Mapping


class FactdError(Exception):
    """Base of all our errors; `exit_code` is what the CLI returns."""

    exit_code = 1


class UsageError(FactdError):
    exit_code = 2


class ConfigError(UsageError):
    pass


class InputError(FactdError):
    pass


class RequestRefused(FactdError):
    """`status`: of HTTP. `code` and `param` (the key of the request at fault) as OpenAI names them. `retry_after_s`: when to come back."""

    def __init__(
        self, message: str, *, status: int = 400, code: str = "", param: str = "", retry_after_s: int = 0
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.param = param
        self.retry_after_s = retry_after_s


class SourceError(FactdError):
    pass


class FetchRefused(SourceError):
    exit_code = 7


class TooLarge(SourceError):
    pass


class ServerRefused(SourceError):
    """`headers`: of the answer, lower-case."""

    def __init__(self, message: str, headers: Mapping[str, str]) -> None:
        super().__init__(message)
        self.headers = headers


class ModelError(FactdError):
    pass


class EditError(FactdError):
    pass


class VerificationFailed(FactdError):
    exit_code = 4


class StoreError(FactdError):
    pass


class StaleState(StoreError):
    pass


class UnknownId(StoreError):
    pass


class LockHeld(StoreError):
    exit_code = 6


class PolicyRefused(FactdError):
    exit_code = 7
