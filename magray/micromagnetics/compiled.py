"""Functions that Numba compiles. It keeps what it compiled for the next process, where it finds a folder to write to.

That is NUMBA_CACHE_DIR, __pycache__ beside the function's file, or Numba's own folder in the user's home. Where there
is none, as for an installation that only root may change and a user without a home, every process compiles for itself.
"""

import logging
from collections.abc import Callable
from functools import cache
from typing import Any

import numba

_log = logging.getLogger(__name__)


def compiled(**options: Any) -> Callable[[Callable[..., Any]], Any]:
    """Return a decorator that compiles a function with these options of numba.njit, and keeps the outcome if it can."""

    def decorate(function: Callable[..., Any]) -> Any:
        try:
            return numba.njit(cache=True, **options)(function)
        except RuntimeError as error:
            if "cannot cache" not in str(error):
                raise
            _say_once()
            return numba.njit(**options)(function)

    return decorate


@cache
def _say_once() -> None:
    _log.warning(
        "magray: nothing that is compiled can be kept, so every process spends some seconds on it: "
        "set NUMBA_CACHE_DIR to a folder that you may write to"
    )
