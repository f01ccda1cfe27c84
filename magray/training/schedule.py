"""Schedules of the learning rate and of AdamW's β1, by step.

one-cycle  up from 1/25 of the peak within 30 % of the steps, then down to nearly nothing; the memory goes the other
           way, 0.95 to 0.85 and back (torch.optim.lr_scheduler.OneCycleLR, step for step)
cosine     up from nothing within 2 % of the steps, then down to nearly nothing; memory 0.9
constant   the peak throughout; memory 0.9
"""

import math
from typing import Literal

Schedule = Literal["one-cycle", "cosine", "constant"]
BETA1 = 0.9
SHORT_MEMORY, LONG_MEMORY = 0.85, 0.95
RISE, COSINE_RISE = 0.3, 0.02  # of the steps
START, END = 25.0, 1e4  # the peak over the first rate, and the first over the last


def lr_and_beta1(schedule: Schedule, peak: float, step: int, steps: int) -> tuple[float, float]:
    """The learning rate, `peak` at most, and the memory (Adam's first beta) of `step`, of `steps`."""
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
        return _eased(peak / START, peak, part), _eased(LONG_MEMORY, SHORT_MEMORY, part)
    part = (step - top) / (steps - 1 - top)
    return _eased(peak, peak / START / END, part), _eased(SHORT_MEMORY, LONG_MEMORY, part)


def _eased(start: float, end: float, part: float) -> float:
    """From `start` to `end` along half a cosine."""
    return end + (start - end) / 2 * (math.cos(math.pi * part) + 1)
