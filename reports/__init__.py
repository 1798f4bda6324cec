"""The audit report: reads a finished run folder and imports nothing of ours.

``build_report`` turns the tables of a run folder into ``findings.json``, its machine-readable companions and one
self-contained ``report.html``; ``write_plan`` lays down what an audit will rest on.
"""

from __future__ import annotations

from reports.build import ReportResult, build_report
from reports.findings import SEVERITIES, Finding
from reports.plan import write_plan

__all__ = ["SEVERITIES", "Finding", "ReportResult", "build_report", "write_plan"]
