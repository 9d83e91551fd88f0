"""Command lines in forks of one process that has imported everything heavy.

A fresh interpreter spends seconds on importing torch and spaCy; the crash tests need dozens of processes that
may be killed. `python -m tests.forks MODEL` reads one JSON request a line and answers with its exit
code; `Forks` is its other end. With no MODEL nothing heavy is imported.
"""

from __future__ import annotations

import importlib
import json
import os
import resource
import subprocess
import sys
import traceback
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tests.crash.hooks import Hook, install

ROOT = Path(__file__).parents[1]


@dataclass(frozen=True)
class Done:
    """`code`: the exit code, or minus the signal that killed the process."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


class Forks:
    """The process that forks. Output goes through files in `folder`."""

    def __init__(self, folder: Path, model: Path | None) -> None:
        self._folder = folder
        self._server = subprocess.Popen(
            [sys.executable, "-m", "tests.forks", str(model or "")], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            text=True, env=quiet_environ(),
        )  # fmt: skip

    def run(
        self,
        *arguments: object,
        environ: dict[str, str] | None = None,
        file_limit: int | None = None,
        hook: Hook | None = None,
        call: str | None = None,
    ) -> Done:
        """`factd <arguments>`, or the function `call` ("package.module:name") with them. No file that it writes may grow beyond
        `file_limit` bytes, as on a full disk; `hook` is what happens at a fault point.
        """
        out, err = self._folder / "stdout", self._folder / "stderr"
        request = {"arguments": [*map(str, arguments)], "environ": environ or {}, "file_limit": file_limit}
        request |= {"hook": None if hook is None else asdict(hook), "call": call}
        assert self._server.stdin is not None and self._server.stdout is not None
        self._server.stdin.write(json.dumps({**request, "out": str(out), "err": str(err)}) + "\n")
        self._server.stdin.flush()
        answer = self._server.stdout.readline()
        assert answer, "the forking process has died"
        return Done(json.loads(answer), out.read_text(), err.read_text())

    def close(self) -> None:
        self._server.communicate(timeout=30)


def quiet_environ() -> dict[str, str]:
    """Ours without anybody's settings. One thread: sums depend on their number, and forks inherit none."""
    mine = {name: value for name, value in os.environ.items() if not name.startswith("FACTD_")}
    return {**mine, "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}


def warm_up(model: str) -> None:
    """What commands import late, and what libraries do when they first load something."""
    from transformers import LlamaForCausalLM, PreTrainedTokenizerFast  # noqa: F401

    import agent.cli.bench
    import agent.daemon
    import agent.verify.report  # noqa: F401
    from agent.lm.load import load_lm
    from agent.ner.lexicon import load_lexicon
    from agent.ner.load import load_nlp

    load_lexicon()
    load_nlp()
    load_lm(model)


def serve() -> None:
    if sys.argv[1]:
        warm_up(sys.argv[1])
    for line in sys.stdin:
        request = json.loads(line)
        if request["call"]:
            importlib.import_module(request["call"].partition(":")[0])
        child = os.fork()
        if child == 0:
            _run(request)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        print(code, flush=True)


def _run(request: dict[str, Any]) -> None:
    """Become the command: its own output, environment and limits. Never returns."""
    for number, name in ((1, "out"), (2, "err")):
        os.dup2(os.open(request[name], os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), number)
    os.environ.update(request["environ"])
    code = 70
    try:
        if request["file_limit"] is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (request["file_limit"], resource.RLIM_INFINITY))
        if request["hook"] is not None:
            install(Hook(**request["hook"]))
        code = _called(request["call"] or "agent.cli.main:main", request["arguments"])
        sys.stdout.flush()
        sys.stderr.flush()
    except Exception:
        traceback.print_exc()
        sys.stderr.flush()
    finally:
        os._exit(code)


def _called(name: str, arguments: list[str]) -> int:
    """`main` takes a list, our own functions their arguments; what is no exit code is 0."""
    module, _, function = name.partition(":")
    do = getattr(importlib.import_module(module), function)
    found = do(arguments) if function == "main" else do(*arguments)
    return found if isinstance(found, int) else 0


if __name__ == "__main__":
    serve()
