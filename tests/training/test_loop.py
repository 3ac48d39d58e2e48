import copy
import dataclasses
import os

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from saam.training import EpochRecord, Group, Recipe, Stepper, evaluate, train

BASE = Recipe(epochs=2, learning_rate=0.05, momentum=0.5)


def make_data(count=64, batch_size=16, seed=0):
    """Batches of two classes that differ in the sign of the mean of their first channel."""
    generator = torch.Generator().manual_seed(seed)
    y = torch.randint(2, (count,), generator=generator)
    x = torch.randn(count, 3, 4, 4, generator=generator)
    x[:, 0] += (2.0 * y - 1).view(-1, 1, 1)
    return list(zip(x.split(batch_size), y.split(batch_size), strict=True))


def make_model(seed=0, dropout=0.2):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(
            nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), nn.ReLU(), nn.Flatten(), nn.Dropout(dropout), nn.Linear(24, 2)
        )


def run(recipe, seed=0, model=None, train_batches=None, **options):
    """Train a fresh model on the problem; return it and the result."""
    model = make_model() if model is None else model
    result = train(model, train_batches or make_data(), make_data(seed=1), recipe, seed=seed, device="cpu", **options)
    return model, result


def same_weights(a, b):
    return all(torch.equal(value, b.state_dict()[name]) for name, value in a.state_dict().items())


def test_learns_a_separable_problem():
    model, result = run(BASE.replace(epochs=8))
    assert result.curve[-1].validation_accuracy > 90
    assert evaluate(model, make_data(count=200, seed=2)).accuracy > 90


def test_one_epoch_equals_the_sum_written_out():
    data, recipe = make_data(), Recipe(epochs=1, schedule="step", milestones=(0.5,), warmup_fraction=0.0)
    model, expected = make_model(dropout=0.0), make_model(dropout=0.0).train()
    decay = [expected[0].weight, expected[5].weight]
    rest = [expected[0].bias, expected[1].weight, expected[1].bias, expected[5].bias]
    momenta = {parameter: torch.zeros_like(parameter) for parameter in decay + rest}
    losses, hits = [], 0
    for step, (x, y) in enumerate(data):
        logits = expected(x)
        loss = -logits.log_softmax(1).gather(1, y[:, None]).mean()
        gradients = torch.autograd.grad(loss, decay + rest)
        losses.append(loss.item())
        hits += (logits.argmax(1) == y).sum().item()
        with torch.no_grad():
            for parameter, gradient in zip(decay + rest, gradients, strict=True):
                pull = 5e-4 * parameter if any(parameter is p for p in decay) else 0
                momenta[parameter] = 0.9 * momenta[parameter] + gradient + pull
                parameter -= (0.1 if step < 2 else 0.01) * momenta[parameter]
    record = run(recipe, model=model, train_batches=data)[1].curve[0]
    for name, value in expected.state_dict().items():
        torch.testing.assert_close(model.state_dict()[name], value)
    assert record.train_loss == pytest.approx(sum(losses) / 4)
    assert record.train_accuracy == pytest.approx(100 * hits / 64)
    assert record.learning_rate == pytest.approx(0.01)
    scores = evaluate(model, make_data(seed=1))
    assert (record.validation_loss, record.validation_accuracy) == (scores.loss, scores.accuracy)


def test_means_weigh_images_and_not_batches():
    data = make_data(count=20, batch_size=16)
    model = make_model(dropout=0.0)
    frozen = Recipe(epochs=1, learning_rate=1e-12, momentum=0.0, warmup_fraction=0.0)
    copied = copy.deepcopy(model).train()
    each = torch.cat([F.cross_entropy(copied(x), y, reduction="none") for x, y in data])
    assert run(frozen, model=model, train_batches=data)[1].curve[0].train_loss == pytest.approx(each.mean().item())


