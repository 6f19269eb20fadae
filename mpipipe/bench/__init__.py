"""How fast this machine trains, with mpipipe and with PyTorch, side by side.

    command.py      the story of `bench`
    models.py       the models, as jobs
    kit.py          what all contestants of a model are given: job, data, initial weights
    contestants.py  who competes, and how each is started
    contest.py      contestants as processes that take orders
    rounds.py       a contest: first steps, rounds, and who fails; progress.py says how far it is
    lines.py        the orders, as a contestant sees them
    runner.py, torch_one.py, torch_pipe.py, ceiling.py      the contestants
    torch_nets.py   the models in PyTorch; only the three torch files import it
    used.py, isa.py what contestants compute with, and how all are held to AVX2
    figures.py      medians, ratios, ceilings; table.py draws them

Nothing is imported here, since every contestant loads this package first.
"""
