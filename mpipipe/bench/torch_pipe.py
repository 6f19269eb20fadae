"""The contestant torch.distributed.pipelining: 1F1B over gloo, each stage a process of one thread.

    python -m mpipipe.bench.torch_pipe FOLDER CUTS [RANK MEETING]

One of the three files that import torch. CUTS are the first layers of all stages but the first, as in 2,5. Started with
no RANK it is rank 0: it starts the others, takes the orders, and passes them on.
"""

import subprocess
import sys
import tempfile
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
from torch import distributed
from torch.distributed.pipelining import PipelineStage, Schedule1F1B

from mpipipe.bench.kit import read_kit
from mpipipe.bench.lines import obey
from mpipipe.bench.models import WAIT_S
from mpipipe.bench.torch_nets import Contiguous, WithoutWeights, loss_of, optimizer_of, read_all, torch_facts


class Rank:
    """One stage of the pipeline."""

    def __init__(self, folder: Path, cuts: list[int], rank: int, meeting: str) -> None:
        torch.set_num_threads(1)
        self.rank, self.ranks = rank, len(cuts) + 1
        wait = timedelta(seconds=WAIT_S)
        distributed.init_process_group(
            "gloo", init_method=f"file://{meeting}", rank=rank, world_size=self.ranks, timeout=wait
        )
        edges = [0, *cuts, None]
        net, self.x, self.t = read_all(folder, edges[rank] or 0, edges[rank + 1])
        weights = any(True for _ in net.parameters())
        net = torch.nn.Sequential(net, *([] if weights else [WithoutWeights()]), Contiguous())
        self.optimizer = optimizer_of(net, folder)
        train = read_kit(folder).job.train
        stage = PipelineStage(net, rank, self.ranks, torch.device("cpu"))
        self.schedule = Schedule1F1B(stage, -(-train.batch // train.micro_batch), loss_fn=loss_of)

    def step(self) -> float:
        """One step; the loss on the last rank, 0 on the others."""
        self.optimizer.zero_grad(set_to_none=True)
        first, last = self.rank == 0, self.rank == self.ranks - 1
        losses: list[Any] = []
        given = {"target": self.t, "losses": losses} if last else {}
        self.schedule.step(*([self.x] if first else []), return_outputs=False, **given)
        self.optimizer.step()
        return float(torch.stack(losses).mean().detach()) if last else 0.0

    def go(self, steps: int) -> tuple[float, float]:
        """So many steps on all ranks, until the last one of them is done."""
        self.share(steps)
        loss, began = 0.0, time.perf_counter()
        for _ in range(steps):
            loss = self.step()
        total = torch.tensor([loss])
        distributed.all_reduce(total)
        return time.perf_counter() - began, float(total)

    def share(self, steps: int) -> int:
        """The number of steps that rank 0 has, on every rank."""
        order = torch.tensor([steps])
        distributed.broadcast(order, 0)
        return int(order)

    def follow(self) -> None:
        """Ranks other than 0: obey until there are no more orders. Between two broadcasts a rank sleeps."""
        while steps := self.share(0):
            loss = 0.0
            for _ in range(steps):
                loss = self.step()
            distributed.all_reduce(torch.tensor([loss]))


def lead(folder: Path, cuts: list[int]) -> None:
    """Rank 0: start the others, take the orders, end all."""
    with tempfile.TemporaryDirectory() as place:
        meeting = str(Path(place) / "meeting")
        command = [sys.executable, "-m", "mpipipe.bench.torch_pipe", str(folder), ",".join(map(str, cuts))]
        others = [
            subprocess.Popen([*command, str(rank), meeting], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
            for rank in range(1, len(cuts) + 1)
        ]
        try:
            me = Rank(folder, cuts, 0, meeting)
            obey(torch_facts(me.ranks), me.go)
            me.share(0)
            for other in others:
                other.wait()
        finally:
            for other in others:
                other.kill()
    distributed.destroy_process_group()


if __name__ == "__main__":
    where, numbers = Path(sys.argv[1]), [int(word) for word in sys.argv[2].split(",") if word]
    if len(sys.argv) > 3:
        Rank(where, numbers, int(sys.argv[3]), sys.argv[4]).follow()
    else:
        lead(where, numbers)
