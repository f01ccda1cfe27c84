"""Read and write summary.json: facts of a project for people and scripts, and which stages are done.

A stage's fingerprint, of what it is made from, stands in `made_from` from its beginning and in `done` from its end on.
Its end is written together with what it has found, so that one is never there without the other.
"""

from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, model_validator

from magray.config.fit import Parameter
from magray.files.records import Finite, NotNegative, Positive, Text, read_record


class PlanFacts(BaseModel):
    """The outcome of planning: a sentence and its warnings."""

    text: Text
    warnings: list[Text]


class AnsweredConstant(BaseModel):
    """An estimated constant of the held-out film, beside what the film was made with; SI."""

    value: Finite
    error: NotNegative
    true: Finite
    unit: Text


class HeldOutAnswer(BaseModel):
    """The answer for one film that no estimator has seen. picture: a file of that name in report/."""

    picture: Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]*\.png$")]
    film_id: Text
    scale_um: Positive
    text: Text = ""
    warnings: list[Text]
    constants: dict[Parameter, AnsweredConstant]


class Summary(BaseModel):
    """The content of summary.json. What is not named here is kept as it is, and read by nobody."""

    model_config = ConfigDict(extra="allow")

    name: Text = ""
    seconds: dict[Text, NotNegative] = {}  # by stage
    made_from: dict[Text, Text] = {}
    done: dict[Text, Text | None] = {}
    versions: dict[Text, Text] = {}
    machine: Text = ""
    plan: PlanFacts | None = None
    scores: dict[str, Any] | None = None
    answer: HeldOutAnswer | None = None

    @model_validator(mode="after")
    def _of_former_versions(self) -> Self:
        """They recorded no ends: there all stages but `estimate` made their last file when they were done."""
        if "done" not in self.model_fields_set:
            self.done = {stage: mark for stage, mark in self.made_from.items() if stage != "estimate"}
        return self


def read_summary(path: Path, name: str) -> Summary:
    """Return what a project's summary.json says; that of a new project, called `name`, if there is no such file.

    Raises UserError if it is damaged.
    """
    if not path.exists():
        return Summary(name=name)
    problem = "is no project's summary; restore it, or move it away to have its stages done again"
    return read_record(path, TypeAdapter(Summary), problem)
