"""Trainings side by side: each ends where it would have ended alone, whoever trains beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

import agents.population.loop as loop
from agents import make_agent
from agents.audit import audit_agent
from agents.dmn import DeepMomentum
from agents.dmn.architectures import ARCHITECTURES
from agents.dmn.course import Course
from agents.dmn.network import Dropping, kept_of
from agents.dmn.population import train_courses
from agents.population import Fit, Job
from agents.population.kin import kin_of, leaves
from agents.population.masks import Plan
from agents.population.stack import Stack
from agents.quantnet import QuantNet
from agents.quantnet.course import Course as MarketCourse
from agents.quantnet.network import QuantNetwork
from agents.quantnet.population import train_courses as train_market_courses
from agents.quantnet.shared import SharedNetwork
from agents.resuming import Keeper
from agents.training import Monitor
from qn_env.environment import TradingEnv
from qn_env.errors import ConfigError, QnError
from qn_env.panel import Panel
from qn_env.sources.synthetic import noise, ragged
from qn_env.windows import mean_window_sharpe, member_sharpes

CPU = torch.device("cpu")
K = 8
# Architectures, what a row of data is, losses, costs and delays.
DMN: dict[str, dict[str, Any]] = {
    "lstm": {"network": "lstm"},
    "lstm without dropout": {"network": "lstm", "dropout": 0.0},
    "lstm net of costs, late": {"network": "lstm", "train_cost_bps": 5.0, "execution_lag": 1},
    "linear": {"network": "linear"},
    "linear net of costs": {"network": "linear", "train_cost_bps": 5.0},
    "mlp": {"network": "mlp"},
    "wavenet": {"network": "wavenet"},
    "wavenet net of costs": {"network": "wavenet", "train_cost_bps": 5.0},
    "transformer": {"network": "transformer", "heads": 2, "context": 10},
    "lstm with vectors of assets": {"network": "lstm", "static": 2, "epochs": 3},
    "mlp with vectors of assets": {"network": "mlp", "static": 2, "epochs": 3},
    "vsn-lstm": {"network": "vsn-lstm", "epochs": 3},
    "tft": {"network": "tft", "heads": 2, "context": 10, "epochs": 3},
    "xlstm": {"network": "xlstm", "heads": 2, "epochs": 3},
    "patchtst": {"network": "patchtst", "heads": 2, "context": 16, "epochs": 3},
    "lstm-patchtst": {"network": "lstm-patchtst", "heads": 2, "context": 10, "epochs": 3},
    "dlinear net of costs": {"network": "dlinear", "context": 30, "train_cost_bps": 5.0, "epochs": 3},
    "itransformer": {"network": "itransformer", "heads": 2, "context": 10, "epochs": 3},
    "mamba2": {"network": "mamba2", "heads": 2, "epochs": 3},
}
MARKETS: dict[str, dict[str, Any]] = {
    "market": {},
    "shared": {"weights": "shared"},
    "no transfer": {"transfer": None},
    "linear": {"transfer": None, "encoder": "linear", "lags": 3},
    "some markets a step": {"markets": 2},
    "shared, some markets a step": {
        **{"weights": "shared", "markets": 2, "transfer": "lstm", "transfer_dropout": 0.3}
    },
    "pooled": {"pooled": True},
    "shared, pooled": {"weights": "shared", "pooled": True},
    "two layers net of costs, late": {
        "train_cost_bps": 5.0,
        "aligned": True,
        "layers": 2,
        "execution_lag": 1,
    },
}
PRECISION = {"float32": 1e-5, "float64": 1e-10}
# Every case is held to the tighter bar in float64, the first of each kind in float32; the others are slow.
FIRST = ("lstm", "linear", "transformer", "vsn-lstm", "market", "shared")


def in_each(cases: Mapping[str, object]) -> pytest.MarkDecorator:
    """Every case in both precisions."""
    return pytest.mark.parametrize(
        ("case", "precision"),
        [
            pytest.param(
                case,
                precision,
                marks=[] if precision == "float64" or case in FIRST else pytest.mark.slow,
            )
            for case in cases
            for precision in PRECISION
        ],
    )


@lru_cache
def market() -> Panel:
    return ragged(sizes=(2, 2, 3), days=640, seed=3)


@lru_cache
def short() -> Panel:
    """Enough for what reads returns alone."""
    return ragged(sizes=(2, 3, 4), days=160, seed=3)


def environments(agent: Any, lag: int = 0) -> tuple[TradingEnv, TradingEnv]:
    panel, asked = (short() if isinstance(agent, QuantNet) else market()), agent.settings
    last = int(0.75 * len(panel.dates))
    options: dict[str, Any] = {
        "window": 1,
        "features": asked.features,
        "vol_target": asked.vol_target,
        "cost_bps": asked.train_cost_bps,
        "execution_lag": lag,
    }
    learn = TradingEnv(panel.until(panel.dates[last]), **options)
    return learn, TradingEnv(panel, start=panel.dates[last + 1], **options)


def own(k: int, dropout: float = 0.2) -> dict[str, Any]:
    """What one member differs in from the others."""
    return {
        "dropout": dropout and 0.1 + 0.05 * k,
        "learning_rate": 10.0 ** -(2.0 + 0.2 * k),
        "max_norm": (1.0, 0.1, 10.0)[k % 3],
        "patience": 2 + k % 3,
    }


def dmn_courses(model: str, members: int = K, *, precision: str = "float32", **more: Any) -> list[Course]:
    """Trainings of some 20 steps, of every loss."""
    options = dict(DMN[model])
    lag = options.pop("execution_lag", 0)
    known: Any = {}
    found = []
    batch = 512 if ARCHITECTURES[options["network"]].one_by_one else 16
    for k in range(members):
        chosen = options | own(k, options.get("dropout", 0.2)) | {"l1": 1e-3 * k, "temperature": 1.0 + k}
        agent = DeepMomentum(
            hidden=6,
            length=30,
            batch=batch,
            loss=("sharpe", "mse", "average", "binary", "softmin")[k % 5],
            **({"epochs": 5} | chosen | more),
        )
        learn, held = environments(agent, lag)
        course = agent.course(learn, k, held, known)
        found.append(course if precision == "float32" else doubled(course))
    return found


def doubled(course: Course) -> Course:
    """The same in float64."""
    course.network.double()
    parts = {
        name: getattr(course.learn, name).double() for name in ("inputs", "past") if is_tensor(course, name)
    }
    held = replace(course.held, inputs=course.held.inputs.double(), past=course.held.past.double())
    return replace(course, learn=replace(course.learn, **parts), held=held)


def is_tensor(course: Course, name: str) -> bool:
    return isinstance(getattr(course.learn, name), Tensor)


def market_courses(
    kind: str, members: int = K, *, precision: str = "float32", **more: Any
) -> list[MarketCourse]:
    """Trainings of 20 steps."""
    options = dict(MARKETS[kind])
    lag = options.pop("execution_lag", 0)
    known: Any = {}
    found = []
    for k in range(members):
        chosen = {"steps": 20, "epoch": 4, "batch": 3, "length": 21} | options | own(k) | more
        agent = QuantNet(**chosen)
        learn, held = environments(agent, lag)
        network = agent._begin(learn, k)
        if precision == "float64":
            network.double()
        found.append(
            MarketCourse.of(
                agent.config,
                network,
                learn,
                held,
                agent.unit_,
                seed=k,
                monitor=agent.monitor,
                device=CPU,
                known=known,
            )
        )
    return found


def weights(courses: Sequence[Any]) -> list[Tensor]:
    """[P] all weights of every member's network, but for one that moves nothing.

    A bias of the keys shifts all scores of a query alike, and its gradient is rounding, of which Adam makes
    steps of full size.
    """
    return [
        torch.cat(
            [p.flatten() for name, p in c.network.state_dict().items() if name != "attention.keys.bias"]
        )
        for c in courses
    ]


def assert_alike(together: Sequence[Any], apart: Sequence[Any], precision: str) -> None:
    for one, other in zip(weights(together), weights(apart), strict=True):
        assert float((one - other).norm() / other.norm()) < PRECISION[precision]


@in_each(DMN)
def test_a_deep_momentum_network_ends_where_it_ends_alone(case, precision):
    apart, together = (dmn_courses(case, precision=precision) for _ in range(2))
    trainings, ends = [course.alone() for course in apart], train_courses(together, CPU)
    assert_alike(together, apart, precision)
    for one, other in zip(ends, trainings, strict=True):
        assert (one.epochs, one.best_epoch) == (other.epochs, other.best_epoch)
        assert one.best_score == pytest.approx(other.best_score, rel=1e-4, abs=1e-4)


@in_each(MARKETS)
def test_a_quantnet_ends_where_it_ends_alone(case, precision, monkeypatch):
    if precision == "float64":
        monkeypatch.setattr(QuantNetwork, "inputs_of", lambda _self, episode: episode.inputs.double())
        monkeypatch.setattr(SharedNetwork, "inputs_of", lambda _self, episode: episode.features.double())
    apart, together = (market_courses(case, precision=precision) for _ in range(2))
    trainings, ends = [course.alone() for course in apart], train_market_courses(together, CPU)
    assert_alike(together, apart, precision)
    for one, other in zip(ends, trainings, strict=True):
        assert (one.epochs, one.best_epoch) == (other.epochs, other.best_epoch)
        assert one.best_score == pytest.approx(other.best_score, rel=1e-4, abs=1e-4)


@pytest.mark.parametrize("model", ["lstm", "linear", "wavenet", "transformer"])
def test_a_member_does_not_depend_on_who_trains_beside_it(model):
    """But for the last digits, which depend on where a number stands in a vector of the processor."""
    many, few = (dmn_courses(model, precision="float64") for _ in range(2))
    train_courses(many, CPU)
    chosen = [few[k] for k in (1, 4, 6)]
    train_courses(chosen, CPU)
    assert_alike(chosen, [many[k] for k in (1, 4, 6)], "float64")


KILLABLE: dict[str, Any] = {
    "linear": lambda: dmn_courses("linear", epochs=9),
    "lstm": lambda: dmn_courses("lstm"),
    "transformer": lambda: dmn_courses("transformer", 4),
    "shared": lambda: market_courses("shared", 4),
}


class KilledError(Exception):
    """In place of a signal."""


@pytest.mark.parametrize(
    ("courses", "moment"),
    [
        *(("linear", moment) for moment in (0.15, 0.3, 0.45, 0.6, 0.75, 0.9, "storing")),
        *((courses, moment) for courses in ("lstm", "transformer", "shared") for moment in (0.6, "storing")),
    ],
)
def test_a_population_that_was_killed_ends_with_the_same_bytes(courses, moment, tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "STORED_EVERY", 0.0)
    through, *others = (KILLABLE[courses]() for _ in range(3))
    train = train_courses if isinstance(through[0], Course) else train_market_courses
    ends = train(through, CPU)

    def watched(these: list[Any]) -> list[Any]:
        monitors = [Monitor(checkpoints=tmp_path / str(k)) for k in range(len(these))]
        return [replace(c, job=replace(c.job, monitor=m)) for c, m in zip(these, monitors, strict=True)]

    def kill(done: int, _total: int) -> None:
        if moment != "storing" and done >= moment * sum(end.epochs for end in ends):
            raise KilledError

    stored = []

    def store(keeper: Keeper, *given: Any) -> None:
        stored.append(keeper)
        if moment == "storing" and len(stored) > 2 * len(through) + 1:  # some members, not all
            raise KilledError
        kept(keeper, *given)

    kept = Keeper.save
    with monkeypatch.context() as patch:
        patch.setattr(Keeper, "save", store)
        with pytest.raises(KilledError):
            train(watched(others[0]), CPU, kill)
    again = watched(others[1])
    assert train(again, CPU) == ends
    for one, other in zip(weights(again), weights(through), strict=True):
        assert torch.equal(one, other)


def test_a_training_goes_on_alone_where_it_was_one_of_many(tmp_path, monkeypatch):
    """And the other way round: what is stored does not say how it was trained."""

    def watched(epochs: int) -> list[Course]:
        courses = dmn_courses("lstm", 3, precision="float64")
        monitors = [
            Monitor(checkpoints=tmp_path / str(k), ends=lambda state: state.epochs >= epochs)
            for k in range(3)
        ]
        return [replace(c, job=replace(c.job, monitor=m)) for c, m in zip(courses, monitors, strict=True)]

    through = dmn_courses("lstm", 3, precision="float64")
    for course in through:
        course.alone()
    train_courses(watched(2), CPU)
    for course in watched(4):
        course.alone()
    last = watched(100)
    train_courses(last, CPU)
    assert_alike(last, through, "float64")


def test_a_member_whose_loss_is_no_number_fails_and_the_others_go_on():
    courses, others = dmn_courses("lstm", 4), dmn_courses("lstm", 4)
    for group in courses[2].job.optimizer.param_groups:
        group["lr"] = 1e38
    ends = train_courses(courses, CPU)
    assert isinstance(ends[2], QnError)
    assert "the training loss is nan; lower the learning rate" in str(ends[2])
    train_courses(others, CPU)
    for k in (0, 1, 3):
        assert torch.equal(weights(courses)[k], weights(others)[k])


def test_members_are_ended_by_their_own_monitors():
    courses = dmn_courses("linear", 4)
    for k, course in enumerate(courses):
        monitor = Monitor(progress=lambda _d, _t: None, ends=lambda state, k=k: state.epochs > k)
        courses[k] = replace(course, job=replace(course.job, monitor=monitor, patience=100))
    assert [end.epochs for end in train_courses(courses, CPU)] == [1, 2, 3, 4]


def test_windows_of_a_protocol_train_together():
    """Blocks of different lengths: members have different numbers of steps, and wait for each other."""

    def courses() -> list[Course]:
        found = []
        for k, end in enumerate((420, 480, 520)):
            agent = DeepMomentum(hidden=5, length=30, batch=16, epochs=4)
            learn, held = environments(agent)
            panel = market()
            found.append(
                agent.course(learn.like(panel=panel.until(panel.dates[end]), start=None, warmup=0), k, held)
            )
        return found

    apart, together = courses(), courses()
    assert len({len(course.learn) for course in apart}) == 3
    for course in apart:
        course.alone()
    train_courses(together, CPU)
    assert_alike(together, apart, "float32")


def test_progress_is_that_of_all_members():
    told: list[tuple[int, int]] = []
    courses = dmn_courses("linear", 4)
    train_courses(courses, CPU, lambda done, total: told.append((done, total)))
    assert {total for _, total in told} == {20}
    assert [done for done, _ in told] == sorted(done for done, _ in told)


# Agents.


def test_agents_that_train_together_are_those_that_trained_alone_and_pass_the_audit():
    def fits() -> list[Fit]:
        chosen = [
            DeepMomentum(hidden=5, epochs=3, length=30, loss="sharpe"),
            DeepMomentum(hidden=5, epochs=3, length=30, loss="mse"),
            DeepMomentum(network="linear", epochs=3),
        ]
        return [Fit(agent, *environments(agent)[:1], 7, environments(agent)[1]) for agent in chosen]

    apart, together = fits(), fits()
    for agent, env, seed, held in apart:
        agent.fit(env, seed=seed, validation=held)
    assert DeepMomentum.fit_together(together) == [None, None, None]
    for one, other in zip(together, apart, strict=True):
        np.testing.assert_allclose(one.agent.signals(market()), other.agent.signals(market()), atol=1e-4)
        assert one.agent.training_.epochs == other.agent.training_.epochs
        audit_agent(one.agent, one.validation, seed=0)


def test_markets_learnt_together_pass_the_audit_and_load_as_they_were(tmp_path: Path):
    agents = [QuantNet(steps=8, epoch=4, batch=3, length=21, dropout=0.1 * (k + 1)) for k in range(2)]
    fits = [Fit(agent, *environments(agent)[:1], k, environments(agent)[1]) for k, agent in enumerate(agents)]
    assert QuantNet.fit_together(fits) == [None, None]
    for fit in fits:
        audit_agent(fit.agent, fit.validation, seed=0)
        fit.agent.save(tmp_path / str(fit.seed))
        np.testing.assert_array_equal(
            QuantNet.load(tmp_path / str(fit.seed)).signals(short()), fit.agent.signals(short())
        )


def test_kin_share_architecture_width_and_batch_and_nothing_else():
    base = kin_of(DeepMomentum())
    assert base == kin_of(DeepMomentum(dropout=0.5, learning_rate=1.0, loss="mse", max_norm=3.0, epochs=1))
    others = ({"hidden": 5}, {"batch": 8}, {"network": "mlp"}, {"dropout": 0.0}, {"length": 21})
    assert all(kin_of(DeepMomentum(**other)) != base for other in others)
    assert kin_of(make_agent("macd")) is None
    assert kin_of(make_agent("rrl")) is None


def test_layers_train_what_is_inside_with_its_kin():
    bare = make_agent("dmn-linear-sharpe")
    agent: Any = make_agent("dmn-linear-sharpe+mean:3+band:0.1")
    assert kin_of(agent) == kin_of(bare)
    fit = Fit(agent, *environments(bare)[:1], 5, None)
    inside = leaves(fit)
    assert [type(leaf.agent) for leaf in inside] == [DeepMomentum] * 3
    assert len({leaf.seed for leaf in inside}) == 3
    assert kin_of(make_agent("dmn-linear-sharpe+budget:50")) is None


# Parts.


class Net(Dropping):
    """Masks with the batch on their first, second and last axis."""

    def forward(self, rows: int) -> list[Tensor]:
        like = torch.zeros(())
        return [self.mask(shape, like) for shape in ((rows, 3), (2, rows, 5), (7, rows))]


@settings(max_examples=30, deadline=None)
@given(batch=st.integers(1, 9), rest=st.integers(0, 8), full=st.integers(0, 3), rate=st.floats(0.01, 0.9))
def test_masks_are_those_that_a_network_draws_alone(batch, rest, full, rate):
    rest = min(rest, batch - 1)
    steps = [batch] * full + ([rest] if rest else [])
    if not steps:
        return
    alone, asked = Net(rate), Net(rate)
    alone.train()
    alone.generator.manual_seed(5)
    wanted = [alone(rows) for rows in steps]

    def ask(rows: int, source: Any) -> None:
        asked.masks = source
        asked.train()(rows)

    plan = Plan.of(ask, batch)
    words = plan.draw(torch.Generator().manual_seed(5), steps)
    kept = kept_of(rate)
    threshold, scale = torch.tensor([kept - 2**15]).to(torch.int16), torch.tensor([2.0**16 / kept])
    for step, rows in enumerate(steps):
        masks = plan.masks(words[step][None], threshold, scale)
        for place, mask, mine in zip(plan.places, masks, wanted[step], strict=True):
            assert torch.equal(mask[0].narrow(place.batch_axis, 0, rows), mine)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 1000), amsgrad=st.booleans(), decay=st.sampled_from([0.0, 0.01]))
def test_steps_are_those_of_torchs_optimiser(seed, amsgrad, decay):
    """Clipped, and only where a member or a parameter takes one."""
    rng = torch.Generator().manual_seed(seed)
    networks = [nn.Linear(3, 2).double() for _ in range(4)]
    for network in networks:
        for parameter in network.parameters():
            parameter.data.normal_(generator=rng)
    optimizers = [
        torch.optim.Adam(n.parameters(), lr=0.1 / (k + 1), amsgrad=amsgrad, weight_decay=decay)
        for k, n in enumerate(networks)
    ]
    jobs = [
        Job(
            network=n,
            optimizer=o,
            epochs=1,
            patience=1,
            max_norm=0.5 * (k + 1),
            title="",
            identity="",
            generators={},
            monitor=Monitor(),
        )
        for k, (n, o) in enumerate(zip(networks, optimizers, strict=True))
    ]
    stack = Stack(jobs, CPU)
    for _ in range(6):
        x = torch.randn(4, 5, 3, generator=rng, dtype=torch.float64)
        takes = torch.rand(4, 2, generator=rng) > 0.3
        hidden = torch.einsum("koi,kbi->kbo", stack.weights["weight"], x) + stack.weights["bias"][:, None]
        stack.step((hidden**3).sum((1, 2)), takes.double())
        for k, network in enumerate(networks):
            optimizers[k].zero_grad()
            (network(x[k]) ** 3).sum().backward()
            nn.utils.clip_grad_norm_(network.parameters(), jobs[k].max_norm)
            for parameter, on in zip(network.parameters(), takes[k], strict=True):
                parameter.grad = parameter.grad if on else None
            optimizers[k].step()
    expected = torch.stack([torch.cat([p.detach().flatten() for p in n.parameters()]) for n in networks])
    torch.testing.assert_close(stack.flat, expected, rtol=1e-12, atol=1e-13)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 1000), lag=st.sampled_from([0, 2]), cost=st.sampled_from([0.0, 5.0]))
def test_the_objective_of_members_is_each_ones_own(seed, lag, cost):
    panel = ragged(sizes=(2, 3), days=60, seed=seed)
    episodes = TradingEnv(panel, cost_bps=cost, execution_lag=lag, window=1).episodes()
    rng = torch.Generator().manual_seed(seed)
    names, members, B = list(episodes.markets), 3, 4
    present = (torch.rand(members, len(names), generator=rng) > 0.3).double()
    starts = {
        name: torch.stack(
            [episodes.drawing_from(rng).draw(markets=[name], length=9, batch=B)[name] for _ in range(members)]
        )
        for name in names
    }
    batch = {name: episodes.windows(name, rows.flatten(), 9) for name, rows in starts.items()}
    signals = {
        name: torch.randn(episode.shape, generator=rng).tanh().requires_grad_()
        for name, episode in batch.items()
    }
    values = member_sharpes(batch, signals, present)
    slope = torch.randn(members, generator=rng, dtype=torch.float64)
    found = torch.autograd.grad((values * slope).sum(), list(signals.values()))
    wanted_values = []
    for k in range(members):
        mine = slice(k * B, (k + 1) * B)
        chosen = [name for m, name in enumerate(names) if present[k, m]]
        wanted_values.append(
            mean_window_sharpe(
                {name: batch[name].take(mine) for name in chosen},
                {name: signals[name][mine] for name in chosen},
            )
            if chosen
            else torch.zeros((), dtype=torch.float64)
        )
    torch.testing.assert_close(values, torch.stack(wanted_values), rtol=1e-12, atol=1e-12)
    total = (torch.stack(wanted_values) * slope).sum()
    wanted = (
        torch.autograd.grad(total, list(signals.values()), materialize_grads=True)
        if total.requires_grad
        else [torch.zeros_like(s) for s in signals.values()]
    )
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-7)


def test_markets_without_two_days_that_count_are_refused_together_as_alone():
    panel = noise(markets=1, assets=2, days=2, seed=0)
    agent = QuantNet(steps=2, epoch=1, batch=2, length=5)
    env = TradingEnv(panel, window=1, features=agent.settings.features)
    with pytest.raises(ConfigError, match="no asset has two days to be judged on"):
        agent.fit(env, seed=0, validation=env)
    with pytest.raises(ConfigError, match="no asset has two days to be judged on"):
        QuantNet.fit_together([Fit(agent, env, 0, env)])
