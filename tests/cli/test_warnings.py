"""Jobs that run, but are hardly what their owner wants: refused or noticed before training begins."""

JOB = """
[model]
layers = [
    {{ kind = "flatten" }},
    {{ kind = "linear", outputs = 8 }},
    {{ kind = "residual", layers = [{{ kind = "batchnorm" }}, {{ kind = "relu" }}] }},
    {{ kind = "linear", outputs = 10 }},
]
[data]
path = "digits"
[train]
steps = 2
batch = {batch}
micro_batch = {micro_batch}
"""
TEXT = """
[model]
layers = [{{ kind = "embedding", tokens = 30, width = 4 }}, {layer}, {{ kind = "linear", outputs = 30 }}]
[data]
path = "some.txt"
context = 8
[train]
steps = 2
batch = 4
micro_batch = 2
"""


def test_batchnorm_of_single_values_is_refused(desk):
    desk.write("job.toml", JOB.format(batch=8, micro_batch=1))
    text = desk.refuses("train", "job.toml", "--out", "run")
    assert "train.micro_batch: 1, so that layer 002_residual/0_batchnorm has one value a channel" in text
    assert "needed: 2 or more" in text


def test_a_last_micro_batch_of_one_sample_is_noticed_where_there_is_a_batchnorm(desk):
    desk.write("job.toml", JOB.format(batch=9, micro_batch=4))
    assert "has one sample, and layer 002_residual/0_batchnorm" in desk.does("train", "job.toml", "--out", "run")


def test_a_text_model_that_sees_ahead_is_noticed(desk):
    desk.write("some.txt", "in the beginning was the word " * 20)
    desk.write("ahead.toml", TEXT.format(layer='{ kind = "groupnorm", groups = 2 }'))
    assert "layer 001_groupnorm mixes the places of a text" in desk.does("train", "ahead.toml", "--out", "ahead")
    desk.write("fine.toml", TEXT.format(layer='{ kind = "transformer", width = 4, heads = 2 }'))
    assert "mixes" not in desk.does("train", "fine.toml", "--out", "fine")
