"""Open a report in the browser, beside a desk that examines any clip dropped on it; on this machine only."""

from __future__ import annotations

import argparse
import os
import sys
import webbrowser

import detectors
from evaluation.desk import Desk, Limits

EXAMPLE = "audiolm-audit serve runs/first"
BYTES_PER_MB = 1_000_000


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run_folder", metavar="RUN", help="folder that audit wrote")
    parser.add_argument("--port", type=int, default=0, help="port on 127.0.0.1 (default: any free one)")
    parser.add_argument("--detector", default=detectors.DEFAULT_DETECTOR, help="name (default: %(default)s)")
    parser.add_argument("--device", default="cpu", help="cpu, cuda or cuda:N (default: %(default)s)")
    parser.add_argument("--max-mb", type=float, default=25.0, help="largest clip in MB (default: %(default)g)")
    parser.add_argument("--max-seconds", type=float, default=600.0, help="longest clip (default: %(default)g)")
    parser.add_argument("--no-browser", action="store_true", help="only print the address")


def run(args: argparse.Namespace) -> int:
    if not 0 <= args.port <= 65_535:
        raise ValueError(f"port is {args.port}; use 0 (any free one) to 65535")
    limits = Limits(clip_bytes=int(args.max_mb * BYTES_PER_MB), clip_s=args.max_seconds)
    with Desk(args.run_folder, port=args.port, detector=args.detector, device=args.device, limits=limits) as desk:
        print(f"open {desk.address}")
        print("the address holds a secret of this session; Ctrl-C ends it", flush=True)
        if not args.no_browser and _has_screen():
            webbrowser.open(desk.address)
        try:
            desk.serve_forever()
        except KeyboardInterrupt:
            print("ended")
    return 0


def _has_screen() -> bool:
    return sys.platform in ("win32", "darwin") or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
