"""The base class of all sections of a config, and the types that they share."""

from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, Strict
from pydantic_core import PydanticCustomError

from magray.config.scales import LARGEST, SMALLEST
from magray.files.paths import at_home


class Section(BaseModel):
    """A section of a config. An unknown key is an error, and an instance cannot be changed.

    The text below a key describes it: `magray schema` hands it to editors.
    Types are strict: a text or a truth value is not taken for a number, and numbers are finite.
    """

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, allow_inf_nan=False, use_attribute_docstrings=True
    )


def at_most(limit: float, reason: str, unit: str = "") -> AfterValidator:
    """Return a validator that refuses numbers above `limit` with the reason."""

    def check(number: float) -> float:
        if number > limit:
            raise PydanticCustomError("at_most", f"Input should be at most {limit:,}{unit}, {reason}")
        return number

    return AfterValidator(check)


def at_least(limit: float, reason: str, unit: str = "") -> AfterValidator:
    """Return a validator that refuses numbers below `limit` with the reason."""

    def check(number: float) -> float:
        if number < limit:
            raise PydanticCustomError("at_least", f"Input should be at least {limit:,}{unit}, {reason}")
        return number

    return AfterValidator(check)


def _no_address(place: object) -> object:
    """Refuse an address where a folder is needed; as a path, s3://bucket would be a folder named "s3:"."""
    if isinstance(place, str) and "://" in place:
        raise PydanticCustomError("no_address", "Input should be a local path; only a store can be at an address")
    return place


Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=200)]  # part of file names
Place = Annotated[Path, Strict(False), BeforeValidator(_no_address), AfterValidator(at_home)]  # a text in YAML
Count = Annotated[int, Field(gt=0)]

# Limits are set where a number stops making sense, and well above what anybody has used.
Films = Annotated[Count, at_most(10_000_000, "since a plan is made in memory, of 3 kB a film")]
Seed = Annotated[int, Field(ge=0, lt=2**63)]
Seeds = Annotated[Count, at_most(1000, "since each seed is a fit")]
Epochs = Annotated[Count, at_most(1_000_000, "since each epoch takes a second or more")]
Views = Annotated[Count, at_most(10_000_000_000, "since so many take a GPU more than a week")]
Processes = Annotated[Count, at_most(100_000, "since each is a process")]
LearningRate = Annotated[
    float, at_least(1e-9, "since smaller steps lead nowhere"), at_most(1, "since larger steps diverge")
]
Scale = Annotated[
    float, at_least(SMALLEST, "since domains are larger", " µm"), at_most(LARGEST, "since films are smaller", " µm")
]
GpuShare = Annotated[float, Field(le=1), at_least(0.001, "since so many processes do not fit on a GPU")]
