"""A report opened in headless Chromium, with a script of the test's own in the page; for tests that need a browser."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

CHROMIUM = next(
    (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None
)
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--disable-quic", "--allow-file-access-from-files",
)  # fmt: skip


def run_in_page(report: Path, script: str, *, width: int = 1280, dark: bool = False, patience_s: int = 120) -> Any:
    """What ``script`` returns (the body of an async function, JSON values) after the report was loaded.

    The page is a copy beside the report whose content policy is lifted, since the policy would refuse the script.
    """
    if CHROMIUM is None:
        raise RuntimeError("no Chromium on this machine")
    text = report.read_text("utf-8")
    text = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", text)
    runner = (
        "<script>(async () => { let value; try { value = await (async () => {"
        + script
        + "})(); } catch (error) { value = {error: String(error)}; }"
        " const out = document.createElement('pre'); out.id = 'test-result'; out.textContent = JSON.stringify(value);"
        " document.body.append(out); })();</script>"
    )
    page = report.with_name(".page-under-test.html")
    page.write_text(text.replace("</body>", runner + "</body>"), "utf-8")
    try:
        with tempfile.TemporaryDirectory() as profile:
            more = ["--blink-settings=preferredColorScheme=0"] if dark else []
            command = [
                CHROMIUM, *FLAGS, *more, f"--user-data-dir={profile}", f"--window-size={width},1600",
                "--virtual-time-budget=60000", "--dump-dom", page.resolve().as_uri(),
            ]  # fmt: skip
            done = subprocess.run(command, capture_output=True, text=True, timeout=patience_s, check=False)
    finally:
        page.unlink()
    found = re.search(r'<pre id="test-result">(.*?)</pre>', done.stdout, re.DOTALL)
    if not found:
        raise RuntimeError(f"the page gave no result: {done.stderr[-500:]}")
    return json.loads(html.unescape(found.group(1)))
