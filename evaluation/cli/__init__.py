"""The console command ``audiolm-audit``: a verb is looked up by name and its module is imported only then.

Exit codes: 0 fine, 1 a finding at or above the gate, 2 bad input or usage, 130 interrupted, 143 ended by SIGTERM.
"""

from __future__ import annotations

import argparse
import contextlib
import difflib
import importlib
import io
import os
import sys
from collections.abc import Sequence
from typing import TextIO, cast

from evaluation.cli.faults import Terminated, sentence_of, sigterm_raises
from evaluation.cli.terminal import PlainText, log_to_terminal, plain

__all__ = ["VERBS", "main"]

VERBS = {
    "audit": ("evaluation.cli.audit", "generate, score and report: prompts or a folder of audio to an HTML report"),
    "generate": ("evaluation.cli.generate", "only make audio: every prompt in every role"),
    "score": ("evaluation.cli.score", "score a run folder again, computing only what changed"),
    "table": ("evaluation.cli.table", "print every measure of a scored run by role, with intervals"),
    "report": ("evaluation.cli.report", "build the report of a finished run again"),
    "serve": ("evaluation.cli.serve", "open a report beside a desk that examines any clip dropped on it"),
    "verify": ("reports.cli.verify", "say whether any file of a run was changed since its report was built"),
    "compare": ("reports.cli.compare", "two audits: findings new, fixed, regressed, within noise"),
    "plan": ("evaluation.cli.plan", "lay down policy, prompts, slices, seeds and sample sizes before an audit"),
    "detect": ("evaluation.cli.detect", "say of audio files whether they are synthetic speech, or give no opinion"),
    "detect-eval": ("evaluation.cli.detect_eval", "error rates of any detector from a protocol and a score file"),
    "detect-card": (
        "evaluation.cli.detect_card",
        "robustness card: post-processing, filter attack, short and partial fakes",
    ),
    "detect-shortcuts": ("evaluation.cli.detect_shortcuts", "is a labelled set fair: rate, length, level as detectors"),
    "detect-leave-out": ("evaluation.cli.detect_leave_out", "what a detector makes of a generator it never saw"),
    "detect-train": ("evaluation.cli.detect_train", "train a detector from a TOML file, with calibration and card"),
    "difference": ("evaluation.cli.difference", "two systems on the same prompts: paired differences with p-values"),
    "slices": ("evaluation.cli.slices", "measures by group of speakers, generated minus recorded"),
    "import-versa": ("evaluation.cli.import_versa", "JSON lines of VERSA become a run with intervals and a report"),
    "likelihood": ("evaluation.cli.likelihood", "rank pairs of words or sentences by the model's likelihood"),
    "abx": ("evaluation.cli.abx", "phone discriminability of tokens and features, within and across speakers"),
    "data": ("evaluation.cli.data", "inspect prompts: speakers, hours, groups, rows that cannot be used"),
    "evaluate-model": ("evaluation.cli.evaluate_model", "the table of a checkpoint's card: values, intervals, targets"),
    "doctor": ("evaluation.cli.doctor", "which evaluators are ready here, and what brings the missing ones"),
    "train": ("audiolm.cli", "train a part of the model"),
    "codec": ("audiolm.codec.cli", "recordings to files of a few kbit/s and back, and how the codes are used"),
}
EXIT_USAGE, EXIT_INTERRUPTED, EXIT_ENDED = 2, 130, 143
FOREIGN_VERBS = ("train", "codec", "verify", "compare")
"""Verbs whose module has a ``main`` of its own."""
RESUMING_VERBS = ("audit", "generate", "train")
"""Verbs that go on with a stopped run when they are told to; the others are simply run again."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one verb; returns the exit code and never raises for bad input."""
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # read when torch is first imported, which no verb has done yet
    arguments = list(sys.argv[1:] if argv is None else argv)
    for stream in (sys.stdout, sys.stderr):  # a file name may hold bytes that are no text: shown as escapes
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    log_to_terminal()
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(_overview())
        return 0 if arguments else EXIT_USAGE
    if arguments[0] == "--version":
        print(_version())
        return 0
    verb = arguments[0]
    if verb not in VERBS:
        near = difflib.get_close_matches(verb, VERBS, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"use one of {', '.join(VERBS)}"
        return _usage(f"there is no verb {verb!r}; {hint}")
    return _run(verb, arguments[1:])


def _run(verb: str, arguments: list[str]) -> int:
    try:
        with sigterm_raises(), contextlib.redirect_stdout(cast(TextIO, PlainText(sys.stdout))):
            return _called(verb, arguments)
    except SystemExit as error:
        return error.code if isinstance(error.code, int) else EXIT_USAGE
    except (KeyboardInterrupt, Terminated) as error:
        was, code = ("interrupted", EXIT_INTERRUPTED) if isinstance(error, KeyboardInterrupt) else ("ended", EXIT_ENDED)
        told = "with --resume goes on from here" if verb in RESUMING_VERBS else "can be run again"
        print(f"{was}; the same command {told}", file=sys.stderr)
        return code
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except ImportError as error:
        return _usage(
            f"{verb} needs {error.name or error}, which is not installed; install audiolm-audit with its extras"
        )
    except (ValueError, OSError, MemoryError) as error:
        if os.environ.get("AUDIOLM_AUDIT_TRACEBACK"):
            raise
        return _usage(sentence_of(error))


def _called(verb: str, arguments: list[str]) -> int:
    module = importlib.import_module(VERBS[verb][0])
    if verb in FOREIGN_VERBS:
        return int(module.main(arguments) or 0)
    parser = argparse.ArgumentParser(
        prog=f"audiolm-audit {verb}",
        description=module.__doc__,
        epilog=f"example:\n  {module.EXAMPLE}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    module.add_arguments(parser)
    return int(module.run(parser.parse_args(arguments)))


def _usage(sentence: str) -> int:
    print(plain(f"audiolm-audit: {sentence}"), file=sys.stderr)
    return EXIT_USAGE


def _overview() -> str:
    width = max(map(len, VERBS))
    verbs = "\n".join(f"  {name:<{width}}  {what}" for name, (_, what) in VERBS.items())
    return (
        "usage: audiolm-audit VERB [options]\n\n"
        f"verbs:\n{verbs}\n\n"
        "audiolm-audit VERB --help shows a verb's options and an example that runs.\n"
        "example:\n  audiolm-audit audit --out runs/first\n\n"
        "exit codes: 0 fine, 1 a finding at or above the gate, 2 bad input or usage"
    )


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return f"audiolm-audit {version('audiolm-audit')}"
    except PackageNotFoundError:
        return "audiolm-audit (not installed, run from its source)"
