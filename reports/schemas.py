"""The machine-readable files of a run folder as models, from which the published JSON Schemas are generated.

``docs/schemas/<name>.schema.json`` holds what :func:`json_schemas` gives; a test keeps them equal. Fields may be added
in a version of the layout; a field that changes its meaning raises ``schema_version``.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, RootModel, TypeAdapter

__all__ = [
    "AuditSummary", "Comparison", "DigestFile", "FindingChange", "FindingList", "FindingRow", "Indicator", "Plan",
    "RankedSystem", "Ranking", "RankingTable", "RunRecord", "json_schemas",
]  # fmt: skip

Severity = Literal["info", "minor", "major", "blocking"]
Verdict = Literal["none", "info", "minor", "major", "blocking", "unknown"]
Digest = Annotated[str, Field(pattern="^[0-9a-f]{64}$", description="SHA-256, hexadecimal")]
Number = int | float
DIALECT = "https://json-schema.org/draft/2020-12/schema"


class _Strict(BaseModel):
    """Ours alone: an unknown field is an error."""

    model_config = ConfigDict(extra="forbid")


class _Open(BaseModel):
    """Written by the harness and by systems under audit, which may say more than is named here."""

    model_config = ConfigDict(extra="allow")


class FindingRow(_Strict):
    """One finding: a number, what it is held against, how grave that is, and where the evidence lies."""

    finding_id: str = Field(min_length=1, description="rule, and a suffix where a rule gives several findings")
    section: str = Field(description="id of the report's section")
    severity: Severity
    statement: str
    measure: str
    estimate: float
    ci_low: float | None = Field(description="null where there is no interval; interval_note then says why")
    ci_high: float | None
    interval_note: str
    n_items: int = Field(ge=1)
    n_speakers: int = Field(ge=0)
    threshold: float | None = Field(description="the limit the severity rests on, or the next one not reached")
    threshold_source: str = Field(min_length=1)
    unit: str
    evidence: list[str] = Field(description="item ids")
    ceiling: float | None = Field(default=None, description="the same number for the recordings")
    floor: float | None = Field(default=None, description="the same number where nothing can be right")
    minimum_detectable: float | None = Field(
        default=None, description="smallest true effect found with 80 % probability at 5 % error, this many speakers"
    )
    direction: str = Field(default="", description="above: worse as it grows; below: worse as it shrinks")
    role: str = Field(default="", description="role of the items the number belongs to")
    against: str = Field(default="", description="role whose number was subtracted on the same utterances")


class FindingList(RootModel[list[FindingRow]]):
    """``findings.json``."""


class Prompts(_Open):
    """What went in."""

    source: str
    origin: Literal["human", "synthetic", "mixed", "unknown"]


class Evaluator(_Open):
    """A scorer as it was when it ran."""

    name: str
    version: str
    status: str
    fingerprint: dict[str, Any] = {}


class RunRecord(_Open):
    """``run.json``: what the run was asked to do, with what, and how it went."""

    schema_version: Literal[1]
    run_id: str = Field(min_length=1)
    status: str
    command: str
    prompts: Prompts
    system: dict[str, Any]
    evaluators: list[Evaluator]
    seeds: dict[str, int]
    packages: dict[str, str]
    machine: dict[str, Any]
    times: dict[str, Number]
    counts: dict[str, Any]
    created_utc: str | None = None
    finished_utc: str | None = None


class Indicator(_Strict):
    """A measured number of a chapter with the lines it is read between."""

    section: str
    name: str
    measure: str
    unit: str
    estimate: float | None
    ci_low: float | None
    ci_high: float | None
    ceiling: float | None
    floor: float | None
    minimum_detectable: float | None
    n_items: int
    n_speakers: int


class Chapter(_Strict):
    """One of the five risks, or another section, with its verdict."""

    section: str
    title: str
    verdict: Verdict
    worst_not_excluded: Verdict = Field(
        default="unknown", description="gravest threshold inside a 95 % interval; unknown without an interval"
    )
    not_run: str
    findings: list[str]
    not_measured: list[str]


class AuditSummary(_Strict):
    """``summary.json``: the report in one object."""

    schema_version: Literal[1]
    run_id: str
    system: str
    system_digest: str
    prompts_origin: str
    policy: str
    policy_sha256: Digest
    plan_sha256: Digest | None
    worst_severity: Literal["none", "info", "minor", "major", "blocking"]
    counts: dict[Severity, int]
    n_items: dict[str, int]
    n_speakers: int
    risks: list[Chapter]
    sections: list[Chapter]
    indicators: list[Indicator]
    deviations: list[str]
    evaluators: dict[str, str] = Field(description="scorer to version, which names code and model")


class FileDigest(_Strict):
    """One artefact."""

    path: str = Field(description="relative to the run folder, with forward slashes")
    sha256: Digest
    size: int | None = Field(description="bytes; null for a clip whose digest was taken when it was made")
    basis: Literal["file", "generations.parquet"]


class DigestFile(_Strict):
    """``digests.json``: every artefact of the run folder; ``root`` is the digest of all lines together."""

    schema_version: Literal[1]
    run_id: str
    root: Digest
    left_out: list[str] = Field(description="what is not covered, and why")
    files: list[FileDigest]


class SampleSize(_Strict):
    """What a rule can be expected to resolve."""

    rule: str
    quantity: str
    unit: str
    n_speakers: int
    speaker_sd: float | None
    sd_source: str
    minimum_detectable: float | None
    threshold: float | None
    speakers_needed: int | None = Field(description="speakers with which the first threshold could be told from zero")


class Plan(_Strict):
    """``plan.json``: what was laid down before anything was generated."""

    schema_version: Literal[1]
    made_utc: str
    title: str
    policy_sha256: Digest
    prompts: dict[str, Any]
    config: dict[str, Any]
    seeds: dict[str, int]
    scorers: dict[str, str]
    slices: dict[str, dict[str, int]] = Field(description="audit axis, group, speakers in it")
    n_items: dict[str, int] = Field(description="role to planned items")
    sample_sizes: list[SampleSize]


class FindingChange(_Strict):
    """A finding in two audits."""

    finding_id: str
    section: str
    change: Literal["new", "fixed", "regressed", "improved", "changed", "within noise", "not comparable", "same"]
    why: str
    old_severity: str
    new_severity: str
    old: float | None
    new: float | None
    difference: float | None
    ci_low: float | None
    ci_high: float | None
    method: str
    unit: str


class Comparison(_Strict):
    """``comparison.json``."""

    schema_version: Literal[1]
    old: dict[str, str]
    new: dict[str, str]
    same_prompts: bool
    warnings: list[str]
    counts: dict[str, int]
    changes: list[FindingChange]


class RankedSystem(_Strict):
    """One system's number in one measure, and the ranks that the data do not exclude."""

    run_id: str
    estimate: float
    ci_low: float | None
    ci_high: float | None
    rank_low: int = Field(ge=1, description="best rank not excluded")
    rank_high: int = Field(ge=1, description="worst rank not excluded")


class RankingTable(_Strict):
    """A measure in a role, best system first."""

    measure: str
    title: str
    role: str
    role_title: str
    unit: str
    better: Literal["higher", "lower"]
    n_prompts: int = Field(ge=1, description="prompts that all runs share")
    n_speakers: int
    systems: list[RankedSystem]


class Ranking(_Strict):
    """``ranking.json``: three or more audits side by side."""

    schema_version: Literal[1]
    runs: list[dict[str, str]]
    warnings: list[str]
    verdicts: dict[str, list[str]] = Field(description="risk to verdicts, in the order of runs")
    tables: list[RankingTable]


MODELS: dict[str, type[BaseModel]] = {
    "findings": FindingList,
    "run": RunRecord,
    "summary": AuditSummary,
    "digests": DigestFile,
    "plan": Plan,
    "comparison": Comparison,
    "ranking": Ranking,
}


def json_schemas() -> dict[str, dict[str, Any]]:
    """File stem to JSON Schema (draft 2020-12) of every published file."""
    schemas = {}
    for name, model in MODELS.items():
        schema = TypeAdapter(model).json_schema()
        schemas[name] = {"$schema": DIALECT, "$id": f"audiolm-audit/{name}.schema.json", **schema}
    return schemas