CHANGES = {
    "epochs": (BASE, 3),
    "learning_rate": (BASE, 0.06),
    "momentum": (BASE, 0.6),
    "nesterov": (BASE, True),
    "weight_decay": (BASE, 0.01),
    "schedule": (BASE, "cosine"),
    "milestones": (BASE.replace(schedule="step"), (0.5,)),
    "warmup_fraction": (BASE, 0.5),
    "label_smoothing": (BASE, 0.1),
    "ema": (BASE, 0.9),
    "clip": (BASE, 0.1),
    "precision": (BASE, "bf16"),
    "new_parameters_factor": (BASE, 3.0),
    "optimizer": (BASE, "adamw"),
    "beta2": (BASE.replace(optimizer="adamw"), 0.5),
}


@pytest.mark.parametrize("name", CHANGES)
def test_every_field_changes_the_weights(name):
    base, value = CHANGES[name]
    plain, _ = run(base, new_parameters=["5.weight"])
    changed, result = run(base.replace(**{name: value}), new_parameters=["5.weight"])
    assert not torch.equal(plain[0].weight, changed[0].weight)
    assert all(torch.isfinite(value).all() for value in changed.state_dict().values())
    assert len(result.curve) == (3 if name == "epochs" else 2)


def test_every_field_is_tested():
    elsewhere = {"channels_last", "batch_size", "augmentation", "mixup"}  # the last three are read by who makes batches
    assert set(CHANGES) | elsewhere == {field.name for field in dataclasses.fields(Recipe)}


def test_channels_last_reaches_images_and_kernels():
    formats = []
    for channels_last in (False, True):
        model = make_model()
        model.register_forward_hook(
            lambda module, args, _: formats.append(
                [t.is_contiguous(memory_format=torch.channels_last) for t in (args[0], module[0].weight)]
                if module.training
                else None
            )
        )
        run(BASE.replace(epochs=1, channels_last=channels_last), model=model)
    assert [f for f in formats if f] == [[False, False]] * 4 + [[True, True]] * 4


def test_factor_moves_new_parameters_further_and_no_others():
    start = make_model()
    recipe = BASE.replace(epochs=1, momentum=0.0, weight_decay=0.0, schedule="step", warmup_fraction=0.0)
    moved = []
    for factor in (1.0, 10.0):
        model, _ = run(
            recipe.replace(new_parameters_factor=factor), train_batches=make_data(16), new_parameters=["5.weight"]
        )
        moved.append({name: value - start.state_dict()[name] for name, value in model.state_dict().items()})
    torch.testing.assert_close(moved[1]["5.weight"], 10 * moved[0]["5.weight"], rtol=1e-4, atol=1e-6)
    assert torch.equal(moved[1]["0.weight"], moved[0]["0.weight"])
    with pytest.raises(ValueError, match=r"unknown new parameter '5.wait': did you mean '5.weight'"):
        run(recipe, new_parameters=["5.wait"])


def test_label_smoothing_enters_the_training_loss_alone():
    recipe = BASE.replace(epochs=1, learning_rate=1e-12)
    curves = [run(recipe.replace(label_smoothing=s), model=make_model(dropout=0))[1].curve[0] for s in (0.0, 0.4)]
    log_likelihoods = [make_model(dropout=0).train()(x).log_softmax(1) for x, _ in make_data()]
    smoothed = [-(0.6 * p.gather(1, y[:, None])[:, 0] + 0.4 * p.mean(1))
                for p, (_, y) in zip(log_likelihoods, make_data(), strict=True)]  # fmt: skip
    assert curves[1].train_loss == pytest.approx(torch.cat(smoothed).mean().item())
    assert curves[0].train_loss != pytest.approx(curves[1].train_loss, rel=1e-3)
    assert curves[0].validation_loss == pytest.approx(curves[1].validation_loss)


