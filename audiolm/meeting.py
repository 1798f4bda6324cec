"""How the processes that ``torchrun`` started find each other, also when it has started them anew.

``torchrun`` keeps one key-value store for a job's whole life. After a restart (``--max-restarts``) the addresses of
the dead processes still lie in it, and a process that reads one before it is overwritten tries to reach the dead: the
restarted job fails, by chance (torch 2.11). So the processes of one start first agree on a word that no earlier start
knew, and meet below it. Counting restarts is not enough: the launchers of several nodes count differently.
"""

from __future__ import annotations

import os
import time
import uuid
from datetime import timedelta

import torch
from torch.distributed import PrefixStore, Store, TCPStore  # pyright: ignore[reportPrivateImportUsage]

__all__ = ["agreed_word", "join_group"]

PATIENCE = timedelta(minutes=60)
"""How long one process waits for another in any exchange: validation and k-means are the work of one."""
POLL_S = 0.02


def join_group(device: str) -> None:
    """Make the process group of this start where ``torchrun`` shares its store; elsewhere Fabric makes it."""
    if torch.distributed.is_initialized() or os.environ.get("TORCHELASTIC_USE_AGENT_STORE") != "True":
        return
    rank, world = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    store = TCPStore(os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"]), is_master=False, timeout=PATIENCE)
    met = PrefixStore(f"audiolm/{agreed_word(store, rank, world)}", store)
    if device == "cuda":
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    backend = "nccl" if device == "cuda" else "gloo"
    torch.distributed.init_process_group(backend, store=met, rank=rank, world_size=world, timeout=PATIENCE)


def agreed_word(store: Store, rank: int, world: int, patience: timedelta = PATIENCE) -> str:
    """The word of this start: made by process 0, told to each process that asks under a name made for this once.

    What earlier starts left in ``store`` does no harm: nobody waits any more for an answer to their names.

    Raises:
        TimeoutError: a process did not come.
    """
    own = uuid.uuid4().hex
    if rank:
        store.set(f"audiolm/asks/{rank}", own)
        store.wait([f"audiolm/answers/{own}"], patience)
        word = store.get(f"audiolm/answers/{own}").decode()
        store.set(f"audiolm/heard/{word}/{rank}", "")
        return word
    waiting = set(range(1, world))
    deadline_s = time.monotonic() + patience.total_seconds()
    while waiting:
        for other in sorted(waiting):
            if store.check([f"audiolm/heard/{own}/{other}"]):
                waiting.discard(other)
            elif store.check([f"audiolm/asks/{other}"]):
                store.set(f"audiolm/answers/{store.get(f'audiolm/asks/{other}').decode()}", own)
        if time.monotonic() > deadline_s:
            raise TimeoutError(f"process {min(waiting)} did not come within {patience} ({len(waiting)} such)")
        time.sleep(POLL_S)
    return own
