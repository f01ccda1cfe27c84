"""The preconditioned L-BFGS minimiser on the unit spheres: one field evaluation an iteration.

The two-loop recursion of Nocedal (Math. Comp. 35, 773, 1980) over the last HISTORY steps s and changes y of the force,
with the Fourier preconditioner P in its middle. P is linear, so P y is the difference of two preconditioned forces, and
every product that the recursion needs follows from the products of the s and P y with the latest force: a vector is
read once for its product and once for its part in the step (the scheme of Chen, Wang and Zhou, NIPS 2014, with P).

There is no line search. Three guards stand in for it: each cell turns by MAX_ROTATION at most in a step, an uphill
direction is replaced by the preconditioned force, and a step that ends above every one of the last NONMONOTONE_WINDOW
energies is taken back and tried again with smaller turns.

In thick films of small Keff the demagnetising field of the waves, which P leaves out, is many times as stiff as the
terms in P. Then P oversteps, step after step is taken back, and a film may never converge. So as soon as
OVERSTEPS steps were taken back, P is scaled down to the latest s·y / y·P y, as is usual in L-BFGS. Scaled from the
beginning, the many films that P suits would need a quarter more evaluations.
"""

import math
from collections import deque
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from magray.films.protocol import Minimize
from magray.micromagnetics.backend import HISTORY, FieldBackend, Point, Vectors

MAX_ROTATION = 0.2  # rad
NONMONOTONE_WINDOW = 10
ENERGY_NOISE = 1e-6  # of an energy in single precision, relative
OVERSTEPS = 5
MIN_CURVATURE = 1e-3  # s·y against y·P y; 1 where P is the exact inverse


@dataclass
class _Recursion:
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
        """Return the vectors that the direction combines, besides the preconditioned force."""
        return [*self.steps, *self.changes]

    def weights(self, force_force: float, scale: float) -> list[float] | None:
        """Return the factors of P f and of `vectors` in the direction, or None where it would lead uphill.

        force_force: f · P f. scale: of P.
        """
        n = len(self.steps)
        a, g, curvature = np.zeros(n), np.zeros(n), np.diag(self.step_change)
        for i in reversed(range(n)):
            a[i] = (self.force_step[i] - self.step_change[i, i + 1 :] @ a[i + 1 :]) / curvature[i]
        for i in range(n):
            along = scale * (self.force_change[i] - self.change_change[i] @ a) + self.step_change[:i, i] @ g[:i]
            g[i] = a[i] - along / curvature[i]
        slope = scale * (force_force - a @ self.force_change) + g @ self.force_step
        return [scale, *g, *(-scale * a)] if slope > 0 else None

    def see(self, products: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Take the products of `vectors` with a new force; return those with the force's change y = old − new."""
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
        """Add (s, P y) with their products with the latest force and with y, and those of the other pairs with y."""
        self.steps.append(pair[0])
        self.changes.append(pair[1])
        self.force_step = np.append(self.force_step, with_force[0])
        self.force_change = np.append(self.force_change, with_force[1])
        self.step_change = _bordered(self.step_change, np.append(others[0], with_change[0]))
        self.change_change = _bordered(self.change_change, np.append(others[1], with_change[1]))
        self.change_change[-1] = self.change_change[:, -1]
        if len(self.steps) > HISTORY:
            del self.steps[0], self.changes[0]
            self.force_step, self.force_change = self.force_step[1:], self.force_change[1:]
            self.step_change, self.change_change = self.step_change[1:, 1:], self.change_change[1:, 1:]


def _bordered(matrix: NDArray[np.float64], column: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return `matrix` with one more column, and a row of zeros below."""
    n = len(matrix)
    larger = np.zeros((n + 1, n + 1))
    larger[:n, :n] = matrix
    larger[:, n] = column
    return larger


def minimize(backend: FieldBackend, m: Vectors, stage: Minimize) -> tuple[Point, int]:
    """Return the point where the torque fell to `stage.torque`, and the number of field evaluations.

    After `stage.max_evaluations`, or where the energy of `m` itself is not finite, the last good point is returned
    with its torque and energy.
    """
    point = backend.evaluate(m)
    descent = backend.precondition(point.force)
    force_force = float(backend.products([descent], point.force)[0])
    evaluations, limit, taken_back, scale = 1, MAX_ROTATION, 0, 1.0
    recursion = _Recursion()
    energies = deque([point.energy], maxlen=NONMONOTONE_WINDOW)
    while point.torque > stage.torque and evaluations < stage.max_evaluations and math.isfinite(point.energy):
        weights = recursion.weights(force_force, scale)
        if weights is None:
            recursion, weights = _Recursion(), [scale]
        turned, step, longest = backend.rotate(point.m, weights, [descent, *recursion.vectors], limit)
        following = backend.evaluate(turned)
        evaluations += 1
        if not following.energy <= max(energies) + ENERGY_NOISE * abs(point.energy):  # true of not-a-number as well
            recursion, limit, taken_back = _Recursion(), longest / 2, taken_back + 1
            continue
        limit = min(MAX_ROTATION, 2 * limit)
        next_descent = backend.precondition(following.force)
        step_before = float(backend.products([step], point.force)[0])
        known = recursion.vectors
        step_force, before, now, *products = backend.products([step, descent, next_descent, *known], following.force)
        others = recursion.see(np.array(products))
        curvature, change = step_before - step_force, force_force - 2 * before + now
        if curvature > MIN_CURVATURE * change:
            scale = min(1.0, curvature / change) if taken_back >= OVERSTEPS else 1.0
            pair = (step, descent - next_descent)
            recursion.add(pair, (step_force, before - now), (curvature, change), others)
        energies.append(following.energy)
        point, descent, force_force = following, next_descent, now
    return point, evaluations
