"""How intervals were made, and what they cannot say."""

from __future__ import annotations

from collections.abc import Sequence

from reports.blocks import Bullets, Cell, Column, Facts, Table
from reports.comparisons import family_table, read_comparisons, worst_case_table
from reports.context import Context
from reports.estimates import CONFIDENCE, REPLICATES, SEED
from reports.sections import Section
from reports.sections.headline import LEADING
from reports.tables import number


def build(context: Context) -> Sequence[object]:
    summary, items = context.run.summary, context.run.generations
    methods = sorted(set(summary["method"]) - {""})
    confidences = sorted({f"{value:g}" for value in summary["confidence"].dropna()})
    without = int((summary["estimate"].notna() & summary["ci_low"].isna()).sum())
    named = items.loc[items["speaker_id"] != ""]
    pairs = [
        ("Intervals of the summary table", "; ".join(methods) or "none"),
        ("Confidence", ", ".join(confidences) or "none"),
        ("Rows of the summary without an interval", f"{without:,} of {len(summary):,}"),
        ("Differences between roles and groups", f"formed here on the same utterances; {REPLICATES:,} resamples of"
         f" speakers, percentile interval at {CONFIDENCE:.0%}, seed {SEED}"),
        ("Speakers", f"{named['speaker_id'].nunique():,}"),
        ("Utterances", f"{items['utterance_id'].nunique():,}"),
        ("Policy", context.policy.title),
    ]  # fmt: skip
    notes = [
        "Speakers are resampled, not clips: clips of one speaker fail together, and resampling clips covers the truth"
        " in about half the cases it claims to.",
        "With fewer than about twenty speakers a percentile interval is too narrow; fewer than two give none.",
        "Rates of words are ratios of sums over the corpus, never means of per-clip rates.",
        "Intervals are not corrected for the number of comparisons on this page; the p-values of the family of tests"
        " below are.",
        "Skipped and failed items are counted beside each estimate and are not part of it.",
    ]
    return [
        Facts(title="Design", pairs=pairs),
        Bullets(title="How to read the intervals", entries=notes),
        *_family(context),
        _rules(context),
        _assumptions(context),
    ]


def _family(context: Context) -> list[object]:
    """All tests of the run with adjusted p-values, and what missing items could do to the leading numbers."""
    rows = read_comparisons(context.run)
    blocks: list[object] = (
        [family_table(context, rows, "All tests of this run as one family", folded=True)] if rows else []
    )
    leading = [measure for name in LEADING if (measure := context.lead_measure(name)) is not None]
    worst = worst_case_table(context, leading)
    return [*blocks, *([worst] if worst else [])]


def _rules(context: Context) -> Table:
    rows = []
    for rule in context.policy.rules.values():
        limits = ", ".join(f"{level} {rule.direction} {value:g}" for level, value in rule.limits)
        rows.append([Cell(rule.rule_id, "id"), Cell(rule.quantity), Cell(limits), Cell(rule.source)])
    columns = [Column("Rule", "id"), Column("Quantity"), Column("Thresholds"), Column("Source")]
    return Table(caption="Thresholds of the policy", columns=columns, rows=rows)


def _assumptions(context: Context) -> Table:
    rows = [
        [Cell(a.name.replace("_", " ")), number(a.value), Cell(a.unit), Cell(a.source)]
        for a in context.policy.assumptions.values()
    ]
    columns = [Column("Assumption"), Column("Value", "number"), Column("Unit"), Column("Source")]
    return Table(caption="Numbers assumed, not measured", columns=columns, rows=rows)


SECTION = Section(section_id="statistics", title="Statistics appendix", part="record", order=5, build=build)