def test_ema_keeps_and_validates_the_averaged_weights_and_buffers():
    data, decay = make_data(), 0.8
    trace, plain = [], make_model()

    def keep():
        trace.append([plain[0].weight.detach().clone(), plain[1].running_mean.clone()])

    class Traced:
        def __len__(self):
            return len(data)

        def __iter__(self):
            for batch in data:
                yield batch
                keep()

    run(BASE.replace(epochs=1), model=plain, train_batches=Traced())
    averaged, result = run(BASE.replace(epochs=1, ema=decay))
    expected = trace[0]  # the average starts at the values after the first step
    for values in trace[1:]:
        expected = [decay * mean + (1 - decay) * value for mean, value in zip(expected, values, strict=True)]
    torch.testing.assert_close([averaged[0].weight.detach(), averaged[1].running_mean], expected)
    assert result.curve[-1].validation_loss == evaluate(averaged, make_data(seed=1)).loss


def test_clip_bounds_the_step():
    start = make_model()
    recipe = Recipe(epochs=1, learning_rate=1.0, momentum=0.0, weight_decay=0.0, schedule="step", warmup_fraction=0.0)
    for clip, low, high in ((0.01, 0.0099, 0.0101), (0.0, 0.1, 1e9), (1e6, 0.1, 1e9)):
        model, _ = run(recipe.replace(clip=clip), train_batches=make_data(16))
        moved = [(a - b).flatten() for a, b in zip(model.parameters(), start.parameters(), strict=True)]
        assert low < torch.cat(moved).norm().item() < high


def test_precision_is_that_of_the_training_steps_only():
    seen = []
    model = make_model()
    model[0].register_forward_hook(lambda module, _, out: seen.append((module.training, out.dtype)))
    _, result = run(BASE.replace(epochs=5, precision="bf16"), model=model)
    assert set(seen) == {(True, torch.bfloat16), (False, torch.float32)}
    assert {value.dtype for value in model.parameters()} == {torch.float32}
    assert result.curve[-1].validation_accuracy > 80


def test_a_seed_decides_everything():
    (first, a), (again, b), (other, _) = run(BASE, seed=3), run(BASE, seed=3), run(BASE, seed=4)
    assert same_weights(first, again)
    assert not torch.equal(first[0].weight, other[0].weight)
    untimed = [[dataclasses.replace(record, seconds=0.0) for record in result.curve] for result in (a, b)]
    assert untimed[0] == untimed[1]


def test_epochs_draw_differently():
    masks = []
    model = nn.Sequential(nn.Dropout(0.5), *make_model())  # on the images, which have no zeros of their own
    model[0].register_forward_hook(lambda module, _, out: masks.append(out == 0) if module.training else None)
    run(BASE, model=model, train_batches=make_data(count=16))
    assert 0.3 < masks[0].double().mean() < 0.7
    assert not torch.equal(masks[0], masks[1])


@pytest.mark.parametrize(
    ("schedule", "factors"),  # the middle of the last step: 3.5 and 7.5 of 8 steps
    [("cosine", (0.5975451610080641, 0.009607359798384785)), ("step", (1.0, 1.0))],
)
def test_the_schedule_is_read_at_the_middle_of_each_step(schedule, factors):
    _, result = run(BASE.replace(schedule=schedule, warmup_fraction=0.0))
    assert [record.learning_rate for record in result.curve] == pytest.approx([0.05 * factor for factor in factors])


def test_a_plain_data_loader_is_shuffled_by_the_seed():
    x, y = map(torch.cat, zip(*make_data(), strict=True))
    models = [
        run(BASE, seed=seed, model=make_model(dropout=0), train_batches=loader)[0]
        for seed in (0, 0, 1)
        for loader in [DataLoader(TensorDataset(x, y), batch_size=16, shuffle=True)]
    ]
    assert same_weights(models[0], models[1])
    assert not torch.equal(models[0][0].weight, models[2][0].weight)


def test_a_loader_by_epoch_is_asked_for_each():
    asked = []

    class ByEpoch:
        def __len__(self):
            return 4

        def __iter__(self):
            raise AssertionError("epoch() comes first")

        def epoch(self, index):
            asked.append(index)
            return iter(make_data(seed=index))

    run(BASE.replace(epochs=3), train_batches=ByEpoch())
    assert asked == [0, 1, 2]


