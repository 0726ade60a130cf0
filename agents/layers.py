"""Names of agents with layers around them: `macd+every:5+band:0.05`.

A name is that of an agent, registered or an import path, and behind it any number of layers, each
`+WORD:NUMBER`, the innermost first. No registered name and no import path has a `+`, so that the first one
ends the agent's own name, whatever colons are in it: `package.module:Class+band:0.1`.
"""

from __future__ import annotations

from typing import NamedTuple

from qn_env.errors import ConfigError, did_you_mean

SIGN = "+"


class Layer(NamedTuple):
    """One layer of a name: `band:0.1`."""

    word: str
    number: float  # whole ones are int

    def __str__(self) -> str:
        return f"{self.word}:{self.number}"


class Kind(NamedTuple):
    """What a word of a layer stands for."""

    path: str  # package.module:Class
    number: str  # what its number is, in a word
    about: str


LAYERS = {
    "band": Kind("agents.less:Less", "WIDTH", "no trade while the target is within WIDTH of what is held"),
    "partial": Kind("agents.less:Less", "RATE", "every day a part RATE of the way from what is held"),
    "every": Kind("agents.less:Less", "DAYS", "a trade on each DAYS-th trading day of the market only"),
    "budget": Kind(
        "agents.budget:Budget",
        "TURNOVER",
        "trained at a price per trade that keeps it under TURNOVER times the capital a year",
    ),
    "mean": Kind("agents.mean:SeedMean", "SEEDS", "trained with SEEDS seeds, trades the mean of the signals"),
}


def base_of(name: str) -> str:
    """The agent inside all layers.

    Examples:
        >>> base_of("my_agents:Mine+mean:5+band:0.1")
        'my_agents:Mine'
    """
    return name.partition(SIGN)[0]


def split_layer(name: str) -> tuple[str, Layer | None]:
    """A name without its outermost layer, and that layer; None where there is none.

    Raises:
        ConfigError: an unknown layer, or one without a number.

    Examples:
        >>> split_layer("macd+every:5+band:0.05")
        ('macd+every:5', Layer(word='band', number=0.05))
        >>> split_layer("macd")
        ('macd', None)
    """
    inner, sign, text = name.rpartition(SIGN)
    if not sign:
        return name, None
    word, colon, written = text.partition(":")
    form = f"expected AGENT{SIGN}LAYER:NUMBER, with a layer of {', '.join(LAYERS)}"
    if not inner:
        raise ConfigError(f"{name!r} names no agent before its layers; {form}.")
    if word not in LAYERS:
        raise ConfigError(f"{name!r}: unknown layer {word!r}; {form}. {did_you_mean(word, LAYERS)}")
    kind = LAYERS[word]
    try:
        number = int(written) if written.isdecimal() else float(written)
    except ValueError:
        found = f"{written!r} is no number" if colon else "it has no number"
        raise ConfigError(f"{name!r}: {found}; expected {word}:{kind.number} ({kind.about}).") from None
    return inner, Layer(word, number)


def unwrapped(agent: object) -> object:
    """The agent inside all layers, of a mean its first; one without layers is itself."""
    return getattr(agent, "unwrapped", agent)
