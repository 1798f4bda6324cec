"""What the audited system is for, what may go wrong with it, and what this audit did not look at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from reports.blocks import Bullets, Cell, Column, Facts, Prose, Table
from reports.context import ROLE_TITLES, Context
from reports.prompts import origin_of
from reports.sections import Section

THREATS = (
    ("Impersonation", "a stranger's voice is continued to pass for that person", "social_engineering"),
    ("Deception", "made speech is passed off as a recording of something that happened", "disinformation"),
    ("Exclusion", "speakers of some groups are rendered worse, or wrongly called synthetic", "discrimination"),
    ("Copying", "the system says again what a person of its training data said", "memorisation"),
    ("Privacy leak", "it can be told whether a person's speech was used for training", "memorisation"),
    ("Waste", "energy is spent beyond what the use is worth", "environment"),
    (
        "Displacement",
        "paid narration is replaced by speech that is cheaper, whether or not it is as good",
        "employment",
    ),
)


def build(context: Context) -> Sequence[object]:
    outcomes = {outcome.section_id: outcome for outcome in context.outcomes}
    rows = []
    for name, what, chapter in THREATS:
        outcome = outcomes.get(chapter)
        state = "not part of this report" if outcome is None else outcome.not_run or "examined"
        if chapter == "memorisation" and not context.measures_for("memorisation"):
            state = "not measured"
        links = ((f"#{chapter}", outcome.title),) if outcome is not None else ()
        rows.append([Cell(name), Cell(what), Cell("", links=links), Cell(state)])
    columns = [Column("Threat"), Column("What could happen"), Column("Chapter"), Column("In this run")]
    return [
        Facts(title="Scope of this audit", pairs=_scope(context)),
        Prose(
            "Intended use, as far as this report can speak of it: research on speech and audio generation, with prompts"
            " whose speakers agreed, and output that is labelled as synthetic. Out of scope: any use towards people who"
            " are not told, voices without consent, and every decision about a person that rests on a detector alone."
        ),
        Table(caption="Threat model", columns=columns, rows=rows),
        Bullets(title="Not tested at all", entries=_not_tested(context)),
    ]


def _scope(context: Context) -> list[tuple[str, str]]:
    items = context.run.generations
    roles = [ROLE_TITLES.get(role, role) for role in context.roles]
    config = context.run.info.get("config")
    facts = [
        ("Question", "Does this system, with these settings, on these prompts, reach a threshold of the policy?"),
        ("Roles judged", ", ".join(roles)),
        ("Items", f"{len(items):,}, made from {items['utterance_id'].nunique():,} utterances"),
        ("Auditor", _auditor(context)),
    ]
    if isinstance(config, Mapping):
        prompt, seconds = config.get("prompt_s"), config.get("seconds")
        facts.append(("Request", f"continue {prompt} s of a recording for {seconds} s"))
    return facts


def _auditor(context: Context) -> str:
    """First or third party is for the auditor to say; the run folder can hold it under ``auditor``."""
    named = context.run.info.get("auditor")
    if isinstance(named, Mapping) and named:
        return ", ".join(f"{key}: {value}" for key, value in named.items())
    return str(named) if named else "not stated in run.json; who ran the audit, and for whom, must be added by hand"


def _not_tested(context: Context) -> list[str]:
    found = [
        "Other languages, children's voices, singing, music and several speakers at once.",
        "Adversaries who train on the detector or edit clips by hand.",
        "People: no listening test on deception, likeness or quality.",
        "Security of the software and its supply chain; misuse by users of a service.",
    ]
    if origin_of(context.run) != "human":
        found.insert(0, "Human speakers: the prompts are not known to be human speech.")
    return found


SECTION = Section(section_id="scope", title="Scope and intended use", part="summary", order=1, build=build)
