"""The page's server, a process of its own: ``python -m threefactor.watch.server``. Needs the extra `watch`.

It reads one line of JSON from its input (`Task`), answers with one line, ``{"port": number}`` or ``{"error": text}``,
and serves until its input ends, so that it never outlives the loop. Only this machine reaches it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
import sys
import threading
import time
from http import HTTPStatus
from importlib import resources
from typing import TYPE_CHECKING, Annotated, Any

import msgspec

from threefactor.watch.asking import Answer, Ask, Away, Bell, Compare, May, Message, Ready
from threefactor.watch.board import Board, Plan
from threefactor.watch.frames import Frames

if TYPE_CHECKING:
    from websockets.asyncio.server import ServerConnection
    from websockets.http11 import Request, Response

HERE = "127.0.0.1"
FRAME = 1 / 20  # seconds from one frame to the next
LOOKING = 2.0  # seconds that a viewer counts as looking after it was ready
MOST_VIEWERS, LONGEST = 16, 4096  # LONGEST: bytes of a viewer's message
ENDED = "the loop has ended"
KINDS = {"html": "text/html", "css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}
NICE = 10  # the loop goes first


class Task(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be served.

    Attributes
    ----------
    path : str
        File of the board.
    plan : Plan
    token : str
        Needed for controlling.
    port : int
        0: a free one.
    """

    path: str
    plan: Plan
    token: Annotated[str, msgspec.Meta(min_length=1)]
    port: Annotated[int, msgspec.Meta(ge=0, le=65535)] = 0


class Viewer:
    """Somebody who looks at the page."""

    def __init__(self, connection: ServerConnection, frames: Frames) -> None:
        self.connection, self.seen = connection, frames.seen()
        self.ready, self.away, self.heard, self.dropped = False, True, -LOOKING, 0

    def looks(self, now: float) -> bool:
        """Whether it was ready a short while ago."""
        return not self.away and now - self.heard < LOOKING


class Server:
    """Serves the page and its frames.

    Parameters
    ----------
    board : Board
    token : str
    """

    def __init__(self, board: Board, token: str) -> None:
        self._plan, self._bell, self._frames = board.plan, Bell(board, token), Frames(board)
        self._viewers: set[Viewer] = set()
        self._ready = asyncio.Event()
        self._files = _files()
        self._hosts: set[str] = set()
        self._policy = ""
        self._decoder = msgspec.json.Decoder(Message)

    async def run(self, listener: socket.socket, ended: asyncio.Event) -> None:
        """Serve until an event; prints the port first."""
        from websockets.asyncio.server import serve

        port = listener.getsockname()[1]
        self._hosts = {f"{name}:{port}" for name in (HERE, "localhost")}
        sources = " ".join(f"ws://{host}" for host in sorted(self._hosts))
        self._policy = (
            f"default-src 'self'; connect-src {sources}; object-src 'none'; base-uri 'none'; form-action 'none'; "
            "frame-ancestors 'none'"
        )
        log = logging.getLogger("threefactor.watch")
        log.addFilter(lambda record: "handshake" not in record.msg)  # somebody who knocked and left
        async with serve(
            self._meet, sock=listener, process_request=self._respond, compression=None, max_size=LONGEST, max_queue=4,
            close_timeout=0.5, server_header=None, logger=log,
        ):  # fmt: skip
            _print(port=port)
            sending = asyncio.create_task(self._send_frames())
            await asyncio.wait([sending, asyncio.create_task(ended.wait())], return_when=asyncio.FIRST_COMPLETED)
            failed = not sending.cancel()  # while viewers take their leave it would say again that they look
            self._bell.look(False)
            if closing := [asyncio.create_task(each.connection.close(1001, ENDED)) for each in self._viewers]:
                await asyncio.wait(closing, timeout=1.0)
            if failed:
                sending.result()  # it never ends by itself but by an error

    # --- files -------------------------------------------------------------------------------------------------------

    def _respond(self, connection: ServerConnection, request: Request) -> Response | None:
        """A file of the page, or None to open a websocket; refuses foreign hosts and origins."""
        hosts, origins = request.headers.get_all("Host"), request.headers.get_all("Origin")
        if len(hosts) != 1 or hosts[0].lower() not in self._hosts:
            return self._reply(connection, HTTPStatus.FORBIDDEN, "this page is for 127.0.0.1 alone.")
        if any(origin.lower().removeprefix("http://") not in self._hosts for origin in origins):
            return self._reply(connection, HTTPStatus.FORBIDDEN, "another site must not look at this page.")
        if getattr(request, "method", "GET") != "GET":
            return self._reply(connection, HTTPStatus.METHOD_NOT_ALLOWED, "only GET.")
        path = request.path.split("?", 1)[0]
        if path == "/live":
            if len(self._viewers) < MOST_VIEWERS:
                return None
            return self._reply(connection, HTTPStatus.SERVICE_UNAVAILABLE, f"{MOST_VIEWERS} viewers look already.")
        if path not in self._files:
            return self._reply(connection, HTTPStatus.NOT_FOUND, f"no {path} here.")
        kind, body = self._files[path]
        return self._reply(connection, HTTPStatus.OK, body, kind)

    def _reply(self, connection: ServerConnection, status: HTTPStatus, text: str, kind: str = "text/plain") -> Response:
        response = connection.respond(status, text)
        del response.headers["Content-Type"]
        for name, value in {
            "Content-Type": f"{kind}; charset=utf-8", "Cache-Control": "no-store", "X-Content-Type-Options": "nosniff",
            "Content-Security-Policy": self._policy, "Cross-Origin-Resource-Policy": "same-origin",
            "Referrer-Policy": "no-referrer", "X-Frame-Options": "DENY",
        }.items():  # fmt: skip
            response.headers[name] = value
        return response

    # --- viewers -----------------------------------------------------------------------------------------------------

    async def _meet(self, connection: ServerConnection) -> None:
        """Show the plan to a viewer and hear it out."""
        from websockets.exceptions import ConnectionClosed

        viewer = Viewer(connection, self._frames)
        self._viewers.add(viewer)
        try:
            await connection.send(msgspec.json.encode({"type": "plan", "plan": self._plan}).decode())
            async for message in connection:
                answer = self._hear(viewer, message)
                if answer is not None:
                    await connection.send(msgspec.json.encode(answer).decode())
        except ConnectionClosed:
            pass
        finally:
            self._viewers.discard(viewer)

    def _hear(self, viewer: Viewer, message: str | bytes) -> Answer | None:
        """Do what a viewer says."""
        try:
            said = self._decoder.decode(message)
        except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
            return Answer(to="", ok=False, text=f"this message is not understood: {error}")
        match said:
            case Ready():
                viewer.ready, viewer.away, viewer.heard = True, False, time.monotonic()
                self._ready.set()
            case Away():
                viewer.ready, viewer.away = False, True
            case Compare():
                self._frames.compare(viewer.seen)
            case May():
                return Answer(to="may", ok=self._bell.may(said.token))
            case Ask():
                return self._bell.ask(said)
        return None

    async def _send_frames(self) -> None:
        """To all who are ready, at most 20 times a second; rest while nobody looks."""
        from websockets.asyncio.server import broadcast

        while True:
            now = time.monotonic()
            looked_at = any(viewer.looks(now) for viewer in self._viewers)
            self._bell.look(looked_at)
            if not looked_at:
                self._ready.clear()
                await self._ready.wait()
                continue
            for viewer in self._viewers:
                if viewer.ready:
                    viewer.ready = False
                    broadcast([viewer.connection], self._frames.encode(viewer.seen, dropped=viewer.dropped))
                elif not viewer.away:
                    viewer.dropped += 1
            await asyncio.sleep(max(now + FRAME - time.monotonic(), 0.0))


