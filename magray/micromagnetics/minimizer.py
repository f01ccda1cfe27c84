"""The preconditioned L-BFGS minimiser on the unit spheres: one field evaluation an iteration.

The two-loop recursion of Nocedal (Math. Comp. 35, 773, 1980) over the last PAIRS steps s and changes y of the force,
with the Fourier preconditioner P in its middle. P is linear, so P y is the difference of two preconditioned forces, and
every product that the recursion needs follows from the products of the s and P y with the latest force: a vector is
read once for its product and once for its part in the step (the scheme of Chen, Wang and Zhou, NIPS 2014, with P).

There is no line search. Three guards stand in for it: each cell turns by LARGEST_TURN at most in a step, an uphill
direction is replaced by the preconditioned force, and a step that ends above every one of the last MEMORY energies is
taken back and tried again with smaller turns.

Each cell is held back by itself. Scaling the whole step by its largest turn needs 1.7 times as many evaluations from a
random start and ends in higher energies, because a few cells that want to flip then slow down all the others.
"""

import math
from collections import deque
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from magray.films.protocol import Minimize
from magray.micromagnetics.landscape import PAIRS, Landscape, Point, Vectors

LARGEST_TURN = 0.2  # rad
MEMORY = 10
ENERGY_NOISE = 1e-6  # of an energy in single precision, relative
SMALLEST_CURVATURE = 1e-3  # s·y against y·P y; 1 where P is the exact inverse


@dataclass
class Recursion:
    """The live pairs, oldest first, and their products with the latest force and with one another.

    step_change[i, j] = s_i · y_j for j ≥ i; change_change[i, j] = y_i · P y_j.
    """

    steps: list[Vectors] = field(default_factory=list)
    changes: list[Vectors] = field(default_factory=list)  # P y
    force_step: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    force_change: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    step_change: NDArray[np.float64] = field(default_factory=lambda: np.zeros((0, 0)))
    change_change: NDArray[np.float64] = field(default_factory=lambda: np.zeros((0, 0)))

    @property
    def vectors(self) -> list[Vectors]:
        """What the direction is made of, beside the preconditioned force."""
        return [*self.steps, *self.changes]

    def weights(self, force_force: float) -> list[float] | None:
        """The factors of `vectors` in the direction, or None where it would lead uphill. force_force: f · P f."""
        n = len(self.steps)
        a, g, curvature = np.zeros(n), np.zeros(n), np.diag(self.step_change)
        for i in reversed(range(n)):
            a[i] = (self.force_step[i] - self.step_change[i, i + 1 :] @ a[i + 1 :]) / curvature[i]
        for i in range(n):
            along = self.force_change[i] - self.change_change[i] @ a + self.step_change[:i, i] @ g[:i]
            g[i] = a[i] - along / curvature[i]
        slope = force_force + g @ self.force_step - a @ self.force_change
        return [*g, *-a] if slope > 0 else None

    def see(self, products: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Takes the products of `vectors` with a new force; returns those with the force's change y = old − new."""
        n = len(self.steps)
        step_y, change_y = self.force_step - products[:n], self.force_change - products[n:]
        self.force_step, self.force_change = products[:n], products[n:]
        return step_y, change_y

    def add(
        self,
        pair: tuple[Vectors, Vectors],
        with_force: tuple[float, float],
        with_change: tuple[float, float],
        others: tuple[NDArray[np.float64], NDArray[np.float64]],
    ) -> None:
        """Adds (s, P y) with their products with the latest force and with y, and those of the other pairs with y."""
        self.steps.append(pair[0])
        self.changes.append(pair[1])
        self.force_step = np.append(self.force_step, with_force[0])
        self.force_change = np.append(self.force_change, with_force[1])
        self.step_change = _bordered(self.step_change, np.append(others[0], with_change[0]))
        self.change_change = _bordered(self.change_change, np.append(others[1], with_change[1]))
        self.change_change[-1] = self.change_change[:, -1]
        if len(self.steps) > PAIRS:
            del self.steps[0], self.changes[0]
            self.force_step, self.force_change = self.force_step[1:], self.force_change[1:]
            self.step_change, self.change_change = self.step_change[1:, 1:], self.change_change[1:, 1:]


def _bordered(matrix: NDArray[np.float64], column: NDArray[np.float64]) -> NDArray[np.float64]:
    """`matrix` with one more column, and a row of zeros below."""
    n = len(matrix)
    larger = np.zeros((n + 1, n + 1))
    larger[:n, :n] = matrix
    larger[:, n] = column
    return larger


def minimize(landscape: Landscape, m: Vectors, stage: Minimize) -> tuple[Point, int]:
    """The point where the torque fell to `stage.torque`, and the number of field evaluations.

    After `stage.max_evaluations`, or where the energy of `m` itself is not finite, the last good point is returned as
    it is: its torque and energy tell.
    """
    point = landscape.evaluate(m)
    descent = landscape.precondition(point.force)
    force_force = float(landscape.products([descent], point.force)[0])
    evaluations, limit = 1, LARGEST_TURN
    recursion = Recursion()
    energies = deque([point.energy], maxlen=MEMORY)
    while point.torque > stage.torque and evaluations < stage.max_evaluations and math.isfinite(point.energy):
        weights = recursion.weights(force_force)
        if weights is None:
            recursion, weights = Recursion(), []
        turned, step, longest = landscape.turn(point.m, descent, weights, recursion.vectors, limit)
        following = landscape.evaluate(turned)
        evaluations += 1
        if not following.energy <= max(energies) + ENERGY_NOISE * abs(point.energy):  # true of not-a-number as well
            recursion, limit = Recursion(), longest / 2
            continue
        limit = min(LARGEST_TURN, 2 * limit)
        next_descent = landscape.precondition(following.force)
        step_before = float(landscape.products([step], point.force)[0])
        known = recursion.vectors
        step_force, before, now, *products = landscape.products([step, descent, next_descent, *known], following.force)
        others = recursion.see(np.array(products))
        curvature, change = step_before - step_force, force_force - 2 * before + now
        if curvature > SMALLEST_CURVATURE * change:
            pair = (step, descent - next_descent)
            recursion.add(pair, (step_force, before - now), (curvature, change), others)
        energies.append(following.energy)
        point, descent, force_force = following, next_descent, now
    return point, evaluations
