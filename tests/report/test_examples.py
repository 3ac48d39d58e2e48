from types import SimpleNamespace

import pytest
import torch
from torch import Tensor

from saam.data import Images, build_splits
from saam.models import create_model
from saam.report import examples
from saam.report.examples import comparison_strip, data_strip, weight_on_object


def some(count: int, seed: int) -> Images:
    generator = torch.Generator().manual_seed(seed)
    pixels: Tensor = torch.randint(0, 256, (count, 3, 16, 16), dtype=torch.uint8, generator=generator)
    return Images(pixels, torch.arange(count) % 2)


@pytest.mark.parametrize("images", [0, -1])
def test_less_than_one_image_is_refused(images: int) -> None:
    parts = some(8, 0), some(4, 1), some(6, 2)
    splits = build_splits(*parts, name="made", label="made", classes=["a", "b"], augmentation=())
    model = create_model("resnet8", attention="saam", num_classes=2, width=8)
    with pytest.raises(ValueError, match=f"one image or more, got images={images}"):
        data_strip(model, splits, images=images)
    assert data_strip(model, splits, images=1).width > 0


def test_the_weight_on_the_object_is_told_for_all_seeds() -> None:
    parts = [some(8, 0), some(4, 1), some(6, 2)]
    masks = torch.zeros(6, 16, 16, dtype=torch.bool)
    masks[:, :8, :8] = True
    parts[2] = Images(parts[2].images, parts[2].labels, masks)
    splits = build_splits(*parts, name="made", label="made", classes=["a", "b"], augmentation=())
    models = [create_model("resnet8", attention="saam", num_classes=2, width=8) for _ in range(3)]
    alone = weight_on_object(models[:1], splits)
    assert alone == (
        "weight on the object, in times that of mean pooling, over 6 test images: 1.00 at layer1.0.bn2, 1.00 at "
        "layer3.0.bn2"  # new scorers weigh all pixels alike
    )
    found = []
    for number, model in enumerate(models):
        squeeze = model.layer1[0].bn2.attention.squeeze
        torch.nn.init.normal_(squeeze.weight, std=3.0, generator=torch.Generator().manual_seed(number))
        found.append(float(weight_on_object([model], splits).split(": ")[1].split(" at")[0]))
    mean, low, high = sum(found) / 3, min(found), max(found)
    together = weight_on_object(models, splits)
    assert "over 6 test images, mean and range over 3 seeds: " in together
    assert f"({low:.2f} to {high:.2f}) at layer1.0.bn2, 1.00 (1.00 to 1.00) at layer3.0.bn2" in together
    assert float(together.split(": ")[1].split(" (")[0]) == pytest.approx(mean, abs=0.011)
    assert low < high


def test_the_report_draws_the_first_seed_and_tells_of_all_that_are_there(monkeypatch: pytest.MonkeyPatch) -> None:
    parts = [some(8, 0), some(4, 1), some(6, 2)]
    loaded: list[int] = []

    def load(out: str, arm: str, seed: int) -> torch.nn.Module:
        loaded.append(seed)
        if seed == 3:
            raise FileNotFoundError("its network was removed")
        return create_model("resnet8", attention=arm, num_classes=2, width=8, seed=seed)

    used = {"observed": {"score_use": {"bn2": {"share": 0.5, "lift": 2.0}}}}
    records = [
        SimpleNamespace(arm=arm, seed=seed, curve=[used] if arm == "saam" else [{}], test={"accuracy": 50.0})
        for arm in ("se", "saam")
        for seed in (4, 3, 2)
    ]
    comparison = SimpleNamespace(plan=None, records=records)
    monkeypatch.setattr(examples, "load_comparison", lambda out: comparison)
    monkeypatch.setattr(examples, "load_model", load)
    for masked in (False, True):
        if masked:
            parts[2] = Images(parts[2].images, parts[2].labels, torch.ones(6, 16, 16, dtype=torch.bool))
        splits = build_splits(*parts, name="made", label="made", classes=["a", "b"], augmentation=())
        monkeypatch.setattr(examples, "load_kept_splits", lambda plan, splits=splits: splits)
        strip = comparison_strip("folder")
        assert strip is not None
        assert strip.title.startswith("saam, seed 2; weight on the object" if masked else "saam, seed 2")
        assert ("mean and range over 2 seeds" in strip.title) is masked
        assert loaded == ([2, 3, 4] if masked else [2])  # without masks, one network is enough
        loaded.clear()
