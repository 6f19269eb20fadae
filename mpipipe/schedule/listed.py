"""A list schedule over the measured costs: unlike stages, slow links and several worker threads (Graham 1969).

Made for pipelines that are far from equal, where the patterns of the papers leave gaps. One stage a rank.
"""

from mpipipe.schedule.actions import Pipeline, Schedule
from mpipipe.schedule.greedy import greedy


def listed(pipeline: Pipeline) -> Schedule:
    """Within the limits, every worker always does what others wait for most."""
    return greedy("list", pipeline)
