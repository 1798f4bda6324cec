"""Several audits as a page of the same make as the report: verdicts side by side, then the systems by measure."""

from __future__ import annotations

from pathlib import Path

from reports.blocks import Bullets, Cell, Column, Prose, Table
from reports.findings import rank
from reports.formats import number_text, range_text
from reports.ranking import label
from reports.render import RenderedSection, render_page
from reports.schemas import Ranking, RankingTable
from reports.whole_files import write_whole

__all__ = ["ranking_page", "write_ranking_page"]

RISK_TITLES = {
    "disinformation": "Disinformation", "discrimination": "Algorithmic Discrimination",
    "social_engineering": "Social Engineering", "environment": "Environmental Impacts",
    "employment": "Technological Unemployment",
}  # fmt: skip
NOTE = (
    "Rank: between the best and the worst place that the data do not exclude, every pair compared on the same prompts"
    " with speakers resampled together, corrected for the number of pairs (Holm)."
)


def write_ranking_page(path: Path, ranking: Ranking) -> None:
    """``comparison.html``, self-contained."""
    write_whole(path, ranking_page(ranking))


def ranking_page(ranking: Ranking) -> str:
    """Verdicts, warnings, then one table per measure and role."""
    names = {facts["run_id"]: label(facts) for facts in ranking.runs}
    first = [Bullets(title="Read this first", entries=ranking.warnings)] if ranking.warnings else []
    measured: list[object] = [_table(table, names) for table in ranking.tables]
    sections = [
        RenderedSection(
            section_id="verdicts", number="1", title="Verdicts side by side", part="summary",
            blocks=[*first, _verdicts(ranking)],
        ),
        RenderedSection(
            section_id="ranks", number="2", title="Systems by measure", part="measurements",
            blocks=[Prose(NOTE, "small"), *measured] if measured else [Prose("No measure ranks the systems.")],
        ),
    ]  # fmt: skip
    prompts = f"{len(ranking.runs)} audits side by side, each number on the prompts that all of them share."
    return render_page(
        title=f"{len(ranking.runs)} systems compared",
        lead=(prompts, "Where rank intervals overlap, this data does not tell the systems apart."),
        sections=sections,
        meta={"run_id": ", ".join(names), "system": "", "policy": ""},
    )


def _verdicts(ranking: Ranking) -> Table:
    rows = []
    for at, facts in enumerate(ranking.runs):
        found = [values[at] for values in ranking.verdicts.values()]
        cells = [Cell(severity, "severity", str(rank(severity))) for severity in [facts["worst_severity"], *found]]
        rows.append([Cell(label(facts)), *cells])
    titles = [RISK_TITLES.get(section, section) for section in ranking.verdicts]
    columns = [Column("System"), *(Column(title, "severity") for title in ("Overall", *titles))]
    return Table(caption="Verdict per system and risk", columns=columns, rows=rows)


def _table(table: RankingTable, names: dict[str, str]) -> Table:
    last, rows = len(table.systems), []
    for one in table.systems:
        interval = "none"
        if one.ci_low is not None and one.ci_high is not None:
            interval = range_text(one.ci_low, one.ci_high, table.unit)
        place = str(one.rank_low) if one.rank_low == one.rank_high else f"{one.rank_low} to {one.rank_high}"
        rows.append(
            [
                Cell(names[one.run_id]),
                Cell(f"{place} of {last}", "number", f"{one.rank_low}.{one.rank_high:03d}"),
                Cell(number_text(one.estimate, table.unit), "number"),
                Cell(interval, "number"),
            ]
        )
    columns = [
        Column("System"), Column("Rank", "number"), Column("Estimate", "number"), Column("95 % interval", "number"),
    ]  # fmt: skip
    return Table(
        caption=f"{table.title}, {table.role_title}",
        columns=columns,
        rows=rows,
        note=f"{table.better.capitalize()} is better. {table.n_prompts:,} prompts of {table.n_speakers:,} speakers.",
    )
