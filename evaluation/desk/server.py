"""The server of the desk: loopback only, a bounded number of connections, one token for its life."""

from __future__ import annotations

import secrets
import socket
import tempfile
import threading
from http.server import ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any

from evaluation.desk.addresses import lay_down
from evaluation.desk.examiner import Examiner
from evaluation.desk.handler import DeskHandler
from evaluation.desk.limits import Limits
from evaluation.discovery import pick
from evaluation.own_evidence.detectors import all_detectors

__all__ = ["Desk"]

LOOPBACK = "127.0.0.1"
FULL = b"HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nRetry-After: 5\r\nContent-Length: 0\r\n\r\n"


class Desk(ThreadingHTTPServer):
    """Serves one run until it is closed; ``address`` is what to open in a browser.

    Raises:
        ValueError: no finished run, no report, a port that is taken, or a detector that cannot be loaded.
    """

    daemon_threads = True
    allow_reuse_address = False
    request_queue_size = 32

    def __init__(
        self, run_folder: str | Path, *, port: int = 0, detector: str, device: str = "cpu",
        limits: Limits | None = None, examiner: Examiner | None = None,
    ) -> None:  # fmt: skip
        self.limits = limits or Limits()
        self.resources = lay_down(run_folder)
        if examiner is None:
            pick(all_detectors(), detector, "detector")  # a mistyped name is refused before anything is started
        self.token = secrets.token_urlsafe(32)
        self._slots = threading.BoundedSemaphore(self.limits.connections)
        try:
            super().__init__((LOOPBACK, port), DeskHandler)
        except OSError as error:
            raise ValueError(f"port {port} cannot be opened ({error.strerror}); name another one or 0") from error
        self.port = int(self.server_address[1])
        self.folder = tempfile.TemporaryDirectory(prefix="audiolm-desk-")
        self.examiner = examiner or Examiner.of_detector(
            detector, device, longest_s=self.limits.clip_s, examine_s=self.limits.examine_s,
            queue_s=self.limits.queue_s,
        )  # fmt: skip
        try:
            self.facts = dict(self.examiner.start()) | {"clip_bytes": self.limits.clip_bytes}
        except ValueError:
            self.server_close()
            raise

    @property
    def address(self) -> str:
        return f"http://{LOOPBACK}:{self.port}/{self.token}/"

    @property
    def hosts(self) -> tuple[str, str]:
        """What a browser on this machine names as its host; anything else is another site's name for this address."""
        return f"{LOOPBACK}:{self.port}", f"localhost:{self.port}"

    def process_request(self, request: Any, client_address: Any) -> None:
        """A thread per connection, up to the limit; above it, a short refusal."""
        if not self._slots.acquire(blocking=False):
            try:
                request.settimeout(1.0)
                request.sendall(FULL)
            except OSError:
                pass
            self.shutdown_request(request)
            return
        super().process_request(request, client_address)

    def process_request_thread(self, request: socket.socket, client_address: Any) -> None:  # type: ignore[override]
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._slots.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes away is no event; the handler logs everything else itself."""

    def server_close(self) -> None:
        super().server_close()
        self.examiner.close()
        self.folder.cleanup()

    def __exit__(
        self, kind: type[BaseException] | None = None, value: BaseException | None = None,
        trace: TracebackType | None = None,
    ) -> None:  # fmt: skip
        self.server_close()
