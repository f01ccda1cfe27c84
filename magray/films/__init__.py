"""Films, their protocols, and the sampling of a campaign's plan. Independent of solvers, stores and Ray."""

from magray.films.film import Film
from magray.films.plan import Sampling, films_of, plan_table, sample
from magray.films.protocol import Demagnetise, Minimize, Protocol, Quench, Random, Sweep, Uniform

__all__ = [
    "Demagnetise",
    "Film",
    "Minimize",
    "Protocol",
    "Quench",
    "Random",
    "Sampling",
    "Sweep",
    "Uniform",
    "films_of",
    "plan_table",
    "sample",
]
