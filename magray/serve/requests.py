"""Requests by HTTP: the options of `magray estimate` and `magray picture`, with their names there."""

from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from magray.errors import UserError, shortened

MAX_BYTES = 64 * 2**20  # of a request
MAX_PICTURES = 16  # of a request
MAX_MEGAPIXELS = 16.0  # of a picture, so that no request keeps a core for long
MAX_DRAWS = 4096
MAX_NEAREST = 16  # films
FILMS = "MAGRAY_SERVE_FILMS"  # the variable of the environment that names the store of the films
LONGEST = 200  # characters of a text

Text = Annotated[str, Field(max_length=LONGEST)]
Length = Annotated[float, Field(gt=0)]
Asked = TypeVar("Asked", bound=BaseModel)


class PictureRequest(BaseModel):
    """Options of `POST /v1/picture`, which shows what is read in a file."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    channel: Text | None = Field(None, description="Name or number of the picture in a file of several.")
    crop: Text | None = Field(None, description="Part of the picture, pixels: x,y,width,height.")
    clean: Text = Field("all", description="Steps of cleaning: all, none, rows,plane or -colours.")


class EstimateRequest(PictureRequest):
    """Options of `POST /v1/estimate`; several pictures are of one film. Constants are texts, as "1.20 ± 0.05 MA/m"."""

    estimator: Text = Field("any-film", description="Name of an estimator that comes with magray.")
    scale_um: Length | None = Field(None, description="Length of the picture's shorter side, µm.")
    pixel_nm: Length | None = Field(None, description="Size of a pixel, nm, where the file does not tell it.")
    Ms: Text | None = Field(None, description="Saturation magnetisation.")
    Ku1: Text | None = Field(None, description="Uniaxial anisotropy.")
    Keff: Text | None = Field(None, description="Ku1 - µ0 Ms² / 2.")
    Hk: Text | None = Field(None, description="Anisotropy field of Keff.")
    Aex: Text | None = Field(None, description="Exchange stiffness.")
    D: Text | None = Field(None, description="DMI, where Ms or Aex are asked for.")
    thickness: Text | None = Field(None, description="Thickness of the film.")
    dmi: Text | None = Field(None, description="interfacial or bulk.")
    history: Text | None = Field(None, description="minimised, quenched, thermal or demagnetised.")
    instrument: Text | None = Field(
        None,
        description="microscope (if not told), none for a simulated picture, or a real one, as of GET /v1/choices.",
    )
    resolution_nm: Length | None = Field(
        None, description="What limits a real instrument, nm, if known; which length, as of GET /v1/choices."
    )
    force: bool = Field(False, description="Show the values of an estimate that is refused, too.")
    nearest: int = Field(
        0, ge=0, le=MAX_NEAREST, description="How many simulated films to show: the server's nearest to the answer."
    )
    draws: int = Field(0, ge=0, le=MAX_DRAWS, description="How many draws of the posterior the answer shall hold.")


CONSTANTS = ("Ms", "Ku1", "Keff", "Hk", "Aex", "D", "thickness")


def request_of(kind: type[Asked], options: dict[str, Any]) -> Asked:
    """Return the request that the options make. Raises UserError, which names the first wrong one."""
    try:
        return kind.model_validate(options)
    except ValidationError as error:
        raise UserError(_sentence(kind, error)) from None


_WANTED = {
    "bool_parsing": "give true or false",
    "float_parsing": "give a number",
    "finite_number": "give a finite number",
    "int_parsing": "give a whole number",
    "string_type": "give a text",
    "string_too_long": f"give a text of at most {LONGEST} characters",
}


def _sentence(kind: type[BaseModel], error: ValidationError) -> str:
    first = error.errors(include_url=False)[0]
    name = shortened(str(first["loc"][0])).strip("'") if first["loc"] else "the request"
    if first["type"] == "extra_forbidden":
        return f"{name} is not an option; there are {', '.join(kind.model_fields)}"
    said = _WANTED.get(first["type"], first["msg"].replace("Input should be", "give a number that is"))
    return f"{name}: {said}, not {shortened(first['input'])}"
