"""What all sections of a config have in common."""

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """Some keys of a config. One that it does not know is an error, and nothing changes once it is read."""

    model_config = ConfigDict(extra="forbid", frozen=True)
