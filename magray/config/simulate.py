"""The section `simulate` of a project's config."""

from typing import Literal

from pydantic import field_validator

from magray.config.section import Films, GpuShare, Processes, Section
from magray.files.paths import refuse_credentials


class SimulateConfig(Section):
    """The simulation: its store, backend and share of the machine. None of these keys changes a film."""

    store: str | None = None  # folder or URI such as s3://bucket/prefix; default: store/ in the project's folder
    backend: Literal["auto", "numpy", "cpu", "cupy"] = "auto"
    actors: Processes | None = None  # at most; default: one for each core, or each GPU, that is available at the start
    gpu_share: GpuShare = 1.0  # of a GPU that an actor takes
    block_films: Films | None = None  # that an actor takes at a time; default: 4, on a GPU half of its slots
    retry_failed: bool = False  # simulate again the films that failed before

    @field_validator("store")
    @classmethod
    def _holds_no_credentials(cls, store: str | None) -> str | None:
        refuse_credentials(store or "")  # the config is kept beside the results
        return store
