"""Sentences and a table about the result of a search: which training scales are enough, and at what cost."""

from collections.abc import Iterator

from rich import box
from rich.table import Table

from magray.config import SearchConfig
from magray.search.trials import CandidateGroup, SearchResult, max_scale_gap, pareto_front, within


def summary_lines(found: SearchResult, config: SearchConfig) -> Iterator[str]:
    """Yield the result of a search, line by line."""
    views = sum(row["views"] for row in found.trials)
    counts = [sum(row["status"] == status for row in found.trials) for status in ("finished", "stopped", "failed")]
    yield "{} trials finished, {} stopped early, {} failed; ".format(*counts) + f"{views:,} views in all"
    yield from _answer(found.answer) if found.answer else _advice(found.best, config)


def front_table(options: list[CandidateGroup]) -> Table:
    """Return the Pareto front of cost against error as a table for a terminal."""
    table = Table(title="The least error for the cost", title_justify="left", pad_edge=False, box=box.SIMPLE_HEAD)
    numbers = ("views", "films", "worst error", "at, µm", "seeds", "learning rate", "width")
    for heading in ("trained at, µm", *numbers, "schedule"):
        table.add_column(heading, justify="right" if heading in numbers else "left")
    for option in pareto_front(options):
        one = option.candidate
        table.add_row(
            str(one.train_set).replace("+", ", "),
            f"{one.budget:,}",
            f"{one.films:,}",
            f"{option.worst:.1%}",
            f"{option.worst_scale:g}",
            str(option.seeds),
            f"{one.learning_rate:.2g}",
            f"{one.width:g}",
            one.schedule,
        )
    return table


def _answer(option: CandidateGroup) -> Iterator[str]:
    """Yield the scales, error and cost of the cheapest candidate within the tolerance."""
    one, scales = option.candidate, option.test_scales
    spread = f" ({option.least:.1%} to {option.most:.1%} over {option.seeds} seeds)" if option.seeds > 1 else ""
    yield (
        f"{one.train_set} µm is enough for pictures of {scales[0]:g} to {scales[-1]:g} µm: at the worst scale, "
        f"{option.worst_scale:g} µm, the mean error is {option.worst:.1%} of the parameter's range{spread}"
    )
    away = max_scale_gap(option)
    yield (
        f"the pictures tested were up to {away:.2g} µm away from the nearest training scale"
        if away > 0
        else "every test scale is a trained one, or within the trained range"
    )
    yield (
        f"cost: {one.budget:,} views of {one.films:,} films, with learning_rate {one.learning_rate:.2g} "
        f"and schedule {one.schedule}, by a network of {one.width:g} × the paper's width"
    )


def _advice(best: CandidateGroup, config: SearchConfig) -> Iterator[str]:
    """Yield the best candidate, which is beyond the tolerance, and changes of the config that would help."""
    one = best.candidate
    yield (
        f"no set stays within {config.tolerance:.1%}: the best, {one.train_set} µm with {one.budget:,} views, errs by "
        f"{best.worst:.1%} of the parameter's range at {best.worst_scale:g} µm"
    )
    served = within(best, config.tolerance)
    less = f"pictures of {served[0]:g} to {served[1]:g} µm only (test_scales), which it serves; " if served else ""
    beyond = not min(config.scales) <= best.worst_scale <= max(config.scales)
    more = f"training scales nearer to {best.worst_scale:g} µm (scales)" if beyond else "more views or trials"
    yield f"what would work: {less}a tolerance of {best.worst + 0.0005:.1%}; perhaps {more}"
