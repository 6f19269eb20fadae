"""Short ways to read a job with some settings, and to see how it is refused."""

import pytest

from mpipipe.errors import JobError
from mpipipe.job import job_from_text

GOOD = "train.steps=5"


def job_with(*sets, text=""):
    return job_from_text(text, "my.toml", [GOOD, *sets])


def refusal(*sets, text="", good=(GOOD,)):
    with pytest.raises(JobError) as caught:
        job_from_text(text, "my.toml", [*good, *sets])
    assert caught.value.status == 2
    assert "\n" not in str(caught.value)
    return str(caught.value)
