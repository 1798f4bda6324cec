"""Bytes of a stranger as one request to the desk (``audiolm-audit serve``), without a socket and without a detector."""

from __future__ import annotations

import io
from pathlib import Path
from types import SimpleNamespace
from typing import Any

__all__ = ["desk_seeds", "read_request"]

TOKEN, HOST = "TOKEN", "127.0.0.1:8000"
SECRET = b"what no request may see"


class _Link:
    """What a handler needs of a connection: bytes that come in, and those that went out."""

    def __init__(self, data: bytes) -> None:
        self._data, self.sent = data, b""

    def makefile(self, mode: str, size: int = -1) -> io.BytesIO:
        return io.BytesIO(self._data)

    def sendall(self, data: bytes) -> None:
        self.sent += bytes(data)

    def recv(self, size: int) -> bytes:
        return b""

    def settimeout(self, seconds: float) -> None: ...

    def shutdown(self, how: int) -> None: ...


def read_request(data: bytes, folder: Path) -> None:
    """Answered or dropped, by the rules: nothing without host and token, and no file that was not laid down."""
    from evaluation.desk.addresses import Resource
    from evaluation.desk.handler import DeskHandler
    from evaluation.desk.limits import Limits

    (folder / "secret").write_bytes(SECRET)
    (folder / "a.wav").write_bytes(b"RIFF....WAVE")
    desk: Any = SimpleNamespace(
        limits=Limits(clip_bytes=4_096), token=TOKEN, hosts=(HOST, "localhost:8000"), facts={"ready": True},
        resources={"": Resource("text/html", content=b"page"), "a.wav": Resource("audio/wav", path=folder / "a.wav")},
        folder=SimpleNamespace(name=str(folder)), examiner=SimpleNamespace(examine=lambda path, name: {"path": name}),
    )  # fmt: skip
    link = _Link(data)
    try:
        DeskHandler(link, ("127.0.0.1", 1), desk)  # type: ignore[arg-type]
    except ValueError as error:
        raise RuntimeError("a request was dropped without an answer") from error
    head = link.sent.partition(b"\r\n")[0]
    if SECRET in link.sent or b"Traceback" in link.sent:
        raise RuntimeError("a file that was not laid down, or the program's own words, went out")
    if head.split(b" ")[1:2] in ([b"200"], [b"206"]) and not (TOKEN.encode() in data and b":8000" in data):
        raise RuntimeError("a request without token or host was served")


def desk_seeds() -> list[bytes]:
    heads = f"Host: {HOST}\r\n"
    lines = (
        f"GET /{TOKEN}/ HTTP/1.1\r\n{heads}\r\n",
        f"GET /{TOKEN}/a.wav HTTP/1.1\r\n{heads}Range: bytes=2-5\r\n\r\n",
        f"HEAD /{TOKEN}/facts?x=1 HTTP/1.0\r\n{heads}Origin: http://{HOST}\r\n\r\n",
        f"POST /{TOKEN}/examine HTTP/1.1\r\n{heads}Content-Length: 4\r\n\r\nRIFF",
        f"POST /{TOKEN}/examine HTTP/1.1\r\n{heads}Transfer-Encoding: chunked\r\n\r\n4\r\nRIFF\r\n",
        f"GET /{TOKEN}/%2e%2e/secret HTTP/1.1\r\n{heads}\r\n",
        f"GET http://[{TOKEN} HTTP/1.1\r\n{heads}\r\n",
        "GET / HTTP/0.9\r\n\r\n",
    )
    return [line.encode() for line in lines]
