"""Rendering: a picture of the episode so far, a window that follows it, and nothing for who does not look."""

from __future__ import annotations

import subprocess
import sys
import types
import warnings
from collections.abc import Iterator

import gymnasium
import imageio_ffmpeg
import matplotlib as mpl
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from gymnasium.wrappers import RecordVideo
from matplotlib.backend_bases import FigureManagerBase
from matplotlib.backends.backend_agg import FigureCanvasAgg

import qn_env
from qn_env.environment import TradingEnv
from qn_env.errors import ConfigError
from qn_env.panel import Panel
from qn_env.rendering import History, Screen, draw
from qn_env.sources.synthetic import ragged, weekdays

SHAPE = (600, 800, 3)


def backend(name: str) -> Iterator[types.ModuleType]:
    from matplotlib import pyplot

    before = mpl.rcParams["backend"]
    pyplot.switch_backend(name)
    yield pyplot
    pyplot.close("all")
    pyplot.switch_backend(before)


@pytest.fixture
def headless():
    """Pyplot as it is under MPLBACKEND=Agg."""
    yield from backend("agg")


@pytest.fixture
def windows(monkeypatch):
    """Pyplot with a backend that has windows of its own, which count their drawings."""

    class Manager(FigureManagerBase):
        shown = 0

        def show(self) -> None:
            Manager.shown += 1

    class Canvas(FigureCanvasAgg):
        manager_class = Manager
        drawn = 0

        def draw(self) -> None:
            Canvas.drawn += 1
            super().draw()

    module = types.ModuleType("windows_for_tests")
    module.FigureCanvas, module.FigureManager = Canvas, Manager
    monkeypatch.setitem(sys.modules, module.__name__, module)
    yield from backend(f"module://{module.__name__}")


def played(env: gymnasium.Env, days: int) -> gymnasium.Env:
    env.reset(seed=0)
    rng = np.random.default_rng(0)
    for _ in range(days):
        env.step(rng.uniform(-1, 1, env.action_space.shape))
    return env


def record(env: TradingEnv) -> History:
    return env._screen.history


def test_a_frame_shows_the_episode_so_far(panel):
    env = TradingEnv(panel, window=2, render_mode="rgb_array")
    first = played(env, 0).render()
    later = played(env, 30).render()
    for frame in (first, later):
        assert frame.shape == SHAPE
        assert frame.dtype == np.uint8
        assert len(np.unique(frame.reshape(-1, 3), axis=0)) > 20
    assert not np.array_equal(first, later)
    np.testing.assert_array_equal(env.render(), later)


def test_a_frame_is_memory_of_its_own(panel):
    env = played(TradingEnv(panel, render_mode="rgb_array"), 3)
    frame = env.render()
    kept = frame.copy()
    frame[...] = 0
    np.testing.assert_array_equal(env.render(), kept)


def test_what_is_drawn_is_what_was_played():
    panel = Panel.build(
        weekdays(4), ["A", "B", "C"], ["M", "M", "K"], np.array([[0.0] * 3, *[[0.1] * 3] * 3])
    )
    env = TradingEnv(panel, cost_bps=0.0, render_mode="rgb_array")
    env.reset()
    for signals in ([1.0, 0.5, -1.0], [0.0, 0.0, -0.5], [0.0, 0.0, 0.0]):
        equity = env.step(np.array(signals))[4]["equity"]
    seen = record(env)
    np.testing.assert_array_equal(seen.dates, panel.dates)
    np.testing.assert_allclose(seen.net, [[0, 0], [0.75, -1.0], [0, -0.5], [0, 0]])
    np.testing.assert_allclose(seen.net_of_all, [0, -0.125, -0.25, 0])
    np.testing.assert_allclose(seen.gross_of_all, [0, 0.875, 0.25, 0])
    np.testing.assert_allclose(seen.equity, [1.0, 0.9875, 0.9875 * 0.975, equity])
    np.testing.assert_allclose(seen.drawdown, seen.equity - 1.0)
    assert seen.markets == ("M", "K")


def test_every_episode_is_drawn_from_its_own_beginning(panel):
    env = played(TradingEnv(panel, render_mode="rgb_array"), 20)
    env.reset(options={"start": panel.dates[50], "markets": ["M1"]})
    assert record(env).dates.tolist() == panel.dates[50:51].tolist()
    env.step(np.full(8, 0.5))
    assert not record(env).net[:, [0, 2]].any()


def test_the_picture_begins_anew_at_a_state_that_was_set(panel):
    env = played(TradingEnv(panel, render_mode="rgb_array"), 20)
    state = env.get_state()
    played(env, 40).set_state(state)
    seen = record(env)
    assert seen.dates.tolist() == [panel.dates[20].item()]
    assert seen.equity[0] == state["equity"]


@pytest.mark.parametrize("markets", [1, 12, 13, 60])
def test_any_number_of_markets_ruin_and_the_first_day_are_drawn(markets):
    rng = np.random.default_rng(0)
    for days in (1, 2, 700):
        gross = rng.uniform(0, 3, days)
        history = History(
            dates=weekdays(days),
            equity=np.append(1.0 + 0.1 * rng.standard_normal(days - 1), -0.5),
            net=rng.standard_normal((days, markets)),
            net_of_all=gross * 0.5,
            gross_of_all=gross,
            markets=tuple(f"M{m}" for m in range(markets)),
        )
        assert draw(history).shape == SHAPE


