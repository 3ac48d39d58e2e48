"""Every registered attention computes the same in ONNX Runtime, for numbers and sizes that the export has not seen."""

import pytest
import torch
from torch import nn

from saam.export import to_onnx
from saam.models import Preprocessing
from saam.nn import attention_record, create_attention, list_attentions

CHANNELS, SIZE = 16, (16, 12)
SMALL = Preprocessing(SIZE, (0.5, 0.5, 0.5), (0.2, 0.2, 0.2), ("cat", "dog"))


class Around(nn.Module):
    """A network of two layers around an attention."""

    def __init__(self, attention):
        super().__init__()
        self.stem = nn.Conv2d(3, CHANNELS, 3, padding=1)
        self.attention = attention
        self.head = nn.Linear(CHANNELS, 2)

    def forward(self, x):
        return self.head(self.attention(self.stem(x)).mean((2, 3)))


def network(name, **options):
    """Return a small network with random values in every parameter and statistic of the attention."""
    record = attention_record(name)
    attention = create_attention(name, CHANNELS, **record.options_at(size=SIZE, stage=2), **options)
    with torch.no_grad():
        for parameter in attention.parameters():
            parameter.copy_(torch.randn_like(parameter) / parameter[0].numel() ** 0.5)
    return Around(attention).eval()


@pytest.mark.parametrize("name", list_attentions())
def test_parity(name, tmp_path):
    exported = to_onnx(network(name), tmp_path / "net.onnx", preprocessing=SMALL)
    assert exported.difference < 1e-5
    expected = ("batch",) if "size" in attention_record(name).needs else ("batch", "height", "width")
    assert exported.axes == expected


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("saam", {"heads": 4}),
        ("saam", {"scorer": "channel", "kernel_size": 3}),
        ("cbam-channel", {"squeeze": "mean+score"}),
        ("eca", {"squeeze": "score"}),
    ],
    ids=str,
)
def test_parity_of_score_maps(name, options, tmp_path):
    exported = to_onnx(network(name, **options), tmp_path / "net.onnx", preprocessing=SMALL, maps=True, sharpness=True)
    assert exported.difference < 1e-5
    assert exported.outputs == ("logits", "model")
