"""The quench: the Landau-Lifshitz-Gilbert equation in short steps of the local terms within long steps of demag.

    dm/dt = −γ0/(1+α²) [m × H + α m × (m × H)]

Exchange between neighbouring cells is by far the fastest part, and it is local; the demagnetising field is the costly
part, and its rates are γ0 Ms or slower. So demag is made once in a long step, and extrapolated from its last two values
to the middle of each of an odd number of short steps, to second order in the long step; a short step is one of the
classical Runge-Kutta scheme of fourth order with all local terms at each of its four stages. An odd number, because m
changes between two arrays in each of them and every long step has to end in the other one.

Above 0 K a stochastic field is drawn for every short step and kept through its four stages, which leads to the
Stratonovich solution that Brown's equation means.
"""

import math
from dataclasses import dataclass

import numpy as np

from magray.films.film import Film
from magray.films.protocol import Quench
from magray.micromagnetics.backend import Coefficients, FieldBackend, InnerStep, Vectors
from magray.units import MU0

GAMMA0 = 1.7595e11 * MU0  # m/(A s); the value of the µMAG standard problems
BOLTZMANN = 1.380649e-23  # J/K

# Limits of a step, as the angle that the fastest rate turns by. The scheme is stable to 2.78 for any damping.
STIFFEST = 2.5  # of exchange between neighbours, in a short step
STIFFEST_WARM = 1.0  # the same above 0 K: longer steps leave the shortest waves too cold, by 10 % of ½ kT at 2.5
LOCAL = 0.3  # of all else, in a short step
COUPLED = 0.5  # of the demagnetising field, in a long step
DAMPED = 2.0  # the same, of the damping: waves that it does not damp grow from the extrapolation
KICKED = 0.1  # of the stochastic field, in a short step
MAX_INNER_STEPS = 7
MAX_STEPS = 100_000_000
RAMP = 64  # steps from a random start to full length: each 2/i of the time that has passed after i of them
SINGLE = 10  # long steps of one short step before those of parts, for each part

# the classical scheme: of each stage how far the next one looks ahead along it, and its weight; in short steps
RUNGE_KUTTA = ((0.5, 1 / 6), (0.5, 1 / 3), (1.0, 1 / 3), (0.0, 1 / 6))


def inner_step(film: Film, stage: Quench) -> float:
    """The longest short step that the film's rates allow, s; 0 where one of them is not finite."""
    c = Coefficients.of(film)
    twist = 2 * (abs(c.bulk_x) + abs(c.bulk_y) + abs(c.interfacial_x) + abs(c.interfacial_y))
    local = 1 + abs(c.anisotropy) * (1 + 3 * film.sigma) + math.hypot(*c.field) + twist
    exchange = 4 * (c.exchange_x + c.exchange_y)
    stiffest = STIFFEST_WARM if stage.temperature else STIFFEST
    short = min(stiffest / (exchange + local), LOCAL / local, _coupled(stage)) / _rate(film, stage)
    kicked = GAMMA0 * film.Ms * _thermal_std(film, stage) / (1 + stage.alpha**2)  # the angle of a random turn, over √dt
    return min(short, (KICKED / kicked) ** 2) if kicked else short


def _rate(film: Film, stage: Quench) -> float:
    """Of precession and damping in a field of Ms, 1/s."""
    return GAMMA0 * film.Ms / math.sqrt(1 + stage.alpha**2)


def _coupled(stage: Quench) -> float:
    return min(COUPLED, DAMPED * stage.alpha)


def _thermal_std(film: Film, stage: Quench) -> float:
    """The stochastic field's standard deviation times √dt, Ms √s: √(2 α kB T / (γ0 µ0 Ms V)) / Ms."""
    energy = 2 * stage.alpha * BOLTZMANN * stage.temperature
    return math.sqrt(energy / (GAMMA0 * MU0 * film.Ms * math.prod(film.cell_size))) / film.Ms


def impossible(film: Film) -> str:
    """Why a quench of the film's protocol would never end; empty if it will."""
    for stage in film.protocol.stages:
        if isinstance(stage, Quench):
            short = inner_step(film.in_stage(stage), stage)
            if not short * MAX_STEPS > stage.duration:
                return f"its quench of {stage.duration:g} s would need more than {MAX_STEPS:,} steps of {short:.1g} s"
    return ""


@dataclass(frozen=True)
class Steps:
    """How a quench is cut. A random start changes by orders of magnitude faster than its domains do later.

    First `ramp` long steps of one short step each, the i-th i/ramp as long as all that follow; then `single` long
    steps of one short step; then `count` of `parts`. turn: γ0 Ms dt / (1+α²) of a full short step. kick: standard
    deviation of the stochastic field in a full short step, Ms.
    """

    ramp: int
    single: int
    count: int
    parts: int
    rotation: float
    thermal_std: float

    @classmethod
    def of(cls, film: Film, stage: Quench) -> "Steps":
        """The longest steps that the film's rates allow."""
        longest = inner_step(film, stage)
        parts = max(1, min(MAX_INNER_STEPS, int(_coupled(stage) / (_rate(film, stage) * longest))))
        parts -= 1 - parts % 2
        left = stage.duration / longest - (RAMP + 1) / 2
        single = max(0, min(math.ceil(left), SINGLE * (parts - 1)))
        count = max(0, math.ceil((left - single) / parts))
        dt = stage.duration / ((RAMP + 1) / 2 + single + count * parts)
        thermal_std = _thermal_std(film, stage) / math.sqrt(dt)
        return cls(RAMP, single, count, parts, GAMMA0 * film.Ms * dt / (1 + stage.alpha**2), thermal_std)

    @property
    def long(self) -> int:
        """All long steps: how often the demagnetising field is made."""
        return self.ramp + self.single + self.count

    def at(self, step: int) -> "Step":
        """The long step `step`, counted from 0."""
        return Step(self._parts(step), self._share(step), self._length(step) / self._length(max(0, step - 1)))

    def _parts(self, step: int) -> int:
        return self.parts if step >= self.ramp + self.single else 1

    def _share(self, step: int) -> float:
        return min(1.0, (step + 1) / self.ramp)

    def _length(self, step: int) -> float:
        return self._parts(step) * self._share(step)


@dataclass(frozen=True)
class Step:
    """One long step: its short ones, the length of each in full short steps, its own in long steps before it."""

    parts: int
    share: float
    growth: float


def quench(backend: FieldBackend, m: Vectors, film: Film, stage: Quench, number: int = 0) -> tuple[Vectors, int]:
    """m after the quench, the stage `number` of the film's protocol, and how many times demag was made."""
    steps = Steps.of(film, stage)
    before = backend.demag(m)
    for long in range(steps.long):
        step = steps.at(long)
        now = backend.demag(m) if long else before
        rotation, thermal_std = steps.rotation * step.share, steps.thermal_std / math.sqrt(step.share)
        for part in range(step.parts):
            short = InnerStep(stage.alpha, rotation, thermal_std, (long * MAX_INNER_STEPS + part, number))
            ahead = np.float32(step.growth * (part + 0.5) / step.parts)
            m = backend.advance(m, now + ahead * (now - before), short)
        before = now
    return m, steps.long
