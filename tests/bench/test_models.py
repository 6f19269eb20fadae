"""The four models: they build, fit their data, and cost what can be reckoned by hand."""

import numpy as np
import pytest

from mpipipe.bench.kit import read_kit, read_weights, step_flops, write_kit
from mpipipe.bench.models import MODELS, find_models
from mpipipe.errors import UserError
from mpipipe.job import job_from_text, job_to_text
from mpipipe.job.settings import check
from mpipipe.layers import build_model

from .cases import TINY


@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)
def test_a_model_builds(model):
    assert job_from_text(job_to_text(check(model.job, "")), "") == model.job
    assert model.micros == 8
    built = build_model(model.job.model, model.input_shape)
    assert built.shapes[-1][-1] == model.classes
    assert step_flops(model) > 0


def test_flops_are_those_of_all_products_but_the_first_gradient_of_an_input():
    weights = 784 * 512 + 6 * 512 * 512 + 512 * 10
    assert step_flops(MODELS["mlp-512x8"]) == 2 * 512 * (3 * weights - 784 * 512)
    last = 2 * 32 * (3 * (16 * 16 + 16 * 10) + 2 * 10 * 16)
    assert step_flops(TINY) == last


def test_a_kit_reads_back(tmp_path):
    write_kit(tmp_path, TINY)
    kit, weights = read_kit(tmp_path), read_weights(tmp_path)
    assert kit.job == TINY.job
    assert (kit.x.shape, kit.x.dtype, kit.t.shape, kit.t.dtype) == ((32, 10), np.float32, (32,), np.int64)
    assert kit.t.min() >= 0 and kit.t.max() < 10
    assert weights["000_linear/weight"].shape == (10, 16)
    assert list(weights)[-1] == "004_linear/bias"


def test_models_are_found_by_name():
    assert [model.name for model in find_models([])] == ["mlp-2048x8", "mlp-512x8", "lenet", "gpt-256x8"]
    assert [model.name for model in find_models(["lenet", "lenet"])] == ["lenet"]
    with pytest.raises(UserError, match="unknown model 'lnet'; did you mean 'lenet'"):
        find_models(["lnet"])
