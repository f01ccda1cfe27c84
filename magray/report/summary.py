"""Read summary.json: a project's counts, scores and times, and which of its stages are done."""

from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, model_validator

from magray.config.fit import Parameter
from magray.files.records import Finite, NotNegative, Positive, Text, read_record

FigureName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.%+-]*\.png$")]  # a file of report/


class PlanFacts(BaseModel):
    """The outcome of planning: a sentence and its warnings."""

    text: Text
    warnings: list[Text]


class AnsweredConstant(BaseModel):
    """An estimated parameter of the held-out film, its error bar, and its true value; SI."""

    value: Finite
    error: NotNegative
    true: Finite
    unit: Text


class HeldOutAnswer(BaseModel):
    """The estimate for one film that no estimator has seen."""

    picture: FigureName
    film_id: Text
    scale_um: Positive
    text: Text = ""
    warnings: list[Text]
    constants: dict[Parameter, AnsweredConstant]


class Summary(BaseModel):
    """The content of summary.json. Entries without a field here are kept unchanged."""

    model_config = ConfigDict(extra="allow", populate_by_name=True)

    name: Text = ""
    seconds: dict[Text, NotNegative] = {}  # by stage
    fingerprints: dict[Text, Text] = Field({}, alias="made_from")  # by stage, from its beginning
    done: dict[Text, Text | None] = {}  # the same from its end
    versions: dict[Text, Text] = {}
    machine: Text = ""
    plan: PlanFacts | None = None
    scores: dict[str, Any] | None = None
    answer: HeldOutAnswer | None = None
    figures: list[FigureName] = []

    @model_validator(mode="after")
    def _complete_former_version(self) -> Self:
        """Fill in `done`, which former versions did not write: their last file was the sign, except for `estimate`."""
        if "done" not in self.model_fields_set:
            self.done = {stage: mark for stage, mark in self.fingerprints.items() if stage != "estimate"}
        return self


def read_summary(path: Path, name: str) -> Summary:
    """Return the content of a project's summary.json, or an empty summary of project `name` if there is no such file.

    Raises UserError if it is damaged.
    """
    if not path.exists():
        return Summary(name=name)
    problem = "is no project's summary; restore it, or move it away to run its stages again"
    return read_record(path, TypeAdapter(Summary), problem)
