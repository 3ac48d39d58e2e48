from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import nn

from saam._core.devices import best_device
from saam.comparison import costs as module
from saam.comparison.costs import arm_costs, measure_costs
from saam.measure import peak_memory
from saam.models import create_model
from saam.training import Recipe

RECIPE = Recipe(epochs=1, batch_size=8)


def models(*arms):
    return {arm: create_model("resnet8", attention=arm, width=8, seed=0) for arm in arms}


@pytest.fixture(scope="module")
def costs():
    records = measure_costs(models("none", "se", "saam"), RECIPE, image_size=(16, 12), rounds=5, device="cpu")
    return {record.arm: record for record in records}


def test_each_model_is_measured_once_in_order(costs):
    assert list(costs) == ["none", "se", "saam"]
    assert {(c.batch_size, c.image_size, c.threads, c.device) for c in costs.values()} == {(8, (16, 12), 1, "cpu")}


def test_the_baseline_is_its_own_measure(costs):
    plain = costs["none"]
    assert plain.extra_parameters == 0
    assert {plain.macs_ratio, plain.train_step_ratio, plain.inference_ratio, plain.peak_memory_ratio} == {1.0}


def test_parameters_and_macs_stand_against_the_baseline(costs):
    plain, se, saam = costs.values()
    assert plain.parameters == sum(parameter.numel() for parameter in models("none")["none"].parameters())
    mlps = (2 * 8 + 1 + 8) + (2 * 16 + 1 + 16) + (2 * 2 * 32 + 2 + 32)
    assert se.extra_parameters == se.parameters - plain.parameters == mlps
    assert saam.extra_parameters - se.extra_parameters == 8 + 16 + 32  # the scorers
    assert saam.macs > se.macs > plain.macs
    assert se.macs_ratio == se.macs / plain.macs


def test_attention_holds_more_memory(costs):
    assert costs["se"].peak_memory_mb > costs["none"].peak_memory_mb
    assert costs["se"].peak_memory_ratio == pytest.approx(costs["se"].peak_memory_mb / costs["none"].peak_memory_mb)


def test_frozen_parameters_are_not_counted():
    frozen = models("none")
    frozen["none"].conv1.requires_grad_(False)
    (record,) = measure_costs(frozen, RECIPE, image_size=(8, 8), rounds=5)
    whole = sum(parameter.numel() for parameter in frozen["none"].parameters())
    assert record.parameters == whole - frozen["none"].conv1.weight.numel()


def test_all_steps_are_timed_before_all_inferences_and_become_medians_spreads_and_paired_ratios(monkeypatch):
    """Times as if the second model always took twice as long, in rounds that drift."""
    calls = []

    def take_turns(works, **settings):
        calls.append((list(works), settings, [work() for work in works.values()]))
        drift = [1, 3, 2, 10, 4] if len(calls) == 1 else [2, 3, 1, 5, 8]
        scale = 2e-3 if len(calls) == 1 else 1e-3
        return {label: [scale * factor * time for time in drift] for label, factor in (("none", 1), ("se", 2))}

    monkeypatch.setattr(module, "take_turns", take_turns)
    plain, se = measure_costs(models("none", "se"), RECIPE, image_size=(8, 8), rounds=7, seconds=9.0, device="cpu")
    settings = {"rounds": 7, "seconds": 4.5, "device": torch.device("cpu")}
    assert [call[:2] for call in calls] == [(["none", "se"], settings)] * 2
    steps, inferences = (call[2] for call in calls)
    assert steps == [None, None]
    assert [logits.shape for logits in inferences] == [(8, 10)] * 2
    assert (plain.train_step_ms, plain.inference_ms) == pytest.approx((6.0, 3.0))
    assert (plain.train_step_spread_ms, plain.inference_spread_ms) == pytest.approx((4.0, 3.0))
    assert (se.train_step_ms, se.inference_ms) == pytest.approx((12.0, 6.0))
    for name in ("train_step_ratio", "inference_ratio"):
        assert (getattr(plain, name), getattr(plain, f"{name}_spread")) == (1.0, 0.0)
        assert getattr(se, name) == pytest.approx(2.0)
        assert getattr(se, f"{name}_spread") == pytest.approx(0.0, abs=1e-12)


