"""Where a network is trained: on the CPU or on a CUDA device.

The device is a place and no hyperparameter. A training moves network and data there once and brings the
trained network back; what is drawn at random is drawn on the CPU and moved, so that a seed means the same
draws everywhere; signals are always made on the CPU. Only rounding differs between devices.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from qn_env.checks import check_device
from qn_env.errors import ConfigError


def resolve(name: str) -> torch.device:
    """The device of a name: cpu, cuda (the first card), cuda:N, or auto (cuda where there is one).

    Raises:
        ConfigError: an unknown name, or a card that there is not.

    Examples:
        >>> resolve("cpu")
        device(type='cpu')
    """
    check_device("device", name)
    if name == "cpu" or (name == "auto" and not torch.cuda.is_available()):
        return torch.device("cpu")
    number = int(name.partition(":")[2] or 0)
    count = torch.cuda.device_count()
    if number >= count or not torch.cuda.is_available():
        raise ConfigError(_absent(name, count))
    return torch.device("cuda", number)


def on_card(name: str) -> bool:
    """Whether a name means a card, here or on the machine that trains; auto does where this one has a card.

    Examples:
        >>> on_card("cuda:1"), on_card("cpu")
        (True, False)
    """
    return torch.cuda.is_available() if name == "auto" else name != "cpu"


def card_of(device: torch.device) -> str | None:
    """What the card of a device is called; None of the CPU."""
    return None if device.type == "cpu" else torch.cuda.get_device_name(device)


@contextmanager
def placed(network: nn.Module, device: torch.device) -> Iterator[None]:
    """Inside the block the network is on the device, after it on the CPU, whatever happened.

    cuDNN's recurrent kernels round float32 to ten bits of mantissa (TF32) unless they are told not to, and
    choose among algorithms of which some do not repeat their last digits; inside the block they do neither.
    """
    network.to(device)
    try:
        if device.type == "cuda":
            with torch.backends.cudnn.flags(enabled=True, deterministic=True, allow_tf32=False):
                yield
        else:
            yield
    finally:
        network.to("cpu")


def _absent(name: str, count: int) -> str:
    """What is said of a card that there is not."""
    cuda, rocm = torch.version.cuda, torch.version.hip
    built = f"for CUDA {cuda}" if cuda else f"for ROCm {rocm}" if rocm else "without CUDA"
    if count:
        advice = f"Take one of {', '.join(f'cuda:{k}' for k in range(count))}"
    elif cuda or rocm:
        advice = "Look whether nvidia-smi shows a card and what CUDA_VISIBLE_DEVICES says"
    else:
        advice = "Install a build of torch with CUDA (https://pytorch.org/get-started/locally)"
    return (
        f"device is {name!r}, which there is not: torch {torch.__version__} is built {built} and finds "
        f"{count} device{'s' * (count != 1)}. {advice}, or take cpu."
    )
