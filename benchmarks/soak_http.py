"""The publishers of a soak on loopback, an address each: a server in a thread of its own that closes every connection after its answer."""

from __future__ import annotations

import asyncio
import socket
import struct
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

from benchmarks.soak_server import Publishers, answer


async def _serve(site: Publishers, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        name, port = writer.get_extra_info("sockname")[:2]
        given = answer(site, f"{name}:{port}", head)
        writer.write(given.data)
        if given.reset:
            linger = struct.pack("ii", 1, 0)
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            writer.transport.abort()
        elif given.hold:
            await reader.read()  # until the client gives up
    except (OSError, asyncio.IncompleteReadError):
        pass
    finally:
        writer.close()


@contextmanager
def serving(site: Publishers) -> Iterator[dict[str, str]]:
    """Serve until the end of the context; gives each feed's first url."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True, name="publishers")
    thread.start()

    async def start() -> tuple[list[asyncio.Server], dict[str, str]]:
        papers = sorted(set(site.news.feeds.values()))
        hosts = {paper: f"127.0.0.{n + 1}" for n, paper in enumerate(papers)}
        servers = [await asyncio.start_server(lambda r, w: _serve(site, r, w), next(iter(hosts.values())), 0)]
        port = servers[0].sockets[0].getsockname()[1]
        for host in list(hosts.values())[1:]:
            servers.append(await asyncio.start_server(lambda r, w: _serve(site, r, w), host, port))
        return servers, {f: f"http://{hosts[p]}:{port}/feed/{f}/0.xml" for f, p in site.news.feeds.items()}

    async def end(servers: Sequence[asyncio.Server]) -> None:
        for server in servers:
            server.close()
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    servers, urls = asyncio.run_coroutine_threadsafe(start(), loop).result(10)
    try:
        yield urls
    finally:
        asyncio.run_coroutine_threadsafe(end(servers), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()
