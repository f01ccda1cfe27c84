"""The quench: the Landau-Lifshitz-Gilbert equation in inner steps of the local terms within outer steps of demag.

    dm/dt = −γ0/(1+α²) [m × H + α m × (m × H)]

Exchange between neighbouring cells is by far the fastest part, and it is local; the demagnetising field is the costly
part, and its rates are γ0 Ms or slower. So demag is computed once in an outer step, and extrapolated from its last two
values to the middle of each of an odd number of inner steps, to second order in the outer step; an inner step is one of
the classical Runge-Kutta scheme of fourth order with all local terms at each of its four stages. The number is odd
because m changes between two arrays in each of them, and every outer step has to end in the other one.

Above 0 K a stochastic field is drawn for every inner step and kept through its four stages, which leads to the
Stratonovich solution that Brown's equation means.
"""

import math
from dataclasses import dataclass

import numpy as np

from magray.films.film import Film
from magray.films.protocol import Quench
from magray.micromagnetics.backend import Coefficients, FieldBackend, InnerStep, Vectors
from magray.units import BOLTZMANN, GAMMA0, MU0

# Limits of a step, as the angle of the fastest precession. The scheme is stable to 2.78 for any damping.
STIFFEST = 2.5  # of exchange between neighbours, in an inner step
STIFFEST_WARM = 1.0  # the same above 0 K: longer steps leave the shortest waves too cold, by 10 % of ½ kT at 2.5
LOCAL = 0.3  # of all other local terms, in an inner step
COUPLED = 0.5  # of the demagnetising field, in an outer step
DAMPED = 2.0  # the same, of the damping: waves that it does not damp grow from the extrapolation
THERMAL = 0.1  # of the stochastic field, in an inner step
MAX_INNER_STEPS = 7
MAX_STEPS = 100_000_000
RAMP = 64  # steps from a random start to full length: each 2/i of the time that has passed after i of them
SINGLE = 10  # outer steps of one inner step before those of `parts`, for each part

# the classical scheme: of each stage how far the next one looks ahead along it, and its weight; in inner steps
RUNGE_KUTTA = ((0.5, 1 / 6), (0.5, 1 / 3), (1.0, 1 / 3), (0.0, 1 / 6))


def _inner_step(film: Film, stage: Quench) -> float:
    """Return the longest inner step that the film's rates allow, s; 0 where one of them is not finite."""
    c = Coefficients.of(film)
    twist = 2 * (abs(c.bulk_x) + abs(c.bulk_y) + abs(c.interfacial_x) + abs(c.interfacial_y))
    local = 1 + abs(c.anisotropy) * (1 + 3 * film.sigma) + math.hypot(*c.field) + twist
    exchange = 4 * (c.exchange_x + c.exchange_y)
    stiffest = STIFFEST_WARM if stage.temperature else STIFFEST
    short = min(stiffest / (exchange + local), LOCAL / local, _coupled(stage)) / _rate(film, stage)
    thermal = (
        GAMMA0 * film.Ms * _thermal_std(film, stage) / (1 + stage.alpha**2)
    )  # the angle of a random rotation, over √dt
    return min(short, (THERMAL / thermal) ** 2) if thermal else short


def _rate(film: Film, stage: Quench) -> float:
    """Return the rate of precession and damping in a field of Ms, 1/s."""
    return GAMMA0 * film.Ms / math.sqrt(1 + stage.alpha**2)


def _coupled(stage: Quench) -> float:
    return min(COUPLED, DAMPED * stage.alpha)


def _thermal_std(film: Film, stage: Quench) -> float:
    """Return the stochastic field's standard deviation times √dt, Ms √s: √(2 α kB T / (γ0 µ0 Ms V)) / Ms."""
    energy = 2 * stage.alpha * BOLTZMANN * stage.temperature
    return math.sqrt(energy / (GAMMA0 * MU0 * film.Ms * math.prod(film.cell_size))) / film.Ms


def impossible(film: Film) -> str:
    """Return why a quench of the film's protocol would take too many steps; empty if it would not."""
    for stage in film.protocol.stages:
        if isinstance(stage, Quench):
            short = _inner_step(film.in_stage(stage), stage)
            if not short * MAX_STEPS > stage.duration:
                return f"its quench of {stage.duration:g} s would need more than {MAX_STEPS:,} steps of {short:.1g} s"
    return ""


@dataclass(frozen=True)
class Steps:
    """The steps of a quench. A random start changes by orders of magnitude faster than its domains do later.

    First `ramp` outer steps of one inner step each, the i-th i/ramp as long as all that follow; then `single` outer
    steps of one inner step; then `count` of `parts`. rotation: γ0 Ms dt / (1+α²) of a full inner step. thermal_std:
    standard deviation of the stochastic field in a full inner step, Ms.
    """

    ramp: int
    single: int
    count: int
    parts: int
    rotation: float
    thermal_std: float

    @classmethod
    def of(cls, film: Film, stage: Quench) -> "Steps":
        """Return the longest steps that the film's rates allow."""
        longest = _inner_step(film, stage)
        parts = max(1, min(MAX_INNER_STEPS, int(_coupled(stage) / (_rate(film, stage) * longest))))
        parts -= 1 - parts % 2
        left = stage.duration / longest - (RAMP + 1) / 2
        single = max(0, min(math.ceil(left), SINGLE * (parts - 1)))
        count = max(0, math.ceil((left - single) / parts))
        dt = stage.duration / ((RAMP + 1) / 2 + single + count * parts)
        thermal_std = _thermal_std(film, stage) / math.sqrt(dt)
        return cls(RAMP, single, count, parts, GAMMA0 * film.Ms * dt / (1 + stage.alpha**2), thermal_std)

    @property
    def outer(self) -> int:
        """Return the number of outer steps, which is that of evaluations of the demagnetising field."""
        return self.ramp + self.single + self.count

    def at(self, step: int) -> "Step":
        """Return the outer step `step`, counted from 0."""
        return Step(self._parts(step), self._share(step), self._length(step) / self._length(max(0, step - 1)))

    def _parts(self, step: int) -> int:
        return self.parts if step >= self.ramp + self.single else 1

    def _share(self, step: int) -> float:
        return min(1.0, (step + 1) / self.ramp)

    def _length(self, step: int) -> float:
        return self._parts(step) * self._share(step)


@dataclass(frozen=True)
class Step:
    """An outer step: its inner steps, the length of each in full inner steps, and its own in steps before it."""

    parts: int
    share: float
    growth: float


def quench(backend: FieldBackend, m: Vectors, film: Film, stage: Quench, number: int = 0) -> tuple[Vectors, int]:
    """Return m after the quench, stage `number` of the film's protocol, and the number of outer steps."""
    steps = Steps.of(film, stage)
    before = backend.demag(m)
    for outer in range(steps.outer):
        step = steps.at(outer)
        now = backend.demag(m) if outer else before
        rotation, thermal_std = steps.rotation * step.share, steps.thermal_std / math.sqrt(step.share)
        for part in range(step.parts):
            short = InnerStep(stage.alpha, rotation, thermal_std, (outer * MAX_INNER_STEPS + part, number))
            ahead = np.float32(step.growth * (part + 0.5) / step.parts)
            m = backend.advance(m, now + ahead * (now - before), short)
        before = now
    return m, steps.outer
