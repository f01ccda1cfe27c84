"""Reading JSON files that magray wrote and anybody may have changed since: strictly, by a model of what they hold."""

from pathlib import Path
from typing import Annotated, TypeVar

from pydantic import Field, TypeAdapter, ValidationError

from magray.errors import UserError

MOST_BYTES = 16 * 2**20  # of such a file: a thousand times what they have
Finite = Annotated[float, Field(allow_inf_nan=False)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Text = Annotated[str, Field(pattern=r"^[^\x00-\x08\x0b-\x1f\x7f-\x9f]*$")]  # nothing that would control a terminal
Record = TypeVar("Record")


def read_record(path: Path, model: TypeAdapter[Record], problem: str) -> Record:
    """Return what a JSON file holds.

    Raises UserError, "path problem (why)", unless it can be read and is what `model` says.
    """
    try:
        with path.open("rb") as file:
            text = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from error
    if len(text) > MOST_BYTES:
        raise UserError(f"{path} {problem} (it has more than {MOST_BYTES // 2**20} MB)")
    try:
        return model.validate_json(text, strict=True)
    except UserError as error:
        raise UserError(f"{path} {problem} ({error})") from error
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise UserError(f"{path} {problem} ({where + ': ' if where else ''}{first['msg']})") from error
