"""Read JSON files that magray wrote and anybody may have changed since, strictly, by a model of their content."""

from pathlib import Path
from typing import Annotated, TypeVar

from pydantic import Field, TypeAdapter, ValidationError

from magray.errors import UserError

_MAX_BYTES = 16 * 2**20  # of such a file: a thousand times what they have
Finite = Annotated[float, Field(allow_inf_nan=False)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Text = Annotated[str, Field(pattern=r"^[^\x00-\x08\x0b-\x1f\x7f-\x9f]*$")]  # no control characters
Record = TypeVar("Record")


def read_record(path: Path, model: TypeAdapter[Record], problem: str) -> Record:
    """Return the content of a JSON file.

    Raises UserError, "path problem (why)", unless it can be read and fits the model.
    """
    try:
        with path.open("rb") as file:
            text = file.read(_MAX_BYTES + 1)
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from error
    if len(text) > _MAX_BYTES:
        raise UserError(f"{path} {problem} (it has more than {_MAX_BYTES // 2**20} MB)")
    try:
        return model.validate_json(text, strict=True)
    except UserError as error:
        raise UserError(f"{path} {problem} ({error})") from error
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise UserError(f"{path} {problem} ({where + ': ' if where else ''}{first['msg']})") from error
