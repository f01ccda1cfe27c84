"""The preconditioned L-BFGS minimiser on the unit spheres: one field evaluation an iteration.

Nocedal's two-loop recursion (Math. Comp. 35, 773, 1980) over the last PAIRS steps, with the Fourier preconditioner in
its middle. There is no line search; three guards stand in for it: each cell turns by LARGEST_TURN at most in a step, an
uphill direction is replaced by the preconditioned force, and a step that ends above every one of the last MEMORY
energies is taken back and tried again with smaller turns.

Each cell is held back by itself: scaling the whole step by its largest turn needs 1.7 times as many evaluations from a
random start and ends in higher energies, because a few cells that want to flip then slow down all the others.
"""

import math
from collections import deque
from dataclasses import dataclass

from magray.films.protocol import Minimize
from magray.micromagnetics.landscape import Landscape, Point, Vectors

PAIRS = 5
LARGEST_TURN = 0.2  # rad
MEMORY = 10
ENERGY_NOISE = 1e-6  # of an energy in single precision, relative
SMALLEST_CURVATURE = 1e-8  # step · change against change², Ms⁻¹


@dataclass(frozen=True)
class Pair:
    """A step, the change of the gradient along it, and 1 / (step · change)."""

    step: Vectors
    change: Vectors
    rho: float


def minimize(landscape: Landscape, m: Vectors, stage: Minimize) -> tuple[Point, int]:
    """The point where the torque fell to `stage.torque`, and the number of field evaluations.

    After `stage.max_evaluations`, or where the energy of `m` itself is not finite, the last good point is returned as
    it is: its torque and energy tell.
    """
    point = landscape.evaluate(m)
    evaluations = 1
    pairs: deque[Pair] = deque(maxlen=PAIRS)
    energies = deque([point.energy], maxlen=MEMORY)
    largest_turn = LARGEST_TURN
    while point.torque > stage.torque and evaluations < stage.max_evaluations and math.isfinite(point.energy):
        step = _downhill(landscape, point, pairs)
        landscape.limit(step, largest_turn)
        following = landscape.evaluate(landscape.rotate(point.m, step))
        evaluations += 1
        if not following.energy <= max(energies) + ENERGY_NOISE * abs(point.energy):  # true of not-a-number as well
            pairs.clear()
            largest_turn = landscape.largest(step) / 2
            continue
        largest_turn = min(LARGEST_TURN, 2 * largest_turn)
        _remember(landscape, pairs, point, step, following)
        energies.append(following.energy)
        point = following
    return point, evaluations


def _downhill(landscape: Landscape, point: Point, pairs: deque[Pair]) -> Vectors:
    """The step that the recursion proposes, or the preconditioned force where that one would lead uphill."""
    step = point.force.copy()
    weights = []
    for pair in reversed(pairs):
        weights.append(pair.rho * landscape.dot(pair.step, step))
        landscape.add(step, -weights[-1], pair.change)
    step = landscape.precondition(point.m, step)
    for pair in pairs:
        weight = weights.pop() - pair.rho * landscape.dot(pair.change, step)
        landscape.add(step, weight, pair.step)
    step = landscape.tangent(point.m, step)
    if landscape.dot(step, point.force) > 0:
        return step
    pairs.clear()
    return landscape.precondition(point.m, point.force)


def _remember(landscape: Landscape, pairs: deque[Pair], point: Point, step: Vectors, following: Point) -> None:
    """Keeps the step as a pair, both halves tangent at the new point, if the energy curves upwards along it."""
    change = landscape.tangent(following.m, point.force)
    landscape.add(change, -1.0, following.force)
    step = landscape.tangent(following.m, step)
    curvature = landscape.dot(step, change)
    if curvature > SMALLEST_CURVATURE * landscape.dot(change, change):
        pairs.append(Pair(step, change, 1 / curvature))
