"""How a benchmark ends that can fail."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def finish(result: Mapping[str, Any], path: Path | None) -> int:
    """Write `result` as JSON where there is a path, say what is `wrong` in it on stderr; the exit code."""
    if path:
        path.write_text(json.dumps(result, indent=2) + "\n")
    for line in result["wrong"]:
        sys.stderr.write(f"error: {line}\n")
    return 1 if result["wrong"] else 0
