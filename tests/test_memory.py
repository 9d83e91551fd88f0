"""Heaps of threads, and memory given back, each in a process of its own: what a process did to its heaps cannot be taken back."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(
    platform.libc_ver()[0] != "glibc", reason="there is glibc's malloc to look at only"
)

_HEAPS = """
import ctypes, re, sys, threading
from agent.memory import share_heaps
libc = ctypes.CDLL(None)
libc.malloc.restype = libc.fopen.restype = ctypes.c_void_p
if sys.argv[1] == "shared":
    share_heaps()
together = threading.Barrier(12)
def work():
    libc.malloc(2000)
    together.wait()
threads = [threading.Thread(target=work) for _ in range(12)]
[thread.start() for thread in threads], [thread.join() for thread in threads]
file = ctypes.c_void_p(libc.fopen(sys.argv[2].encode(), b"w"))
libc.malloc_info(0, file), libc.fclose(file)
print(len(re.findall("<heap nr", open(sys.argv[2]).read())))
"""
_GIVEN_BACK = """
import ctypes, os
from agent.memory import give_back
libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p
libc.free.argtypes = [ctypes.c_void_p]
def rss_mib():
    return int(open("/proc/self/statm").read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20
blocks = [libc.malloc(65536) for _ in range(1024)]
[ctypes.memset(block, 1, 65536) for block in blocks]
kept = libc.malloc(65536)  # above them all: free() alone returns nothing
[libc.free(block) for block in blocks]
before = rss_mib()
give_back()
print(before - rss_mib())
"""


def _said(code: str, *arguments: object) -> float:
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def test_a_dozen_threads_share_two_heaps(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("heaps")
    assert _said(_HEAPS, "shared", folder / "shared") <= 2
    assert _said(_HEAPS, "each its own", folder / "own") > 2


def test_free_memory_goes_back_to_the_system() -> None:
    assert _said(_GIVEN_BACK) > 48  # of 64 MiB
