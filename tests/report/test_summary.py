"""The line about memory: the rank furthest above its plan, and nothing said of what cannot be measured."""

import pytest

from mpipipe.report.summary import Memory, memory_text

MIB = 1 << 20


@pytest.mark.parametrize(
    ("ranks", "said"),
    [
        ([(100, 90), (50, 60)], "60.0 MiB of 50.0 MiB planned (120%) on rank 1, no more on any other"),
        ([(100, 103), (0.05, 0.4)], "103.0 MiB of 100.0 MiB planned (103%) on rank 0, no more on any other"),
        ([(0.05, 0.4), (0.1, 0.2)], "less than 1.0 MiB on every rank, as planned"),
        ([(0.5, 8), (1, 1)], "8.0 MiB of 512.0 KiB planned on rank 0, no more on any other"),
    ],
)
def test_what_is_said(ranks, said):
    memory = [Memory(rank, int(planned * MIB), int(peak * MIB)) for rank, (planned, peak) in enumerate(ranks)]
    assert memory_text(memory) == f"memory at the peak: {said}"
