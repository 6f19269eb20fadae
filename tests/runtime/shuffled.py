"""A training schedule for any placement: at every turn one of the actions that could come next, by a seeded draw."""

from random import Random

from mpipipe.schedule import Action, Kind, Pipeline, Recipe, Schedule, lane_of


def shuffled(pipeline: Pipeline) -> Schedule:
    """The same for every rank that asks for the same pipeline."""
    random, micros, stages = Random(str(pipeline)), pipeline.micros, pipeline.stages
    limits = tuple(min(micros, limit) for limit in pipeline.limits)
    places, lanes = lane_of(pipeline.placement), [[] for _ in pipeline.placement]
    f, i, w = ([0] * stages for _ in range(3))

    def ready():
        for s in range(stages):
            if f[s] < min(micros, w[s] + limits[s]) and (s == 0 or f[s] < f[s - 1]):
                yield Kind.F, f, s
            # No gradient is made two ahead of what the stage before has room for.
            if i[s] < f[s] and (s == stages - 1 or i[s] < i[s + 1]) and (s == 0 or i[s] < w[s - 1] + 2):
                yield Kind.I, i, s
            if w[s] < i[s]:
                yield Kind.W, w, s

    while choice := list(ready()):
        kind, done, stage = random.choice(choice)
        lane, chunk = places[stage]
        lanes[lane].append(Action(kind, done[stage], chunk))
        done[stage] += 1
    return Schedule("shuffled", micros, limits, tuple(map(tuple, lanes)), pipeline.placement)


SHUFFLED = {"shuffled": Recipe(shuffled, lambda stages, micros, first: (first or micros,) * stages)}
"""To be put among the schedules for as long as a test runs."""
