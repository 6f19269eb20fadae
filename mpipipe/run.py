"""What rank 0 has in hand once every rank is ready, and which steps are to be done with it."""

from dataclasses import dataclass

from mpipipe.checkpoint import DataFacts, Position
from mpipipe.data import steps_per_epoch
from mpipipe.enlist import Brief
from mpipipe.job import Job
from mpipipe.report import RunFolder
from mpipipe.resources import Cluster
from mpipipe.start import Samples


@dataclass(frozen=True)
class Run:
    """What rank 0 has in hand once everything is ready."""

    job: Job
    folder: RunFolder
    samples: Samples
    position: Position
    brief: Brief
    cluster: Cluster
    quiet: bool

    @property
    def data_facts(self) -> DataFacts:
        """What a checkpoint says of the data."""
        data, scale = self.samples.data, self.samples.scaling.kind
        return DataFacts(
            data.source, self.brief.input_shape, data.target_shape, data.labels,
            data.classes, data.columns, scale, data.tokens, self.samples.identity,
        )  # fmt: skip

    @property
    def total_steps(self) -> int:
        """Steps of the whole job."""
        train = self.job.train
        return train.steps or train.epochs * steps_per_epoch(self.samples.data.train.count, train.batch)

    @property
    def last_step(self) -> int:
        """Steps after which this run ends: run.stop_after may end it before the job's end."""
        stop = self.job.run.stop_after
        return min(self.total_steps, self.position.step + stop) if stop else self.total_steps
