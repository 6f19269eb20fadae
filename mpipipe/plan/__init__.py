"""Who gets what: pure functions of (layer costs, Cluster, Job) to a Plan."""

from mpipipe.plan.explain import Alternative
from mpipipe.plan.make import compare, make_plan, reprice
from mpipipe.plan.pipeline import pipeline_of
from mpipipe.plan.types import Plan, StagePlan

__all__ = ["Alternative", "Plan", "StagePlan", "compare", "make_plan", "pipeline_of", "reprice"]
