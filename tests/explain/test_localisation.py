import pytest
import torch

from saam.explain import area_share, mass_share, pointing_game, relative_mass


def one(rows: list[list[float]]) -> torch.Tensor:
    return torch.tensor(rows, dtype=torch.float64)


MAPS = torch.stack([one([[0.1, 0.2], [0.3, 0.4]]), one([[0.7, 0.1], [0.1, 0.1]])])[None]  # (1, 2, 2, 2)


def test_mass_share_by_hand() -> None:
    mask = one([[1, 0], [1, 0]])[None]
    assert mass_share(MAPS, mask) == pytest.approx(torch.tensor([[0.4, 0.8]]).numpy())
    assert area_share(MAPS, mask).item() == 0.5
    assert relative_mass(MAPS, mask) == pytest.approx(torch.tensor([[0.8, 1.6]]).numpy())


def test_a_cell_counts_by_how_much_of_it_is_object() -> None:
    mask = torch.zeros(1, 4, 4, dtype=torch.bool)
    mask[0, 2:, 3] = True  # half of the lower right cell
    mask[0, 0, 0] = True  # a quarter of the upper left cell
    # heads: .1/4 + .4/2 and .7/4 + .1/2
    assert mass_share(MAPS, mask) == pytest.approx(torch.tensor([[0.225, 0.225]]).numpy())
    assert area_share(MAPS, mask).item() == pytest.approx(3 / 16)


@pytest.mark.parametrize("size", [(2, 2), (3, 5), (7, 4)])
def test_a_uniform_map_has_relative_mass_one(size: tuple[int, int]) -> None:
    masks = torch.rand(3, 11, 13, generator=torch.Generator().manual_seed(0)) > 0.7
    maps = torch.full((3, 2, *size), 1 / (size[0] * size[1]))
    assert relative_mass(maps, masks) == pytest.approx(torch.ones(3, 2).numpy(), abs=1e-6)


def test_pointing_game_by_hand() -> None:
    # peaks: head 0 lower right cell, centre (3, 3); head 1 upper left cell, centre (1, 1)
    mask = torch.zeros(1, 4, 4, dtype=torch.bool)
    mask[0, 3, 3] = True
    assert pointing_game(MAPS, mask).tolist() == [[1, 0]]
    assert pointing_game(MAPS, mask, tolerance=1).tolist() == [[1, 0]]
    assert pointing_game(MAPS, mask, tolerance=2).tolist() == [[1, 1]]


def test_peaks_that_tie_share_the_point() -> None:
    tied = one([[0.4, 0.1], [0.1, 0.4]])[None, None]
    assert pointing_game(tied, torch.tensor([[[1, 0], [0, 0]]])).item() == 0.5
    flat = torch.full((1, 1, 2, 2), 0.25)
    assert pointing_game(flat, torch.tensor([[[1, 1], [1, 0]]])).item() == 0.75


def test_mistakes_are_named() -> None:
    with pytest.raises(ValueError, match=r"masks \(B, H, W\), got \(1, 2, 2, 2\), \(2, 2, 2\)"):
        mass_share(MAPS, torch.ones(2, 2, 2))
    with pytest.raises(ValueError, match="at least as fine as the maps"):
        pointing_game(MAPS, torch.ones(1, 1, 2))
    with pytest.raises(ValueError, match=r"masks \[1\] are empty"):
        relative_mass(MAPS.repeat(2, 1, 1, 1), torch.stack([torch.ones(2, 2), torch.zeros(2, 2)]))
    with pytest.raises(ValueError, match="tolerance >= 0"):
        pointing_game(MAPS, torch.ones(1, 2, 2), tolerance=-1)
