"""The section `design` of a config: films of every perpendicular material, and the project that plans them."""

from typing import Annotated, Any

from pydantic import (
    Field,
    FieldSerializationInfo,
    Strict,
    ValidationInfo,
    field_serializer,
    field_validator,
    model_validator,
)

from magray.config.quantities import quantities, quantity
from magray.config.section import Films, Name, Place, Section, Seed
from magray.config.simulate import SimulateConfig
from magray.config.strict_yaml import dump
from magray.errors import UserError, shortened
from magray.films import Film
from magray.films.design import HISTORIES, Design, draw
from magray.films.film import LIMITS, check_cell_count
from magray.units import in_si, parse_quantity

QUANTITIES = {"cell_size": "length", "Ms": "magnetisation", "start": "length"}
RANGES = {"wall_width": "length", "grain_size": "length"}
Pair = Annotated[tuple[float, float], Strict(False)]
Share = Annotated[float, Field(ge=0, le=1)]


class DesignConfig(Section):
    """Films spread evenly over Q1 = Keff / (½ µ0 Ms²), t/Δ, d = D/Dc, σ, the kinds of DMI and histories."""

    films: Films
    """Number of films."""
    seed: Seed
    """The seed of all that is random; the same one gives the same films."""
    cells: Annotated[tuple[int, int], Strict(False)]
    """Cells along x and y: even products of 2, 3, 5 and 7."""
    cell_size: Annotated[float, quantity("length")]
    """Size of a cell along x and y; the thickness follows from t_over_wall_width."""
    Ms: Annotated[float, quantity("magnetisation")]
    """Saturation magnetisation of all films: those with another are scaled copies of these."""
    Q1: Pair
    """Range of Keff / (½ µ0 Ms²)."""
    t_over_wall_width: Pair
    """Range of the thickness over Δ = √(Aex / Keff), evenly in its logarithm."""
    wall_width: Annotated[tuple[float, float], quantities("length", 2)]
    """Range of the width of a wall's profile, two cells or more."""
    d: Pair
    """Range of D over the critical D."""
    sigma: Annotated[float, Field(ge=0, lt=1)]
    """Largest standard deviation of Ku1 from grain to grain, relative to Ku1."""
    grain_size: Annotated[tuple[float, float], quantities("length", 2)]
    """Range of the mean size of a grain, in half of the films; in the others each cell is a grain."""
    beyond: Share
    """Share of the films with periods of more than a third of the window."""
    spirals: Share = 0.0
    """Share of the films with a D above the range of d, up to 1.5 of the critical D."""
    start: Annotated[float, quantity("length")]
    """Side of the squares that begin with one random direction."""
    histories: dict[str, Share]
    """Shares of minimised, quenched, thermal and demagnetised films."""
    torque: float
    """Largest torque at the end of every history, relative to Ms."""
    max_evaluations: int
    """Field evaluations after which a film counts as not converged."""

    @field_validator(*QUANTITIES, mode="before")
    @classmethod
    def _read_quantity(cls, value: Any, info: ValidationInfo) -> float:
        return parse_quantity(value, QUANTITIES[str(info.field_name)], str(info.field_name))

    @field_validator(*RANGES, mode="before")
    @classmethod
    def _read_range(cls, values: Any, info: ValidationInfo) -> tuple[float, ...]:
        name = str(info.field_name)
        if not isinstance(values, (list, tuple)) or len(values) != 2:
            raise UserError(f"{name}: give two quantities in brackets, not {shortened(values)}")
        return tuple(parse_quantity(value, RANGES[name], name) for value in values)

    @field_serializer(*QUANTITIES)
    def _write_quantity(self, value: float, info: FieldSerializationInfo) -> str | float:
        return in_si(value, QUANTITIES[info.field_name])

    @field_serializer(*RANGES)
    def _write_range(self, values: tuple[float, float], info: FieldSerializationInfo) -> list[str | float]:
        return [in_si(value, RANGES[info.field_name]) for value in values]

    @model_validator(mode="after")
    def _every_film_can_be(self) -> "DesignConfig":
        self._check_ranges()
        if set(self.histories) - set(HISTORIES) or not sum(self.histories.values()):
            raise UserError(f"histories: give shares of {', '.join(HISTORIES)}, such as {{minimised: 1}}")
        for n in self.cells:
            check_cell_count(n)
        draw(self.model_copy(update={"films": 16}).design())
        return self

    def _check_ranges(self) -> None:
        """Raise UserError for numbers that no film has."""
        if not 0 < self.cell_size < 1e-6:
            raise UserError(f"cell_size lies above 0 nm and below 1 µm, not at {self.cell_size:g} m")
        least, most, unit = LIMITS["Ms"]
        if not least <= self.Ms <= most:
            raise UserError(f"Ms must lie between {least:g} and {most:g} {unit}, not {self.Ms:g}")
        widths = (self.cell_size / 10, self.cell_size * 1000)
        possible = {"Q1": (1e-4, 1e3), "t_over_wall_width": (1e-4, 1e3), "wall_width": widths, "d": (0, 0.999)}
        for name, (least, most) in (possible | {"grain_size": (1e-12, 1e-3)}).items():
            low, high = getattr(self, name)
            if not least <= low < high <= most:
                raise UserError(f"{name}: give [low, high] between {least:g} and {most:g}, not [{low:g}, {high:g}]")

    def design(self) -> Design:
        """Return what `films.design.draw` draws the films from."""
        return Design(**dict(self))


class DesignedConfig(Section):
    """A project that plans and simulates the films of a design; `magray fit` and `magray study` have no part in it."""

    name: Name
    """The project's name, also in its store."""
    output: Place
    """Folder of the project's results."""
    design: DesignConfig
    """The films."""
    simulate: SimulateConfig = SimulateConfig()
    """The settings of the simulation; nothing here changes a film."""

    @property
    def store_uri(self) -> str:
        """The folder or URI of the store."""
        return self.simulate.store or str(self.output / "store")

    def films(self) -> list[Film]:
        """Return the films of the project."""
        return draw(self.design.design())

    def to_yaml(self) -> str:
        """Return the resolved config with every key, in SI units. `load_films` reads an equal config from it."""
        return dump(self.model_dump(mode="json"))
