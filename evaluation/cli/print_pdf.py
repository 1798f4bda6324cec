"""Print a page to PDF with the Chromium of this machine."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path

__all__ = ["print_pdf"]

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome", "microsoft-edge")
PATIENCE_S = 300


def print_pdf(page: Path) -> Path:
    """``report.pdf`` beside ``report.html``, in the print style of the page; nothing is fetched.

    Raises:
        ValueError: no Chromium on this machine, or it did not print.
    """
    browser = next((found for name in BROWSERS if (found := shutil.which(name))), None)
    if browser is None:
        raise ValueError(f"--pdf needs Chromium, and none of {', '.join(BROWSERS)} is installed; print from a browser")
    target = page.with_suffix(".pdf")
    with tempfile.TemporaryDirectory() as profile:
        command = [
            browser, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--no-pdf-header-footer",
            "--disable-background-networking", "--disable-component-update", "--disable-sync",
            f"--user-data-dir={profile}", f"--print-to-pdf={target}", page.resolve().as_uri(),
        ]  # fmt: skip
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
        except subprocess.TimeoutExpired as error:
            raise ValueError(
                f"{browser} did not print {page} within {PATIENCE_S} s; print it from a browser"
            ) from error
    if done.returncode != 0 or not target.is_file():
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise ValueError(f"{browser} could not print {page} ({last}); print it from a browser")
    return target