def _files() -> dict[str, tuple[str, str]]:
    """Kind and text of each file of the page."""
    found = {}
    for file in (resources.files("threefactor.watch") / "page").iterdir():
        kind = KINDS.get(file.name.rsplit(".", 1)[-1])
        if kind is not None:
            found[f"/{file.name}"] = kind, file.read_text(encoding="utf-8")
    return found | {"/": found["/index.html"]}


def _print(**answer: Any) -> None:
    print(msgspec.json.encode(answer).decode(), flush=True)


def _wait_for_end(loop: asyncio.AbstractEventLoop, ended: asyncio.Event) -> None:
    while os.read(0, 4096):
        pass
    with contextlib.suppress(RuntimeError):  # the event loop has ended by itself
        loop.call_soon_threadsafe(ended.set)


async def _serve(board: Board, token: str, listener: socket.socket) -> None:
    ended = asyncio.Event()
    threading.Thread(target=_wait_for_end, args=(asyncio.get_running_loop(), ended), daemon=True).start()
    await Server(board, token).run(listener, ended)


def main() -> int:
    """Serve what the first line of the input says."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the loop decides when to end
    try:
        import websockets.asyncio.server  # noqa: F401
    except ImportError as error:
        return _fail(f"the package websockets is missing ({error}); install it by: pip install 'threefactor[watch]'")
    try:
        task = msgspec.json.decode(sys.stdin.buffer.readline(), type=Task)
        board = Board(task.plan, task.path)
    except (msgspec.MsgspecError, OSError, ValueError) as error:
        return _fail(f"there is no board to show: {error}")
    try:
        listener = socket.create_server((HERE, task.port))
    except OSError as error:
        return _fail(f"port {task.port} of {HERE} cannot be had ({error}); choose another one, or 0 for a free one.")
    with contextlib.suppress(AttributeError, OSError):
        os.nice(NICE)
    try:
        asyncio.run(_serve(board, task.token, listener))
    finally:
        board.remove()  # a loop that was killed could not
    return 0


def _fail(why: str) -> int:
    _print(error=why)
    return 1


if __name__ == "__main__":
    sys.exit(main())