def test_generator_and_modes_are_restored_also_after_an_error():
    def fail(record):
        raise KeyboardInterrupt

    for on_epoch in (None, fail):
        model = make_model().eval()
        model[4].train()
        state, modes = torch.get_rng_state(), [module.training for module in model.modules()]
        try:
            run(BASE, model=model, on_epoch=on_epoch)
        except KeyboardInterrupt:
            assert on_epoch is fail
        assert torch.equal(torch.get_rng_state(), state)
        assert [module.training for module in model.modules()] == modes
        assert model[1].num_batches_tracked > 0  # it did train in training mode


def test_validation_changes_nothing():
    model = make_model()
    train(model, make_data(), make_data(count=4, seed=5), BASE, seed=0, device="cpu")
    assert same_weights(model, run(BASE)[0])


def test_records():
    seen = []
    _, result = run(BASE, on_epoch=seen.append)
    assert tuple(seen) == result.curve
    assert [record.epoch for record in result.curve] == [1, 2]
    assert all(record.seconds > 0 for record in seen)
    assert result.seconds == seen[0].seconds + seen[1].seconds
    for record in seen:
        values = dataclasses.asdict(record)
        assert values.pop("observed") == {}
        assert all(type(value) in (int, float) for value in values.values())
    assert isinstance(seen[0], EpochRecord)


def test_what_is_observed_after_an_epoch_is_kept_with_it():
    """The observer sees the model that is validated, in its training's device and state; here its averaged weights."""
    seen = []

    def observe(model):
        seen.append(sum(float(parameter.detach().abs().sum()) for parameter in model.parameters()))
        return {"size": seen[-1]}

    model, result = run(dataclasses.replace(BASE, ema=0.9), observe=observe)
    assert [record.observed for record in result.curve] == [{"size": size} for size in seen]
    assert len(seen) == 2
    assert seen[1] == sum(float(parameter.detach().abs().sum()) for parameter in model.parameters())


def test_a_loss_that_is_not_finite():
    data = make_data()
    data[2][0][5, 1, 2, 3] = torch.nan
    with pytest.raises(FloatingPointError, match=r"became nan in epoch 1, step 3 .*: try a lower learning_rate"):
        run(BASE, train_batches=data)
    with pytest.raises(FloatingPointError, match=r"loss became (nan|inf) in epoch \d"):
        run(BASE.replace(learning_rate=1e30))


def test_a_loss_that_is_not_finite_stops_a_long_epoch():
    data = make_data(count=130 * 2, batch_size=2)
    data[7][0][0, 0, 0, 0] = torch.nan
    taken = []
    model = make_model()
    model.register_forward_hook(lambda *_: taken.append(1))
    with pytest.raises(FloatingPointError, match="epoch 1, step 8 "):
        run(BASE, model=model, train_batches=data)
    assert len(taken) == 100


def test_a_validation_loss_that_is_not_finite():
    bad = make_data(seed=1)
    bad[0][0][0] = torch.nan
    with pytest.raises(FloatingPointError, match="the validation loss is nan after epoch 1"):
        train(make_model(), make_data(), bad, BASE, seed=0, device="cpu")


def test_adamw_is_the_sum_written_out():
    data = make_data(16)
    recipe = Recipe(
        epochs=1, optimizer="adamw", learning_rate=0.01, weight_decay=0.1, schedule="step", warmup_fraction=0.0
    )
    start, model = make_model(dropout=0.0), run(recipe, model=make_model(dropout=0.0), train_batches=data)[0]
    (x, y), parameters = data[0], dict(start.named_parameters())
    gradients = torch.autograd.grad(F.cross_entropy(start.train()(x), y), list(parameters.values()))
    for (name, before), gradient in zip(parameters.items(), gradients, strict=True):
        kept = 1 - 0.01 * 0.1 if name in ("0.weight", "5.weight") else 1  # the first step has the size of the sign
        expected = kept * before - 0.01 * gradient / (gradient.abs() + 1e-8)
        torch.testing.assert_close(model.get_parameter(name), expected, atol=1e-6, rtol=1e-3)


