"""ZB-V: two chunks a rank along a V, so that the first rank also has the loss (Qi et al. 2024, section 4).

A rank has at most 2p chunks' activations in flight, as many as p of whole stages that size: 1F1B's at the first rank.
Where F = I = W, messages are free and m >= 2p, no rank waits once its first micro-batch is there, up to a few units:
the whole takes 6m + p - 1 units, the least possible, exactly for p of 1, 2 and 4, and at most 3 units more for p up
to 9. The paper finds its order by search for every p; here it is a list schedule over the measured costs.
"""

from mpipipe.schedule.actions import Pipeline, Placement, Schedule
from mpipipe.schedule.greedy import greedy


def zigzag(lanes: int, stages: int) -> Placement:
    """Stages go down the lanes, and come back up."""
    turn = [*range(lanes), *reversed(range(lanes))]
    return tuple(
        tuple(stage for stage in range(stages) if turn[stage % len(turn)] == lane) for lane in range(min(lanes, stages))
    )


def zb_v(pipeline: Pipeline) -> Schedule:
    """Whatever the limits of the stages allow, 2p in flight are not exceeded on any rank."""
    lanes = len(pipeline.placement)
    return greedy("zb-v", pipeline, [2 * lanes] * lanes)
