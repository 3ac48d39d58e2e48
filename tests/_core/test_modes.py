import pytest
from torch import nn

from saam._core.modes import mode


class Merging(nn.Module):
    """Merges its weights for evaluation, as LoRA layers do."""

    merged = False

    def train(self, mode: bool = True) -> "Merging":
        self.merged = not mode
        return super().train(mode)


@pytest.mark.parametrize("root", [True, False])
@pytest.mark.parametrize("leaf", [True, False])
def test_a_merging_layer_in_another_mode_than_the_network(root: bool, leaf: bool) -> None:
    model = nn.Sequential(Merging(), nn.Dropout()).train(root)
    model[0].train(leaf)
    with mode(model, training=False):
        assert model[0].merged
    assert (model[0].training, model[0].merged, model[1].training, model.training) == (leaf, not leaf, root, root)


@pytest.mark.parametrize("root", [True, False])
def test_what_train_does_is_undone_and_every_module_has_its_mode_again(root: bool) -> None:
    model = nn.Sequential(Merging(), nn.Dropout(), nn.Dropout()).train(root)
    model[1].train(not root)
    with mode(model, training=not root):
        assert model[0].merged is root
    assert model[0].merged is not root
    assert [module.training for module in model] == [root, not root, root]