def test_labels_may_be_probabilities():
    hard = make_data()
    soft = [(x, F.one_hot(y, 2).float()) for x, y in hard]
    (one, a), (other, b) = run(BASE, train_batches=hard), run(BASE, train_batches=soft)
    torch.testing.assert_close(one.state_dict(), other.state_dict())
    assert [epoch.train_accuracy for epoch in a.curve] == [epoch.train_accuracy for epoch in b.curve]


def test_unequal_shares_weigh_images_and_not_processes():
    """Two processes share 3 images as 2 and 1: the mean of their gradients is that over the images."""
    model, (x, y) = make_model(dropout=0.0).eval(), make_data(count=3, batch_size=3)[0]
    whole = torch.autograd.grad(F.cross_entropy(model(x), y), model[5].weight)[0]
    shares = []
    for rank in range(2):
        stepper = Stepper(copy.deepcopy(model), BASE.replace(momentum=0.0), Group(0, 1, torch.device("cpu")))
        stepper.group = Group(rank, 2, torch.device("cpu"))
        stepper.step(x, y, 0.5)
        shares.append(stepper.model[5].weight.grad)
    torch.testing.assert_close((shares[0] + shares[1]) / 2, whole)


def test_bad_arguments():
    with pytest.raises(ValueError, match="expected batches to train on and to validate on, got none"):
        train(make_model(), [], make_data(), BASE, seed=0)
    with pytest.raises(ValueError, match="expected batches to train on and to validate on, got none"):
        train(make_model(), make_data(), [], BASE, seed=0)
    with pytest.raises(ValueError, match="precision 'fp16' needs a GPU, got the CPU: use precision='bf16'"):
        run(BASE.replace(precision="fp16"))
    with pytest.raises(ValueError, match="expected a model with parameters to train"):
        run(BASE, model=make_model().requires_grad_(False))
    with pytest.raises(ValueError, match=r"device 'cupboard' cannot be used here .*: pass 'cpu' or None"):
        train(make_model(), make_data(), make_data(), BASE, seed=0, device="cupboard")
    with pytest.raises(ValueError, match=r"device 'meta' cannot be used here .*: pass 'cpu' or None"):
        train(make_model(), make_data(), make_data(), BASE, seed=0, device="meta")


@pytest.mark.parametrize("ema", [0.0, 0.9])
def test_a_killed_run_goes_on_as_if_nothing_had_happened(tmp_path, ema):
    recipe, state = BASE.replace(epochs=4, ema=ema), tmp_path / "state.pt"

    def kill(record):
        if record.epoch == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(recipe, on_epoch=kill, state=state)
    seen = []
    resumed, result = run(recipe, model=make_model(seed=9), on_epoch=seen.append, state=state)
    whole, expected = run(recipe)
    assert same_weights(resumed, whole)
    assert [record.epoch for record in seen] == [3, 4]
    assert [r.train_loss for r in result.curve] == [r.train_loss for r in expected.curve]

    finished, result = run(recipe, model=make_model(seed=8), on_epoch=seen.append, state=state)
    assert same_weights(finished, whole)
    assert (len(result.curve), len(seen)) == (4, 2)
    assert [path.name for path in tmp_path.iterdir()] == ["state.pt"]


def test_the_state_of_another_run_is_refused(tmp_path):
    state = tmp_path / "state.pt"
    run(BASE, state=state)
    others = {
        "recipe": {"recipe": BASE.replace(epochs=3)},
        "seed": {"recipe": BASE, "seed": 1},
        "data, model": {"recipe": BASE, "identity": {"data": "f00d", "model": {"width": [8, 16]}}},
    }
    for differs, other in others.items():
        with pytest.raises(ValueError, match=rf"state.pt holds the .* differs in {differs}: remove it to start anew"):
            run(**other, state=state)


