"""Estimate a magnetic film's parameters from a picture of its domains: simulate films, train networks, estimate.

What is exported here is the public interface. Each name is imported when it is first used, so that `import magray`
and `magray --help` stay instant.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from magray._version import __version__

if TYPE_CHECKING:
    from magray.errors import UserError
    from magray.estimator.any_film import estimate
    from magray.estimator.estimator import Estimator
    from magray.estimator.knowns import Normal, Range
    from magray.films import Demagnetise, Film, Minimize, Protocol, Quench, Random, Sweep, Uniform
    from magray.micromagnetics import field_terms, relax
    from magray.store import open_store
    from magray.theory.effective_medium import effective_medium


__all__ = [
    "Demagnetise",
    "Estimator",
    "Film",
    "Minimize",
    "Normal",
    "Protocol",
    "Quench",
    "Random",
    "Range",
    "Sweep",
    "Uniform",
    "UserError",
    "__version__",
    "effective_medium",
    "estimate",
    "field_terms",
    "open_store",
    "relax",
]

_HOMES = {
    "Demagnetise": "magray.films",
    "Estimator": "magray.estimator.estimator",
    "Film": "magray.films",
    "Minimize": "magray.films",
    "Normal": "magray.estimator.knowns",
    "Protocol": "magray.films",
    "Quench": "magray.films",
    "Random": "magray.films",
    "Range": "magray.estimator.knowns",
    "Sweep": "magray.films",
    "Uniform": "magray.films",
    "UserError": "magray.errors",
    "effective_medium": "magray.theory.effective_medium",
    "estimate": "magray.estimator.any_film",
    "field_terms": "magray.micromagnetics",
    "open_store": "magray.store",
    "relax": "magray.micromagnetics",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return [*globals(), *_HOMES]
