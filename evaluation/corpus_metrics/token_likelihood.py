"""How likely the model holds a recording or its own output: nats per token, stage by stage.

Read as training losses are; a stage that finds its own continuation far likelier than recordings repeats itself, one
that finds it far less likely is lost.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from evaluation.corpus_metrics import CorpusResult, CorpusView
from evaluation.metrics import Measure, MetricSpec, Skipped
from evaluation.protocols import HasLikelihood

__all__ = ["CORPUS_METRIC", "stage_sums"]

STAGES = ("semantic", "coarse", "fine")
SOURCE = "cross-entropy of the stage's own targets (Borsos et al. 2023, section III-C)"


def _measures(stage: str) -> tuple[Measure, ...]:
    part = {"unit": "nats", "direction": "none", "source": SOURCE, "low": 0.0, "aggregate": "none"}
    tokens = part | {"unit": "tokens"}
    return (
        Measure(
            name=f"{stage}_nats_per_token", title=f"Loss of the {stage} stage", unit="nats per token", direction="none",
            meaning=f"minus log-probability of each {stage} token, given all before it", source=SOURCE, low=0.0,
            aggregate="ratio_of_sums", numerator=f"{stage}_nats", denominator=f"{stage}_tokens",
        ),
        Measure(name=f"{stage}_nats", title=f"Nats of the {stage} stage", meaning="sum over tokens", **part),  # type: ignore[arg-type]
        Measure(name=f"{stage}_tokens", title=f"Tokens of the {stage} stage", meaning="tokens judged", **tokens),  # type: ignore[arg-type]
    )  # fmt: skip


SPEC = MetricSpec(
    name="likelihood_tokens",
    title="Token loss by stage",
    measures=tuple(measure for stage in STAGES for measure in _measures(stage)),
    roles=("reference", "codec", "acoustic", "continuation", "unconditional"),
    version="1",
    on_request=True,
)


class TokenLikelihood:
    spec = SPEC

    def measure(self, view: CorpusView) -> CorpusResult:
        system, items = view.system, {}
        for role in SPEC.roles:
            for record in view.of_role(role):
                if not isinstance(system, HasLikelihood):
                    items[record.item_id] = _all("the system gives no likelihood")
                    continue
                samples = view.clip(record, system.sample_rate_hz).samples  # type: ignore[attr-defined]
                items[record.item_id] = stage_sums(system.token_nats(samples))
        return CorpusResult(items=items)

    def status(self) -> tuple[str, str]:
        return "ready", "asks the system itself"

    def fingerprint(self) -> Mapping[str, str]:
        return {"definition": f"{SPEC.name} {SPEC.version}"}


def stage_sums(nats: Mapping[str, np.ndarray]) -> dict[str, float | Skipped]:
    """Nats and tokens of each stage from nats ``[level, frame]``."""
    values: dict[str, float | Skipped] = {}
    for stage in STAGES:
        found = nats.get(stage)
        absent = Skipped(f"the system has no {stage} stage")
        values[f"{stage}_nats"] = absent if found is None else float(found.sum())
        values[f"{stage}_tokens"] = absent if found is None else float(found.size)
    return values


def _all(reason: str) -> dict[str, float | Skipped]:
    return {f"{stage}_{part}": Skipped(reason) for stage in STAGES for part in ("nats", "tokens")}


CORPUS_METRIC = TokenLikelihood()
