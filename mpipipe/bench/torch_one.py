"""The contestant PyTorch as one process, the whole batch at once or in accumulated micro-batches.

    python -m mpipipe.bench.torch_one FOLDER THREADS PARTS

One of the three files that import torch. Eager mode, its own threads, its optimizer's default implementation.
"""

import sys
import time
from pathlib import Path

import torch

from mpipipe.bench.lines import obey
from mpipipe.bench.torch_nets import loss_of, optimizer_of, read_all, torch_facts


def compete(folder: Path, threads: int, parts: int) -> None:
    """The whole contestant."""
    torch.set_num_threads(threads)
    net, x, t = read_all(folder)
    optimizer = optimizer_of(net, folder)
    micros = list(zip(x.chunk(parts), t.chunk(parts), strict=True))

    def step() -> float:
        optimizer.zero_grad(set_to_none=True)
        total = 0.0
        for x_part, t_part in micros:
            loss = loss_of(net(x_part), t_part) * (len(x_part) / len(x))
            loss.backward()
            total += loss.item()
        optimizer.step()
        return total

    def go(steps: int) -> tuple[float, float]:
        loss, began = 0.0, time.perf_counter()
        for _ in range(steps):
            loss = step()
        return time.perf_counter() - began, loss

    obey(torch_facts(), go)


if __name__ == "__main__":
    compete(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
