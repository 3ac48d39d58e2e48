"""The attentions that the grammar composes: squeeze, excitation and gate."""

import torch

from saam.nn import ChannelAttention, attention_record, create_attention, list_attentions


def composed(name):
    with torch.device("meta"):
        return isinstance(create_attention(name, 64, **attention_record(name).options_at()), ChannelAttention)


GRAMMAR = [name for name in list_attentions() if composed(name)]
