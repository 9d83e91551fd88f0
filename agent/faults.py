"""Places where a crash test may kill the process, so that "nothing is lost" is tried and not believed.

`fault("publish:after-rename")` does nothing unless the environment variable `FACTD_FAULT` holds just that
name; then the process kills itself with SIGKILL: no handler, no `finally`, no flush, as when the power goes.
A name is `<stage>:<moment>`.
"""

from __future__ import annotations

import os
import signal

FAULT_VARIABLE = "FACTD_FAULT"

STORE_FAULTS = (
    "articles:before-commit",
    "articles:after-commit",
    "claims:after-commit",
    "queue:after-propose",
    "edit:after-lease",
    "edit:after-verified",
    "publish:before-write",
    "publish:before-rename",
    "publish:after-rename",
    "publish:before-commit",
    "publish:after-commit",
    "publish:after-link",
    "rollback:before-commit",
    "rollback:after-commit",
    "gc:before-commit",
    "gc:after-commit",
    "gc:after-one",
    "restore:after-file",
    "restore:before-commit",
    "restore:after-commit",
)
"""The points that `agent/store` passes, in the order in which one run reaches them; the crash tests go
through all of them.
"""

PIPELINE_FAULTS = (
    "fetch:after-save",
    "propose:after-log",
    "approve:after-one",
    "apply:after-check",
    "values:after-one",
    "values:after-set",
    "values:after-move",
    "apply:after-compile",
    "apply:after-verify",
)
"""The points between the stages, and where a stage writes more than once."""

WHOLE_FAULTS = ("whole:before-rename", "whole:after-rename")
"""Around the moment at which a file takes the place of another; `tests/test_whole.py` goes through them."""


def fault(name: str) -> None:
    """Kill this process here and now if `FACTD_FAULT` names this point."""
    if os.environ.get(FAULT_VARIABLE) == name:
        os.kill(os.getpid(), signal.SIGKILL)
