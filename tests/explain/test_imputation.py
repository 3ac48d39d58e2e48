import pytest
import torch

from saam.explain.imputation import impute


def literal(image, removed):
    """Solve for one channel (H, W), equation by equation."""
    h, w = image.shape
    a, b = torch.eye(h * w, dtype=torch.float64), image.flatten().double().clone()
    for i in range(h):
        for j in range(w):
            if not removed[i, j]:
                continue
            weights = {
                (i + di, j + dj): 1 / 12 if di and dj else 1 / 6
                for di in (-1, 0, 1)
                for dj in (-1, 0, 1)
                if (di or dj) and 0 <= i + di < h and 0 <= j + dj < w
            }
            b[i * w + j] = 0
            for (k, m), weight in weights.items():
                a[i * w + j, k * w + m] -= weight / sum(weights.values())
    return torch.linalg.solve(a, b).view(h, w)


def test_removed_pixels_are_the_weighted_means_of_their_neighbours():
    x = torch.randn(3, 2, 6, 9, dtype=torch.float64)
    removed = torch.rand(3, 6, 9) < torch.tensor([0.3, 0.9, 0.0]).view(3, 1, 1)
    filled = impute(x, removed)
    for image in range(3):
        for channel in range(2):
            expected = literal(x[image, channel], removed[image])
            assert filled[image, channel] == pytest.approx(expected.numpy(), abs=1e-10)
    assert torch.equal(filled[2], x[2])


def test_noise_is_drawn_for_removed_pixels_only():
    x, removed = torch.zeros(1, 3, 20, 20), torch.zeros(1, 20, 20, dtype=torch.bool)
    removed[:, :10] = True
    filled = impute(x, removed, generator=torch.Generator().manual_seed(0))
    assert filled[:, :, 10:].abs().max() == 0
    assert filled[:, :, :10].std().item() == pytest.approx(0.01, rel=0.2)
    assert torch.equal(filled, impute(x, removed, generator=torch.Generator().manual_seed(0)))


def test_mistakes_are_named():
    with pytest.raises(ValueError, match=r"bool \(B, H, W\), got \(1, 3, 4, 4\) and torch.bool \(1, 4, 5\)"):
        impute(torch.zeros(1, 3, 4, 4), torch.zeros(1, 4, 5, dtype=torch.bool))
    with pytest.raises(ValueError, match="expected a kept pixel in every image"):
        impute(torch.zeros(1, 3, 4, 4), torch.ones(1, 4, 4, dtype=torch.bool))
