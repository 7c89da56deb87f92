"""The page's server: who may look, who may ask, how it begins and ends."""

from __future__ import annotations

import contextlib
import http.client
import json
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from tests.boards import PLAN, TOKEN, Pretence, Served, Viewer
from threefactor.watch.asking import PER_SECOND
from threefactor.watch.board import ASKS, Board
from threefactor.watch.server import ENDED, LONGEST

websockets = pytest.importorskip("websockets", reason="needs websockets, the extra `watch`")


def get(served: Served, path: str = "/", host: str = "", method: str = "GET", **headers: str) -> tuple[int, Any, str]:
    """Status, headers and text of an answer."""
    connection = http.client.HTTPConnection("127.0.0.1", served.port, timeout=5.0)
    connection.putrequest(method, path, skip_host=True)
    for name, value in {"Host": host or served.address, **headers}.items():
        connection.putheader(name, value)
    connection.endheaders()
    answer = connection.getresponse()
    text = answer.read().decode()
    connection.close()
    return answer.status, answer.headers, text


# --- files, hosts, origins -------------------------------------------------------------------------------------------


def test_files_of_the_page(served: Served) -> None:
    """Each with its type, never stored, and from nowhere else."""
    for path, kind in {"/": "text/html", "/page.js": "text/javascript", "/page.css": "text/css"}.items():
        status, headers, text = get(served, path)
        assert (status, headers["Content-Type"]) == (200, f"{kind}; charset=utf-8") and text
        assert headers["Cache-Control"] == "no-store" and headers["X-Content-Type-Options"] == "nosniff"
        policy = headers["Content-Security-Policy"]
        assert (
            policy.startswith("default-src 'self'; connect-src ws://127.0.0.1:") and "frame-ancestors 'none'" in policy
        )
        assert "unsafe" not in policy and TOKEN not in text
    assert get(served, "/?reload")[0] == 200
    for path in ("/board.py", "/../server.py", "/%2e%2e/server.py", "//etc/passwd", "/page", "/nothing"):
        assert get(served, path)[0] == 404
    with contextlib.suppress(http.client.RemoteDisconnected):  # websockets 15 says nothing more to a POST
        assert get(served, method="POST")[0] == 405


def test_foreign_hosts_are_refused(served: Served) -> None:
    """A name that somebody else has made to mean this machine is not its name."""
    assert get(served, host=f"localhost:{served.port}")[0] == 200
    for host in ("evil.example", f"evil.example:{served.port}", "127.0.0.1", f"127.0.0.1:{served.port + 1}", "::1"):
        for path in ("/", "/live"):
            assert get(served, path, host)[0] == 403


def test_foreign_origins_are_refused(served: Served) -> None:
    """Other sites can neither look nor ask; a program without an origin may look."""
    for origin in ("http://evil.example", "null", f"https://127.0.0.1:{served.port}", "http://127.0.0.1"):
        with pytest.raises(websockets.InvalidStatus) as refused:
            Viewer(served.address, origin=origin)
        assert refused.value.response.status_code == 403
        assert get(served, "/page.js", Origin=origin)[0] == 403
    for origin in (None, f"http://127.0.0.1:{served.port}", f"http://localhost:{served.port}"):
        with Viewer(served.address, origin=origin) as viewer:
            assert viewer.plan == {"type": "plan", "plan": json.loads(msgspec.json.encode(PLAN))}


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only there all of 127.0.0.0/8 is this machine")
def test_no_other_address_is_bound(served: Served) -> None:
    """Nobody else in the network reaches it."""
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.2", served.port), timeout=2.0)


# --- asking ----------------------------------------------------------------------------------------------------------


def test_what_is_asked_for_reaches_the_loop(pretence: Pretence, served: Served) -> None:
    """The bell counts it, and says as before whether somebody looks."""
    bell = pretence.board.bell
    with Viewer(served.address) as viewer:
        viewer.say(type="may", token=TOKEN)
        assert viewer.receive() == {"type": "answer", "to": "may", "ok": True, "text": ""}
        before = int(bell[0])
        wanted = [("pause", 1), ("slope", 12.5), ("learning", 0), ("save", 1), ("pause", 0)]
        for control, value in wanted:
            assert viewer.ask(control, value) == {"type": "answer", "to": control, "ok": True, "text": ""}
        assert bell[0] == before + 2 * len(wanted)
        assert pretence.hear() == wanted
        header, _ = viewer.frame()
        assert header["values"] == [0.0, 0.0, 12.5, 1.0] and header["said"].startswith("saved to")
        assert bell[0] == before + 2 * len(wanted) + 1


@pytest.mark.parametrize(
    ("control", "value", "token", "why"),
    [
        ("pause", 1, "", "token is wrong"), ("pause", 1, TOKEN[:-1], "token is wrong"), ("slope", 2, "ü", "token is"),
        ("slope", 0, TOKEN, "positive"), ("slope", -1, TOKEN, "positive"), ("slope", 10**400, TOKEN, "not understood"),
        ("slope", "5", TOKEN, "not understood"), ("slope", None, TOKEN, "not understood"), ("save", 2, TOKEN, "0 or 1"),
        ("learning", True, TOKEN, "not understood"), ("weights", 1, TOKEN, "this loop has"),
        ("pause", 0.5, TOKEN, "0 or 1"),
    ],
)  # fmt: skip
def test_bad_requests_change_nothing(
    pretence: Pretence, served: Served, control: str, value: Any, token: str, why: str
) -> None:
    """Refused with a reason."""
    board = pretence.board
    before, asked = int(board.bell[0]), board.asked.copy()
    with Viewer(served.address) as viewer:
        answer = viewer.ask(control, value, token)
        assert not answer["ok"] and why in answer["text"]
        viewer.say(type="may", token=token + "x")
        assert not viewer.receive()["ok"]
    assert board.bell[0] == before and np.array_equal(board.asked, asked)


