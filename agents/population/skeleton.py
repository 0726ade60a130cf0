"""A network that `torch.func.vmap` can read for many members at once.

Everything of a network that is plain PyTorch is read as it is; torch's own LSTM is replaced by one of the
same parameters that takes K networks (`agents.lstm.members`).
"""

from __future__ import annotations

from torch import nn

from agents.lstm.members import MemberLstm


def for_members(network: nn.Module) -> nn.Module:
    """The same network with every LSTM replaced, in place; a part with a `for_members` of its own is told."""
    if (changed := getattr(network, "for_members", None)) is not None:
        changed()
    for name, child in network.named_children():
        if isinstance(child, nn.LSTM):
            setattr(network, name, MemberLstm(child))
        else:
            for_members(child)
    return network
