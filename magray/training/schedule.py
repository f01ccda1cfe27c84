"""Schedules of the learning rate and of AdamW's β1, by step.

one-cycle  up from 1/25 of the peak within 30 % of the steps, then down to almost zero; β1 falls from 0.95 to 0.85 and
           rises again (torch.optim.lr_scheduler.OneCycleLR, step for step)
cosine     up from zero within 2 % of the steps, then down to almost zero; β1 = 0.9
constant   the peak throughout; β1 = 0.9
"""

import math
from typing import Literal

Schedule = Literal["one-cycle", "cosine", "constant"]
BETA1 = 0.9
MIN_BETA1, MAX_BETA1 = 0.85, 0.95
RISE, COSINE_RISE = 0.3, 0.02  # of the steps
START, END = 25.0, 1e4  # the peak over the first rate, and the first over the last


def lr_and_beta1(schedule: Schedule, peak: float, step: int, steps: int) -> tuple[float, float]:
    """Return the learning rate, at most `peak`, and β1 of `step`, counted from 0, of `steps`."""
    if schedule == "constant":
        return peak, BETA1
    if schedule == "cosine":
        top = max(1.0, COSINE_RISE * steps)
        if step + 1 < top:
            return peak * (step + 1) / top, BETA1
        return _eased(peak, peak / START / END, (step + 1 - top) / max(1.0, steps - top)), BETA1
    top = RISE * steps - 1
    if step <= top:
        part = step / top if top else 1.0
        return _eased(peak / START, peak, part), _eased(MAX_BETA1, MIN_BETA1, part)
    part = (step - top) / (steps - 1 - top)
    return _eased(peak, peak / START / END, part), _eased(MIN_BETA1, MAX_BETA1, part)


def _eased(start: float, end: float, part: float) -> float:
    """Return the value at `part`, 0…1, of a half cosine from `start` to `end`."""
    return end + (start - end) / 2 * (math.cos(math.pi * part) + 1)