def test_malformed_messages_do_no_harm(pretence: Pretence, served: Served) -> None:
    """They are refused with a reason; one that is too long ends this connection, and no other."""
    before = int(pretence.board.bell[0])
    with Viewer(served.address) as viewer, Viewer(served.address) as other:
        deep = '{"x":' + "[" * (LONGEST - 10)
        for message in (
            "",
            "ready",
            "[]",
            '{"type": "nothing"}',
            '{"type": "ready", "x": 1}',
            deep,
            b"\xff",
            b'{"type":"may"}',
        ):
            viewer.connection.send(message)
            assert "not understood" in viewer.receive()["text"]
        viewer.frame()
        viewer.connection.send("x" * (LONGEST + 1))
        with pytest.raises(websockets.ConnectionClosedError, match="1009"):
            viewer.receive()
        other.frame()
        assert int(pretence.board.bell[0]) >> 1 == before >> 1


def test_a_flood_does_not_overrun_the_ring(pretence: Pretence, served: Served) -> None:
    """Of all viewers together some 20 a second are passed on, fewer than the loop finds at its next tick."""
    time.sleep(1.0)
    before = int(pretence.board.bell[0]) >> 1
    start, answers = time.monotonic(), []
    with Viewer(served.address) as viewer, Viewer(served.address) as other:
        for k in range(60):
            answers += [viewer.ask("slope", 1.0 + k), other.ask("pause", k % 2)]
    took, passed = time.monotonic() - start, sum(answer["ok"] for answer in answers)
    assert PER_SECOND <= passed <= PER_SECOND * (1.0 + took) + 1
    assert any("wait a moment" in answer["text"] for answer in answers)
    assert (int(pretence.board.bell[0]) >> 1) - before == passed < ASKS
    assert len(pretence.hear()) == passed


# --- beginning and end -----------------------------------------------------------------------------------------------


def test_it_ends_with_its_input() -> None:
    """Not by Ctrl-C, which the loop answers; its viewers are told, and nobody looks any more."""
    with Pretence() as pretence, Served(pretence.board) as served, Viewer(served.address) as viewer:
        served.process.send_signal(signal.SIGINT)
        viewer.frame()
        assert pretence.board.bell[0] == 1
        start = time.monotonic()
        assert served.end() == "" and served.process.returncode == 0
        assert time.monotonic() - start < 5.0
        with pytest.raises(websockets.ConnectionClosedOK) as closed:
            viewer.receive()
        assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (1001, ENDED)
        assert pretence.board.bell[0] == 0 and not pretence.board.path.exists()  # as if the loop had been killed


def test_nobody_looks_any_more_while_viewers_take_their_leave() -> None:
    """Not even one who was ready a moment ago and never answers the farewell, for which the server waits."""
    ready = b'{"type":"ready"}'
    with (
        Pretence() as pretence, Served(pretence.board) as served,
        socket.create_connection(("127.0.0.1", served.port), timeout=5.0) as silent,
    ):  # fmt: skip
        silent.sendall(
            f"GET /live HTTP/1.1\r\nHost: {served.address}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            "Sec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
        )
        assert silent.recv(4096).startswith(b"HTTP/1.1 101")
        silent.sendall(bytes([0x81, 0x80 | len(ready), 0, 0, 0, 0]) + ready)  # a whole text, masked by zeros
        deadline = time.monotonic() + 5.0
        while pretence.board.bell[0] == 0 and time.monotonic() < deadline:
            time.sleep(0.01)
        assert pretence.board.bell[0] == 1
        assert served.end() == "" and served.process.returncode == 0
        assert pretence.board.bell[0] == 0


def test_bad_beginnings_are_explained(tmp_path: Path, served: Served, pretence: Pretence) -> None:
    """A port that is taken or is none, no board, no plan."""
    board = pretence.board
    for given, why in (
        ({"port": served.port}, "choose another one, or 0"), ({"port": 70000}, "port"), ({"token": ""}, "token"),
        ({"path": str(tmp_path / "none")}, "there is no board"), ({"plan": {}}, "plan"),
    ):  # fmt: skip
        with Served(board, **given) as refused:
            assert list(refused.answer) == ["error"] and why in refused.answer["error"]
            assert refused.end() == "" and refused.process.returncode == 1
    assert get(served)[0] == 200


def test_without_the_package_its_extra_is_named() -> None:
    """And the loop can say so."""
    code = "import sys; sys.modules['websockets'] = None; from threefactor.watch.server import main; sys.exit(main())"
    found = subprocess.run([sys.executable, "-c", code], input="", capture_output=True, text=True, check=False)
    assert found.returncode == 1 and "threefactor[watch]" in json.loads(found.stdout)["error"]


def test_boards_of_loops_with_little_to_show() -> None:
    """No network, no controls, no histograms: what there is is shown."""
    plan = msgspec.structs.replace(PLAN, neurons=0, matrices={}, signals=[], durations=[], controls=[])
    board = Board.new(plan)
    try:
        with Served(board) as served, Viewer(served.address) as viewer:
            header, arrays = viewer.frame()
            assert header["values"] == [] and set(arrays) == {"samples", "returns"}
            assert "this loop has none" in viewer.ask("pause", 1)["text"]
    finally:
        board.remove()
