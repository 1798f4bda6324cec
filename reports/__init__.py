"""The audit report: reads a finished run folder and imports nothing of ours.

``build_report`` turns the tables of a run folder into ``findings.json`` and one self-contained ``report.html``.
"""

from __future__ import annotations

from reports.build import ReportResult, build_report
from reports.findings import SEVERITIES, Finding

__all__ = ["SEVERITIES", "Finding", "ReportResult", "build_report"]
