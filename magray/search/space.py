"""The space of candidates that Optuna searches."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from magray.config import ScaleSet, SearchConfig
from magray.search.trials import Candidate, Row

if TYPE_CHECKING:
    from ray.tune.search.optuna import OptunaSearch


@dataclass(frozen=True)
class Space:
    """The space of candidates with one budget and number of films.

    A set of scales has a fixed number of places, each of which holds an index into the ascending list of scales; equal
    indices count once. So Optuna learns that a scale is good in whatever combination, and that its neighbours are
    similar. From hundreds of unrelated names of sets it would learn nothing.
    """

    config: SearchConfig
    budget: int
    films: int

    @property
    def scales(self) -> list[float]:
        """Return all scales, µm, ascending."""
        return sorted(self.config.scales)

    @property
    def places(self) -> list[str]:
        """Return the names of the places."""
        return [f"place {i}" for i in range(min(self.config.most_scales, len(self.scales)))]

    def searcher(self, first: Sequence[Candidate], ended: Sequence[Row], seed: int) -> "OptunaSearch":
        """Return an Optuna searcher that knows the trials that have `ended`, and proposes the candidates `first`."""
        import optuna
        from ray.tune.search.optuna import OptunaSearch

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        sampler = optuna.samplers.TPESampler(seed=seed)
        points = [self.point(candidate) for candidate in first] or None
        searcher = OptunaSearch(self.distributions(), "worst", "min", points, sampler)
        for row in ended:
            searcher.add_evaluated_point(self.point(Candidate.of(row)), row["worst"])
        return searcher

    def distributions(self) -> dict[str, Any]:
        """Return Optuna's distributions, by the names of a point."""
        from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

        low, high = self.config.learning_rates
        return {place: IntDistribution(0, len(self.scales) - 1) for place in self.places} | {
            "learning_rate": FloatDistribution(low, high, log=True),
            "schedule": CategoricalDistribution(self.config.schedules),
            "width": CategoricalDistribution(self.config.widths),
        }

    def candidate(self, point: dict[str, Any]) -> Candidate:
        """Return the candidate of a point in Optuna's space."""
        chosen = {self.scales[point[place]] for place in self.places}
        return Candidate(
            ScaleSet.of(chosen),
            point["learning_rate"],
            point["schedule"],
            self.budget,
            self.films,
            self.config.seed,
            point["width"],
        )

    def point(self, candidate: Candidate) -> dict[str, Any]:
        """Return a point of `candidate`; places that it does not need repeat its last scale."""
        indices = [self.scales.index(scale) for scale in candidate.scales]
        filled = [indices[min(i, len(indices) - 1)] for i in range(len(self.places))]
        return dict(zip(self.places, filled, strict=True)) | {
            "learning_rate": candidate.learning_rate,
            "schedule": candidate.schedule,
            "width": candidate.width,
        }

    def holds(self, candidate: Candidate) -> bool:
        """Return whether `candidate` lies in the space."""
        low, high = self.config.learning_rates
        return (
            not candidate.train_set.is_range
            and set(candidate.scales) <= set(self.config.scales)
            and len(candidate.scales) <= len(self.places)
            and low <= candidate.learning_rate <= high
            and candidate.schedule in self.config.schedules
            and candidate.width in self.config.widths
            and (candidate.budget, candidate.films, candidate.seed) == (self.budget, self.films, self.config.seed)
        )