def test_drawing_leaves_matplotlibs_global_state_alone(headless, panel):
    before = dict(mpl.rcParams)
    played(TradingEnv(panel, render_mode="rgb_array"), 3).render()
    assert dict(mpl.rcParams) == before
    assert headless.get_fignums() == []


@pytest.mark.parametrize("mode", [None, "rgb_array", "human"])
def test_gymnasiums_checker_finds_nothing_in_any_render_mode(headless, panel, mode):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_env(gymnasium.make(qn_env.ENV_ID, panel=panel, render_mode=mode).unwrapped)


@pytest.mark.parametrize("mode", ["rgb_array", "human"])
def test_looking_changes_nothing(headless, mode):
    panel = ragged(sizes=(2, 1), days=40, seed=0)
    seen, unseen = TradingEnv(panel, render_mode=mode), TradingEnv(panel)
    seen.reset(), unseen.reset()
    for signal in np.linspace(-1, 1, 30):
        found, wanted = (env.step(np.full(3, signal)) for env in (seen, unseen))
        assert found[1] == wanted[1]
        np.testing.assert_array_equal(found[0]["positions"], wanted[0]["positions"])
        seen.render()


def test_without_a_render_mode_nothing_is_kept_or_imported():
    code = """
import sys
import numpy as np, qn_env
from qn_env.sources.synthetic import noise
env = qn_env.TradingEnv(noise(markets=1, assets=1, days=9, seed=0), window=1)
env.reset(); env.step(np.zeros(1)); env.close()
print(env._screen, "matplotlib" in sys.modules)
"""
    assert subprocess.check_output([sys.executable, "-W", "error", "-c", code], text=True) == "None False\n"


def test_without_a_render_mode_render_says_so(panel):
    env = played(TradingEnv(panel), 1)
    with pytest.warns(UserWarning, match="without a render mode"):
        assert env.render() is None


def test_a_variant_of_an_environment_is_not_drawn(panel):
    env = TradingEnv(panel, render_mode="rgb_array")
    assert env.like(window=3).render_mode is None
    assert played(env.like(window=3), 1)._screen is None


def test_an_unknown_render_mode_is_refused(panel):
    with pytest.raises(ConfigError, match=r"unknown render_mode 'rgb'\. .*Known: human, rgb_array"):
        TradingEnv(panel, render_mode="rgb")


def test_rendering_before_reset_is_refused(panel):
    with pytest.raises(ConfigError, match="call reset first"):
        TradingEnv(panel, render_mode="rgb_array").render()


def test_a_missing_matplotlib_names_the_command(panel, monkeypatch):
    env = played(TradingEnv(panel, render_mode="rgb_array"), 1)
    monkeypatch.setitem(sys.modules, "matplotlib.backends.backend_agg", None)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ConfigError, match=r'Rendering needs the package \'matplotlib\'.*"qn-env\[report\]"'):
        env.render()


def test_a_window_follows_the_episode_by_itself(windows, panel):
    env = TradingEnv(panel, render_mode="human")
    env.reset()
    [number] = windows.get_fignums()
    canvas = windows.figure(number).canvas
    assert canvas.manager.shown == 1
    for _ in range(3):
        drawn = canvas.drawn
        env.step(np.zeros(8))
        assert canvas.drawn == drawn + 1
    assert env.render() is None
    assert canvas.drawn == drawn + 2
    assert len(canvas.figure.axes) == 3
    env.reset()
    assert windows.get_fignums() == [number], "the next episode is shown in the same window"
    env.close()
    env.close()
    assert windows.get_fignums() == []


def test_a_window_closed_by_the_user_stays_closed(windows, panel):
    env = played(TradingEnv(panel, render_mode="human"), 2)
    windows.close("all")
    played(env, 2).render()
    assert windows.get_fignums() == []
    env.close()
    played(env, 1)
    assert len(windows.get_fignums()) == 1


def test_without_a_display_human_mode_draws_nothing(headless, panel):
    env = played(TradingEnv(panel, render_mode="human"), 2)
    assert env.render() is None
    assert headless.get_fignums() == []
    env.close()
    env.close()


def test_a_screen_without_a_day_has_nothing_to_show(panel):
    with pytest.raises(ConfigError, match="before reset"):
        Screen("human", panel).render()


def test_gymnasium_records_a_playable_video(tmp_path, panel):
    env = TradingEnv(panel, window=2, episode_days=8, render_mode="rgb_array")
    with RecordVideo(env, str(tmp_path / "videos"), name_prefix="episode") as video:
        video.reset(seed=0)
        done = False
        while not done:
            *_, terminated, truncated, _ = video.step(video.action_space.sample())
            done = terminated or truncated
    [path] = (tmp_path / "videos").glob("*.mp4")
    decode = [imageio_ffmpeg.get_ffmpeg_exe(), "-i", str(path), "-f", "rawvideo", "-pix_fmt", "rgb24", "-"]
    found = subprocess.run(decode, capture_output=True, check=True)
    assert b"800x600" in found.stderr
    assert b"30 fps" in found.stderr
    shown = np.frombuffer(found.stdout, dtype=np.uint8).reshape(-1, *SHAPE)
    assert len(shown) == 9
    # The last picture is the last day's, but for the codec.
    assert np.abs(shown[-1].astype(float) - env.render()).mean() < 3.0
