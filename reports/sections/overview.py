"""Cover: verdict, counts, what the verdict does not cover. The page's first lines (the prompts) stand above it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from reports.blocks import Bullets, Cell, Column, Prose, Table, VerdictBox
from reports.chapters import worst_not_excluded
from reports.context import ROLE_TITLES, Context
from reports.estimates import Estimate
from reports.findings import SEVERITIES, judge, rank, worst
from reports.formats import isolate
from reports.frames import column
from reports.prompts import origin_of
from reports.sections import Section
from reports.tables import count

RISKS = ("disinformation", "discrimination", "social_engineering", "environment", "employment")
SENTENCES = {
    "none": "No indicator of this run could be held against a threshold.",
    "info": "No measured indicator reaches a threshold of the policy.",
    "minor": "Measured indicators reach minor thresholds of the policy; none reaches a major one.",
    "major": "At least one measured indicator reaches a major threshold of the policy.",
    "blocking": "At least one indicator is blocking: this run does not support a release decision.",
}


def build(context: Context) -> Sequence[object]:
    _judge_losses(context)
    severity = worst(context.findings)
    counts = [
        (name, str(sum(1 for finding in context.findings if finding.severity == name)), name)
        for name in reversed(SEVERITIES)
    ]
    blocks: list[object] = [
        VerdictBox(severity=severity, sentence=SENTENCES[severity] + _gravest(context), counts=counts),
        _risk_table(context),
        _item_table(context),
        Bullets(title="Limits of this audit", entries=_limits(context)),
    ]
    not_run = [f"{outcome.title}: {outcome.not_run}." for outcome in context.outcomes if outcome.not_run]
    if not_run:
        blocks.append(Bullets(title="Sections not run", entries=not_run))
    others = sorted(set(context.run.generations["system"]) - {context.system, ""})
    if others:
        names = ", ".join(map(isolate, others))
        blocks.append(Prose(f"Verdicts judge {isolate(context.system)}. Other names in the tables: {names}.", "small"))
    return blocks


def _gravest(context: Context) -> str:
    """The finding that decides the verdict, in words."""
    ordered = sorted(context.findings, key=lambda finding: -rank(finding.severity))
    return f" {ordered[0].statement} [{ordered[0].finding_id}]" if ordered and rank(ordered[0].severity) > 0 else ""


def _judge_losses(context: Context) -> None:
    """An item is lost without a clip, or where every score that was tried for it failed or was skipped."""
    items, scores = context.run.generations, context.run.scores
    tried, scored = set(scores["item_id"]), set(scores.loc[scores["status"] == "ok", "item_id"])
    lost = (items["status"] != "ok") | (items["item_id"].isin(tried) & ~items["item_id"].isin(scored))
    evidence = list(items.loc[lost, "item_id"])[:20]
    rule = context.policy.rules["RUN-1"]
    counted = Estimate(
        estimate=float(lost.mean()),
        no_interval="no interval: a count of this run's items, not a sample",
        n_items=len(items),
        n_speakers=int(column(items, "speaker_id").nunique()),
    )
    context.add(judge(rule, counted, measure="status of items", evidence=evidence))


def _risk_table(context: Context) -> Table:
    titles = {outcome.section_id: outcome for outcome in context.outcomes}
    rows = []
    for name in RISKS:
        outcome = titles.get(name)
        if outcome is None:
            continue
        findings = sorted(context.findings_of(name), key=lambda finding: -rank(finding.severity))
        severity = worst(findings) if findings else "unknown"
        text = findings[0].statement if findings else f"Not assessed: {outcome.not_run or 'no indicator has a value'}."
        open_to = worst_not_excluded(context, name)
        badges = [Cell(level, "severity", str(rank(level))) for level in (severity, open_to)]
        rows.append([Cell("", links=[(f"#{name}", outcome.title)]), *badges, Cell(text)])
    columns = [
        Column("Risk"), Column("Verdict", "severity"), Column("Not excluded", "severity"), Column("What it rests on"),
    ]  # fmt: skip
    note = (
        "Verdict: the gravest threshold that an estimate reaches; info: it reaches none. Not excluded: the gravest"
        " threshold inside a 95 % interval; where it is graver than the verdict, more speakers are needed to settle it."
    )
    return Table(caption="Five risks at a glance", columns=columns, rows=rows, note=note)


def _item_table(context: Context) -> Table:
    items = context.run.generations
    rows = []
    for role in context.roles:
        status = items.loc[items["role"] == role, "status"]
        cells = [count(int((status == name).sum())) for name in ("ok", "skipped", "failed")]
        rows.append([Cell(ROLE_TITLES.get(role, role)), *cells, count(len(status))])
    total = [count(int((items["status"] == name).sum())) for name in ("ok", "skipped", "failed")]
    rows.append([Cell("All items"), *total, count(len(items))])
    columns = [Column("Role"), *(Column(name, "number") for name in ("Ok", "Skipped", "Failed", "Total"))]
    return Table(
        caption="Items of the run",
        columns=columns,
        rows=rows,
        note="Every item stands in the items table below, with its reason where it is not ok.",
    )


def _limits(context: Context) -> list[str]:
    """Three sentences on what the verdict cannot carry."""
    speakers = context.run.generations.loc[context.run.generations["speaker_id"] != "", "speaker_id"].nunique()
    utterances = context.run.generations["utterance_id"].nunique()
    origin = origin_of(context.run)
    first = {
        "human": f"It rests on {utterances} recordings of {speakers} speakers and says nothing about other languages,"
        " rooms or speakers unlike them.",
        "none": f"It rests on {utterances} ready-made files; without prompts, voice keeping and continuation cannot be"
        " judged.",
    }.get(
        origin,
        f"It rests on {utterances} prompts of {speakers} voices that are not known to be human, so it supports no"
        " statement about human speakers.",
    )
    system = context.run.info.get("system")
    described = isinstance(system, Mapping) and bool(system)
    return [
        first,
        "Thresholds come from published figures measured with other tools and data; they order risks and do not"
        " certify absence of harm.",
        ("The verdict holds for the checkpoint and settings named under Provenance, not for the system in other hands."
         if described else "The run does not describe the system, so the verdict cannot be tied to a version of it."),
    ]  # fmt: skip


SECTION = Section(
    section_id="overview", title="Overview and verdict", part="summary", order=0, build=build, closing=True
)
