"""Step 2 of a run: every utterance in every role, to audio files and ``generations.parquet``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from evaluation.config import RunConfig, digest_of
from evaluation.engines import EngineOptions, engine_of, open_engine
from evaluation.frames import write_generations
from evaluation.generation_shards import ShardJob, finished_shard
from evaluation.generation_work import GenerationWork, NumberedShard
from evaluation.progress import Progress, silent
from evaluation.protocols import Generator
from evaluation.records import GenerationRecord, Utterance
from evaluation.run_folder import RunFolder
from evaluation.shuffling import shuffled_records

__all__ = ["SHARD_UTTERANCES", "generate_items"]

SHARD_UTTERANCES = 8
"""Most utterances rendered together. How utterances are shared out depends on their number alone, not on the machine,
since a system may round differently in batches of another size."""


def generate_items(
    run: RunFolder,
    utterances: Sequence[Utterance],
    config: RunConfig,
    generator: Generator | None,
    *,
    system: str,
    description: Mapping[str, object],
    progress: Progress = silent,
    workers: int = 1,
    engine: EngineOptions | None = None,
) -> list[GenerationRecord]:
    """Make what is missing, write ``generations.parquet``, return its records in order of item id.

    ``generator`` None judges the utterances' own files as role ``recorded`` of ``system``. An utterance that
    cannot be used has a row with its reason in every role. ``workers`` above 1 makes shards in that many processes,
    which load ``config.system`` for themselves; ``engine`` says more than that. The audio is the same.
    """
    job = ShardJob(run=run, config=config, generator=generator, system=system, system_sha256=digest_of(description))
    for role in job.roles:
        (run.audio / role).mkdir(parents=True, exist_ok=True)
    for leftover in run.audio.glob("*/.*.tmp"):
        leftover.unlink()
    shards = _shards(utterances)
    made: dict[int, list[GenerationRecord]] = {}
    with progress("generate", len(utterances)) as advance:
        for number, shard in enumerate(shards):
            records = finished_shard(job, number, shard)
            if records is not None:
                made[number] = records
                advance(len(shard))
        missing = [number for number in range(len(shards)) if number not in made]
        # several models on one accelerator are for the user to ask for
        alone = 1 if generator is not None and config.device != "cpu" else len(missing)
        options = engine_of(workers, engine, shards=alone)
        work = GenerationWork(
            folder=str(run.path), config=config, system=system, system_sha256=job.system_sha256,
            outside=generator is None, generator=generator, item_limit_s=options.item_limit_s,
        )  # fmt: skip
        waiting = (NumberedShard(number=number, utterances=shards[number]).portable() for number in missing)
        with open_engine(options) as started:
            for number, records in zip(missing, started.map(work, waiting), strict=True):
                made[number] = records
                advance(len(shards[number]))
    records = [record for number in sorted(made) for record in made[number]]
    if generator is not None and "continuation" in job.roles:
        records.extend(shuffled_records(records))
    records.sort(key=lambda record: record.item_id)
    write_generations(run.generations, records)
    return records


def _shards(utterances: Sequence[Utterance]) -> list[Sequence[Utterance]]:
    """Consecutive shards of nearly equal size, an even number of them where there is work for two processes."""
    count = -(-len(utterances) // SHARD_UTTERANCES)
    if len(utterances) > SHARD_UTTERANCES // 2:
        count += count % 2
    edges = [len(utterances) * number // max(count, 1) for number in range(count + 1)]
    return [utterances[start:end] for start, end in zip(edges, edges[1:], strict=False)]
