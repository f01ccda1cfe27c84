"""What all sections of a config have in common."""

from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict

from magray.paths import at_home

Place = Annotated[Path, AfterValidator(at_home)]


class Section(BaseModel):
    """Some keys of a config. One that it does not know is an error, and nothing changes once it is read."""

    model_config = ConfigDict(extra="forbid", frozen=True)
