"""Films, their protocols, and the sampling of a campaign's plan. Independent of solvers, stores and Ray."""

from magray.films.film import Film
from magray.films.plan import Sampling, films_of, plan_table, sample
from magray.films.protocol import Minimize, Protocol, Quench, Uniform

__all__ = ["Film", "Minimize", "Protocol", "Quench", "Sampling", "Uniform", "films_of", "plan_table", "sample"]