def test_steps_train_and_inferences_do_not():
    modes = []

    class Probe(nn.Module):
        def forward(self, x):
            modes.append((self.training, torch.is_grad_enabled(), torch.is_inference_mode_enabled()))
            return x

    model = nn.Sequential(Probe(), nn.Flatten(), nn.Linear(3 * 4 * 4, 5))
    before = model[2].weight.clone()
    measure_costs({"none": model}, RECIPE, image_size=(4, 4), rounds=5)
    training, inference = (True, True, False), (False, False, True)
    assert modes[-10:] == [training] * 5 + [inference] * 5
    assert not torch.equal(model[2].weight, before)


def test_threads_and_generator_are_left_as_they_were():
    seen = []

    class Probe(nn.Dropout):
        def forward(self, x):
            seen.append(torch.get_num_threads())
            return super().forward(x)

    model = nn.Sequential(Probe(), nn.Flatten(), nn.Linear(48, 5))
    threads, state = torch.get_num_threads(), torch.get_rng_state()
    measure_costs({"none": model}, RECIPE, image_size=(4, 4), rounds=5, threads=threads + 1)
    assert threads + 1 in seen
    assert torch.get_num_threads() == threads
    assert torch.equal(torch.get_rng_state(), state)


def test_the_recipe_decides_precision_and_memory_order():
    seen = []

    class Probe(nn.Conv2d):
        def forward(self, x):
            out = super().forward(x)
            seen.append((out.dtype, x.is_contiguous(memory_format=torch.channels_last)))
            return out

    model = nn.Sequential(Probe(3, 4, 3), nn.Flatten(), nn.Linear(144, 5))
    measure_costs({"none": model}, RECIPE.replace(precision="bf16", channels_last=True), image_size=(8, 8), rounds=5)
    assert seen[-1] == (torch.bfloat16, True)


def test_a_baseline_that_is_not_measured_is_refused():
    with pytest.raises(ValueError, match=r"unknown baseline 'none'.*se"):
        measure_costs(models("se"), RECIPE, image_size=(8, 8))


def test_peak_memory_counts_what_is_held_at_once():
    x = torch.ones(1000)  # 4 kB

    def work():
        y = x * 2  # 8 kB
        z = y[:10].view(2, 5)  # of the same storage
        del y
        w = x + 1  # z still holds y's storage: 12 kB
        del z, w
        return x * 3  # 8 kB

    assert peak_memory(work, [x, x.view(10, 100)]) == 12_000


def test_peak_memory_sees_activations_kept_for_the_backward_pass():
    weight = torch.ones(1000, requires_grad=True)

    def work():
        ((weight.sin()).cos()).sum().backward()

    held = peak_memory(work, [weight])
    assert held >= 3 * 4_000  # the weight, sin(weight) and a gradient
    with torch.no_grad():
        assert peak_memory(lambda: weight.sin().sum(), [weight]) == 2 * 4_000 + 4


def test_the_memory_of_a_step_holds_all_that_a_step_needs():
    class Peak(nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("mean", torch.zeros(250_000))

        def forward(self, x):
            torch.zeros(2_500_000)  # for a moment
            return x

    model = nn.Sequential(nn.Flatten(), nn.Linear(192, 4000, bias=False), Peak())
    (record,) = measure_costs({"none": model}, RECIPE.replace(batch_size=256), image_size=(8, 8), rounds=5)
    weights_gradients_momentum, images, logits = 3 * 192 * 4000, 256 * 192, 256 * 4000
    expected = 4 * (weights_gradients_momentum + images + logits + 250_000 + 2_500_000) / 1e6
    assert record.peak_memory_mb == pytest.approx(expected, rel=0.002)


def test_a_device_by_name_is_taken():
    assert best_device("meta") == torch.device("meta")
    assert best_device() == (torch.accelerator.current_accelerator(check_available=True) or torch.device("cpu"))


@pytest.mark.parametrize(("images", "batch"), [(30, 30), (40, 40), (500, 40)])
def test_a_batch_is_not_larger_than_the_data(make_plan, monkeypatch, images, batch):
    measured = []

    def measure(models, recipe, **settings):
        measured.append((tuple(models), recipe.batch_size, settings))
        return ()

    monkeypatch.setattr(module, "measure_costs", measure)
    with ThreadPoolExecutor(1) as executor:
        arm_costs(executor, make_plan(), ["se"], classes=10, image_size=(32, 32), images=images, threads=1, device=None)
    assert measured == [(("none", "se"), batch, {"image_size": (32, 32), "threads": 1, "device": None})]


def test_half_precision_is_refused_on_a_cpu():
    with pytest.raises(ValueError, match="precision 'fp16' needs a GPU, got the CPU"):
        measure_costs(models("none"), RECIPE.replace(precision="fp16"), image_size=(8, 8), device="cpu")