def test_the_identity_is_kept_in_the_state(tmp_path):
    state, identity = tmp_path / "state.pt", {"data": "f00d", "model": {"width": [8, 16], "head": None}}
    run(BASE, state=state, identity=identity)
    assert len(run(BASE, state=state, identity=identity)[1].curve) == 2
    for other in ({**identity, "data": "beef"}, {"model": identity["model"]}, None):
        with pytest.raises(ValueError, match="which differs in data"):
            run(BASE, state=state, identity=other)


@pytest.mark.parametrize("damage", ["empty", "junk", "cut", "list", "without a part", "without a record"])
def test_a_damaged_state_is_named(tmp_path, damage):
    state = tmp_path / "state.pt"
    run(BASE, state=state)
    saved, content = torch.load(state), state.read_bytes()
    if damage in ("empty", "junk", "cut"):
        state.write_bytes({"empty": b"", "junk": b"junk" * 99, "cut": content[: len(content) // 2]}[damage])
    elif damage == "list":
        torch.save([1, 2], state)
    elif damage == "without a part":
        torch.save({key: value for key, value in saved.items() if key != "optimizer"}, state)
    else:
        torch.save({**saved, "curve": [{"epoch": 1}]}, state)
    with pytest.raises(ValueError, match=r"state.pt is damaged: remove it to start anew"):
        run(BASE, state=state)


def test_a_state_that_cannot_be_read_is_not_called_damaged(tmp_path):
    with pytest.raises(ValueError, match=f"{tmp_path} is not a regular file"):
        run(BASE, state=tmp_path)


DISTRIBUTED = """
import os, sys
sys.path.insert(0, sys.argv[1])
import torch
from test_loop import BASE, make_data, make_model
from saam.training import train
model, seen = make_model(dropout=0), []
model[1] = torch.nn.Identity()
train(model, make_data(count=65), make_data(seed=1), BASE, seed=0, on_epoch=seen.append)
torch.save([len(seen), *(p.detach() for p in model.parameters())], f"{sys.argv[2]}/{os.environ['RANK']}.pt")
assert not torch.distributed.is_initialized()
"""


@pytest.mark.slow
def test_two_processes_do_what_one_does(torchrun, tmp_path):
    (tmp_path / "script.py").write_text(DISTRIBUTED)
    torchrun(tmp_path / "script.py", os.path.dirname(__file__), tmp_path)
    model = make_model(dropout=0)
    model[1] = nn.Identity()
    # the 65th image is a batch of its own, too small for two processes; it still counts as a step of the schedule
    without = type("Without", (list,), {"__len__": lambda _: 5})(make_data(count=65)[:4])
    run(BASE, model=model, train_batches=without)
    for rank, records in ((0, 2), (1, 0)):  # the first process alone reports
        seen, *parameters = torch.load(tmp_path / f"{rank}.pt")
        assert seen == records
        torch.testing.assert_close(parameters, [parameter.detach() for parameter in model.parameters()])


class Placed(list):
    """Batches that know of devices."""

    def __init__(self, batches):
        super().__init__(batches)
        self.asked = []

    def to_device(self, device):
        self.asked.append(str(device))
        return self


def test_loaders_that_know_of_devices_are_asked_for_batches_there():
    train_loader, validation_loader = Placed(make_data()), Placed(make_data(seed=1))
    train(make_model(), train_loader, validation_loader, BASE, seed=0, device="cpu")
    assert train_loader.asked == ["cpu"]
    assert set(validation_loader.asked) == {"cpu"}


def test_the_precision_auto_is_refused():
    with pytest.raises(
        ValueError, match=r"precision 'auto' is measured by compare\(\) and saam train alone: pass 'no'"
    ):
        run(BASE.replace(precision="auto"))
