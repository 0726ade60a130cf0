"""`qn attended`: which stretches of other assets' days a decision of a trained agent attended to."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from experiments.settings.config import NAMES, PanelConfig
from qn_env.errors import ConfigError

if TYPE_CHECKING:
    from experiments.artefacts.attention import Decision
    from experiments.storage.store import RunFolder
    from qn_env.panel import Panel


@dataclass(frozen=True, kw_only=True)
class AttendedTo(PanelConfig):
    """Which context sequences a decision of an agent of a finished run attended to, as a table and a figure.

    For agents that can tell, as x-trend; each as it was trained for the run's last test block.
    """

    run: Path
    """Folder of the finished run."""

    agent: str
    """The agent, as the run calls it."""

    market: str
    """Market of the asset whose decision it is."""

    asset: str
    """Its name."""

    day: str | None = None
    """Day of the decision, as 2020-03-16; default: the asset's last."""

    seed: int | None = None
    """The agent trained with this seed; default: the run's first."""

    out: Path | None = None
    """Folder for attended.png and attended.svg; default: no figure."""

    trust: Annotated[tuple[str, ...], NAMES] = ()
    """Import paths of agents that the run may name, whose code is run; default: qn_env's own agents only."""


def attended_to(config: AttendedTo) -> int:
    """Print what the decision attended to, the heaviest first, and draw it where that is asked for."""
    from experiments.artefacts.attention import attention_figure
    from experiments.artefacts.drawing import write_drawing
    from experiments.artefacts.items import Drawing
    from experiments.running.runner import load_panel
    from experiments.storage.store import RunFolder

    folder = RunFolder.of_finished(config.run)
    with folder.consistent_files():
        found = _decision(folder, load_panel(config), config)
    print(f"{found.target.name}, {found.day}: signal {found.signal:+.4f}")
    for stretch, weight in found.attended:
        first, last = stretch.first.astype("datetime64[D]"), stretch.last.astype("datetime64[D]")
        print(f"{weight:7.2%}  {stretch.name}  {first} to {last}")
    print(f"{found.none:7.2%}  none of them")
    if config.out is not None:
        config.out.mkdir(parents=True, exist_ok=True)
        drawing = Drawing(
            name="attended",
            title="What a decision attended to",
            caption="Stretches of days, shaded by their share of the attention.",
            draw=lambda: attention_figure(found),
        )
        write_drawing(drawing, config.out)
        print(f"Drawn in {config.out / 'attended.png'}.")
    return 0


def _decision(folder: RunFolder, panel: Panel, config: AttendedTo) -> Decision:
    from experiments.artefacts.attention import decision_of
    from experiments.running.today import players

    _, agents, panel = players(folder, config.agent, panel, seed=config.seed, trust=config.trust)
    agent = next(iter(agents.values()))
    if not hasattr(agent, "attended"):
        raise ConfigError(f"agent {config.agent!r} cannot tell what a decision attended to; x-trend can.")
    if (config.market, config.asset) not in zip(panel.market_of, panel.assets, strict=True):
        raise ConfigError(f"the panel has no asset {config.asset!r} in a market {config.market!r}.")
    return decision_of(agent, panel, config.market, config.asset, config.day)
