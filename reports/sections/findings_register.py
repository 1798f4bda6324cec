"""Every finding with its number, threshold, source and evidence."""

from __future__ import annotations

from collections.abc import Sequence

from reports.blocks import FindingList, Prose
from reports.context import Context
from reports.findings import rank
from reports.sections import Section


def build(context: Context) -> Sequence[object]:
    ordered = sorted(context.findings, key=lambda finding: (-rank(finding.severity), finding.finding_id))
    return [
        Prose(
            "Severity follows the estimate and the policy's thresholds; where an interval includes the threshold, the"
            " statement says so. The same list stands in findings.json.",
            "small",
        ),
        FindingList(findings=ordered),
    ]


SECTION = Section(section_id="findings", title="Findings register", part="record", order=0, build=build, closing=True)
