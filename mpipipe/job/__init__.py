"""What is to be done: the Job, its TOML form, its presets."""

from mpipipe.job.read import job_from_text, job_to_text, preset_names, read_job
from mpipipe.job.settings import KERNELS, DataSettings, Job, ModelSettings, PlanSettings, RunSettings, TrainSettings

__all__ = [
    "KERNELS",
    "DataSettings",
    "Job",
    "ModelSettings",
    "PlanSettings",
    "RunSettings",
    "TrainSettings",
    "job_from_text",
    "job_to_text",
    "preset_names",
    "read_job",
]
