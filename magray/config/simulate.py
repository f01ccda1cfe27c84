"""The section `simulate` of a project's config."""

from typing import Literal

from pydantic import field_validator

from magray.config.section import Films, GpuShare, Processes, Section
from magray.files.paths import refuse_credentials


class SimulateConfig(Section):
    """The simulation: its store, backend and share of the machine. None of these keys changes a film."""

    store: str | None = None
    """Folder or URI of the films, such as s3://bucket/prefix; without it, store/ in the project's folder."""
    backend: Literal["auto", "numpy", "cpu", "cupy"] = "auto"
    """The solver: cupy for GPUs, cpu for cores, auto for GPUs where there are any."""
    actors: Processes | None = None
    """Processes, at most; without it, one for each core, or each GPU, that is available at the start."""
    gpu_share: GpuShare = 1.0
    """Share of a GPU that an actor takes."""
    block_films: Films | None = None
    """Films that an actor takes at a time; without it 4, on a GPU half of its slots."""
    retry_failed: bool = False
    """Simulate again the films that failed before."""

    @field_validator("store")
    @classmethod
    def _holds_no_credentials(cls, store: str | None) -> str | None:
        refuse_credentials(store or "")  # the config is kept beside the results
        return store
