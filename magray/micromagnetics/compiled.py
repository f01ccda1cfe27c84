"""Compile functions with Numba, and cache the result for the next process in a folder that can be written to.

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
    """Return a decorator that compiles a function with these options of numba.njit, cached if possible."""

    def decorate(function: Callable[..., Any]) -> Any:
        try:
            return numba.njit(cache=True, **options)(function)
        except RuntimeError as error:
            if "cannot cache" not in str(error):
                raise
            _warn_once()
            return numba.njit(**options)(function)

    return decorate


@cache
def _warn_once() -> None:
    _log.warning(
        "magray: compiled code cannot be cached, so every process spends some seconds on compiling: "
        "set NUMBA_CACHE_DIR to a folder that you may write to"
    )
