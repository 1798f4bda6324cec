"""One request to the desk: who asks is checked first, then a fixed address is answered or a clip examined."""

from __future__ import annotations

import hashlib
import json
import logging
import re
import secrets
import socket
import tempfile
import threading
import time
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, cast
from urllib.parse import unquote, urlsplit

from evaluation.desk.addresses import Resource
from evaluation.desk.examiner import Busy, TooSlow

if TYPE_CHECKING:
    from evaluation.desk.server import Desk

__all__ = ["DeskHandler"]

logger = logging.getLogger(__name__)

CHUNK = 1 << 16
STALL_S = 10.0
LINGER_S = 2.0
EXAMINE, FACTS = "examine", "facts"
HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; frame-src 'self';"
        " media-src blob:; frame-ancestors 'self'; base-uri 'none'; form-action 'none'"
    ),
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
FRAME_POLICY = "frame-ancestors 'self'"
"""For the report, which states the rest of its policy itself."""


class _Refused(Exception):
    """A request that is not served: status and one sentence."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status


class DeskHandler(BaseHTTPRequestHandler):
    """GET and HEAD of fixed addresses, POST of a clip; one request per connection."""

    protocol_version = "HTTP/1.1"
    server_version, sys_version = "desk", ""
    timeout = STALL_S

    @property
    def desk(self) -> Desk:
        return cast("Desk", self.server)

    def setup(self) -> None:
        super().setup()
        self._watch = self._deadline(self.desk.limits.receive_s)

    def finish(self) -> None:
        self._watch.cancel()
        try:
            super().finish()
        except OSError:
            logger.debug("a client went away")

    def do_GET(self) -> None:
        self._answer(self._get)

    def do_HEAD(self) -> None:
        self._answer(self._get)

    def do_POST(self) -> None:
        self._answer(self._post)

    def log_message(self, format: str, *args: Any) -> None:
        """Requests are not written down: their lines hold the token."""

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Refusals of the base class, such as an unknown method, in the desk's own form."""
        self._send_json(int(code), {"error": message or "this request cannot be read"})

    def _deadline(self, seconds: float) -> threading.Timer:
        """After this time the connection is cut, however slowly bytes trickle."""
        timer = threading.Timer(seconds, self._cut)
        timer.daemon = True
        timer.start()
        return timer

    def _cut(self) -> None:
        try:
            self.connection.shutdown(socket.SHUT_RDWR)
        except OSError:
            logger.debug("the connection was closed already")

    def _answer(self, serve: Any) -> None:
        self.close_connection = True
        try:
            serve(self._checked())
        except _Refused as refused:
            self._send_json(refused.status, {"error": str(refused)})
            self._drain()
        except (ConnectionError, TimeoutError):
            logger.debug("a client went away")

    def _checked(self) -> str:
        """The address below the token, after host, origin and token were found right."""
        if self.headers.get_all("Host", []) not in [[host] for host in self.desk.hosts]:
            raise _Refused(421, "this desk answers to its own address only; open the one that was printed")
        origin = self.headers.get("Origin")
        if origin is not None and origin not in [f"http://{host}" for host in self.desk.hosts]:
            raise _Refused(403, "another site asked for this; open the address that was printed")
        try:
            given, _, rest = urlsplit(self.path).path.removeprefix("/").partition("/")
        except ValueError as error:
            raise _Refused(400, "the address cannot be read; open the one that was printed") from error
        if not secrets.compare_digest(given.encode("utf-8", "replace"), self.desk.token.encode()):
            raise _Refused(403, "the token is missing or wrong; open the address that was printed")
        return unquote(rest, errors="replace")

    def _get(self, address: str) -> None:
        self._answering()
        if address == FACTS:
            self._send_json(200, self.desk.facts)
            return
        resource = self.desk.resources.get(address)
        if resource is None:
            raise _Refused(404, "there is nothing at this address")
        self._send_resource(resource)

    def _post(self, address: str) -> None:
        if address != EXAMINE:
            raise _Refused(404, "there is nothing at this address")
        length = self._declared()
        with tempfile.NamedTemporaryFile(dir=self.desk.folder.name, prefix="clip-") as file:
            digest = self._receive(cast(BinaryIO, file), length)
            self._answering()
            try:
                line = self.desk.examiner.examine(Path(file.name), f"sha256:{digest}")
            except Busy as error:
                raise _Refused(503, str(error)) from error
            except (TooSlow, ValueError) as error:
                raise _Refused(504, str(error)) from error
        self._send_json(200, line)

    def _answering(self) -> None:
        """The request has come in whole: from here on, the time for the answer runs."""
        self._watch.cancel()
        limits = self.desk.limits
        self._watch = self._deadline(limits.send_s + limits.examine_s + limits.queue_s)

    def _declared(self) -> int:
        """Bytes of the clip, as the request states them."""
        stated = self.headers.get_all("Content-Length", [])
        if "Transfer-Encoding" in self.headers or len(stated) != 1 or not re.fullmatch(r"[0-9]{1,15}", stated[0]):
            raise _Refused(411, "the request must state the size of the clip")
        length, limit = int(stated[0]), self.desk.limits.clip_bytes
        if length > limit:
            raise _Refused(413, f"the clip has {length:,} bytes and at most {limit:,} are taken; cut it")
        if length == 0:
            raise _Refused(400, "the clip is empty (0 bytes)")
        return length

    def _receive(self, file: BinaryIO, length: int) -> str:
        digest, left = hashlib.sha256(), length
        until = time.monotonic() + self.desk.limits.receive_s
        while left:
            try:
                chunk = self.rfile.read1(min(CHUNK, left))  # type: ignore[attr-defined]
            except TimeoutError as error:
                raise _Refused(408, "the clip did not arrive in time") from error
            if not chunk or time.monotonic() > until:
                raise _Refused(408, f"only {length - left:,} of {length:,} bytes of the clip arrived in time")
            digest.update(chunk)
            file.write(chunk)
            left -= len(chunk)
        file.flush()
        return digest.hexdigest()

    def _drain(self) -> None:
        """Take what a refused client still sends for a moment, so that it reads the refusal and no broken pipe."""
        until = time.monotonic() + LINGER_S
        try:
            self.connection.shutdown(socket.SHUT_WR)
            self.connection.settimeout(LINGER_S / 4)
            while time.monotonic() < until and self.connection.recv(CHUNK):
                pass
        except OSError:
            logger.debug("a refused client went away")

    def _send_json(self, status: int, content: Mapping[str, Any]) -> None:
        body = (json.dumps(content, ensure_ascii=True) + "\n").encode()
        self._head(status, "application/json", len(body), {})
        if self.command != "HEAD":
            self.wfile.write(body)

    def _head(self, status: int, media_type: str, length: int, more: Mapping[str, str]) -> None:
        self.close_connection = True
        self.send_response(status)
        described = {"Content-Type": media_type, "Content-Length": str(length), "Connection": "close"}
        sent = {**HEADERS, **described, **more}
        for name, value in sent.items():
            self.send_header(name, value)
        self.end_headers()

    def _send_resource(self, resource: Resource) -> None:
        if resource.path is None:
            self._head(200, resource.media_type, len(resource.content), {})
            if self.command != "HEAD":
                self.wfile.write(resource.content)
            return
        try:
            file = resource.path.open("rb")
        except OSError as error:
            raise _Refused(404, "the file is no longer there") from error
        with file:
            size = resource.path.stat().st_size
            first, last = _part(self.headers.get("Range", ""), size)
            more = {"Accept-Ranges": "bytes"}
            if resource.media_type.startswith("text/html"):
                more["Content-Security-Policy"] = FRAME_POLICY
            whole = (first, last) == (0, size - 1)
            more |= {} if whole else {"Content-Range": f"bytes {first}-{last}/{size}"}
            self._head(200 if whole else 206, resource.media_type, last - first + 1, more)
            file.seek(first)
            left = 0 if self.command == "HEAD" else last - first + 1
            while left > 0 and (chunk := file.read(min(CHUNK, left))):
                self.wfile.write(chunk)
                left -= len(chunk)


def _part(asked: str, size: int) -> tuple[int, int]:
    """First and last byte of a ``Range`` header with one part; the whole file for anything else."""
    found = re.fullmatch(r"bytes=([0-9]{1,15})-([0-9]{0,15})", asked)
    if not found:
        return 0, size - 1
    first = int(found[1])
    last = min(int(found[2]), size - 1) if found[2] else size - 1
    return (first, last) if first <= last else (0, size - 1)
