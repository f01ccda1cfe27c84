"""Submit a stage of a campaign as a Ray job, from any machine that reaches the job server, and follow it.

A stage of a campaign is one job: while it is under way, submitting it again is following it. One that has ended, well
or not, makes room for the next, which goes on where it was: simulate-quickstart, simulate-quickstart:2 and so on. (Ray
takes an id again once its job is deleted, but may then hold the new job for the dead one, and mixes their logs.)
"""

import contextlib
import logging
import os
import re
import shlex
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import Any

import yaml
from ray.exceptions import AuthenticationError
from ray.job_submission import JobDetails, JobStatus, JobSubmissionClient

from magray.config import Config, DesignedConfig, load_config, load_films
from magray.errors import UserError, one_line

STAGES = {"simulate": ["simulate"], "fit": ["fit"], "study": ["study", "report"]}  # a stage and its commands
_ON_THE_IMAGE = {"working_dir": "."}  # nodes run the image of cluster/Dockerfile: only our files travel
_BY_PIP = Path("jobs/runtime_env_pip.yaml")
CONNECT_SECONDS = 10.0
POLL_SECONDS = 1.0  # between two requests for a job's state
SILENCE_SECONDS = 60.0  # seconds that a job server may be silent while its job is followed


@dataclass(frozen=True)
class Job:
    """A Ray job. `fresh`: it was submitted just now, and not before."""

    client: JobSubmissionClient
    id: str
    entrypoint: str
    fresh: bool


def submit_stage(
    address: str,
    stage: str,
    config: Path,
    overrides: Sequence[str] = (),
    by_pip: bool = False,
    options: Sequence[str] = (),
) -> Job:
    """Return the job at the server `address` that does a stage of the project: the one under way, or a new one.

    This folder travels with it. by_pip: its nodes lack magray's image and install magray first, from this folder.
    options: further ones of the stage's command.
    Raises UserError if the config is wrong or its results would not outlive the job, or if the server takes no job.
    """
    project = (load_films if stage == "simulate" else load_config)(config, overrides)
    _check_that_results_stay(project)
    entrypoint = _entrypoint(stage, _travelling(config), overrides, options)
    runtime_env = _by_pip() if by_pip else _ON_THE_IMAGE
    client = _client(address)
    try:
        return submit(client, submission_id(stage, project), entrypoint, runtime_env)
    except (OSError, RuntimeError, ValueError) as error:
        raise UserError(f"the job server at {address} does not take the job: {one_line(error)}") from error


def submission_id(stage: str, config: Config | DesignedConfig) -> str:
    """Return the id of a campaign's first job, the same from every machine: simulate-quickstart."""
    return f"{stage}-{config.name}"


def submit(client: JobSubmissionClient, name: str, entrypoint: str, runtime_env: dict[str, Any]) -> Job:
    """Return the last job of this name if it is under way, otherwise submit a new one."""
    last, number = _last_run(client.list_jobs(), name)
    if last is not None and not last.status.is_terminal():
        return Job(client, str(last.submission_id), last.entrypoint, fresh=False)
    job = f"{name}:{number + 1}" if last is not None else name
    try:
        client.submit_job(entrypoint=entrypoint, submission_id=job, runtime_env=runtime_env)
    except RuntimeError as error:
        if "already exists" not in str(error):
            raise
        return submit(client, name, entrypoint, runtime_env)  # somebody submitted it a moment ago
    return Job(client, job, entrypoint, fresh=True)


def _last_run(jobs: list[JobDetails], name: str) -> tuple[JobDetails | None, int]:
    """Return the last of the campaign's jobs, and how many there were."""
    runs = {}
    for job in jobs:
        if found := re.fullmatch(re.escape(name) + r"(?::(\d+))?", job.submission_id or ""):
            runs[int(found[1] or 1)] = job
    last = max(runs, default=0)
    return runs.get(last), last


def follow(job: Job, show: Callable[[str], None]) -> int:
    """Show a job's log until it ends. Return its exit code: 0, 2 for what the user can put right, 1 for all else.

    Raises UserError if the server is silent for longer than SILENCE_SECONDS; the job may go on all the same.
    """
    shown, heard = 0, time.monotonic()
    while True:
        try:
            now = job.client.get_job_info(job.id)  # before its log, which is then complete if the job has ended
            log = job.client.get_job_logs(job.id)
        except (OSError, RuntimeError) as error:
            if time.monotonic() - heard > SILENCE_SECONDS:
                raise UserError(
                    f"the job server has not answered for {SILENCE_SECONDS:.0f} s, and {job.id} may go on; run the "
                    f"same command again to follow it ({one_line(error)})"
                ) from error
        else:
            show(log[shown:])
            shown, heard = len(log), time.monotonic()
            if now.status.is_terminal():
                return _exit_code(now, show)
        time.sleep(POLL_SECONDS)


def _exit_code(ended: JobDetails, show: Callable[[str], None]) -> int:
    if ended.status is JobStatus.SUCCEEDED:
        return 0
    if ended.driver_exit_code is None:  # it was stopped, or never began
        show(f"{ended.submission_id} {ended.status.lower()}: {ended.message}\n")
    return 2 if ended.driver_exit_code == 2 else 1


def _check_that_results_stay(config: Config | DesignedConfig) -> None:
    """Raise UserError if output or store lie in the folder that Ray unpacks for a job and removes after it."""
    for key, place in (("output", str(config.output)), ("simulate.store", config.store_uri)):
        if "://" not in place and not Path(place).is_absolute():
            raise UserError(
                f"{key}: {place} would lie in the job's own folder, which goes with the job; name one that all nodes "
                f"share, such as --set {key}=/results/{config.name}"
            )


def _travelling(config: Path) -> Path:
    """Return the config's path below this folder. Raises UserError if it is not below."""
    try:
        return config.resolve().relative_to(Path.cwd())
    except ValueError as error:
        raise UserError(f"{config} does not travel with the job: copy it below this folder, which does") from error


def _entrypoint(stage: str, config: Path, overrides: Sequence[str], options: Sequence[str]) -> str:
    changes = [word for change in overrides for word in ("--set", change)]
    return " && ".join(shlex.join(["magray", command, str(config), *changes, *options]) for command in STAGES[stage])


def _by_pip() -> dict[str, Any]:
    try:
        return dict(yaml.safe_load(_BY_PIP.read_text(encoding="utf-8")))
    except OSError as error:
        raise UserError(f"--pip installs magray from its repository, and this folder is none: no {_BY_PIP}") from error


def _client(address: str) -> JobSubmissionClient:
    """Return a client of a job server. Raises UserError if none answers, or it refuses this machine's token."""
    os.environ["RAY_API_SERVER_ADDRESS"] = address  # which Ray prefers to the address that it is given
    for handler in logging.getLogger("ray").handlers:
        handler.setLevel(logging.WARNING)  # not every file that travels
    try:
        _check_reachable(address)
        return JobSubmissionClient(address)
    except AuthenticationError as error:
        raise UserError(
            f"the job server at {address} refuses this machine's token: set RAY_AUTH_MODE=token, and RAY_AUTH_TOKEN "
            "to the cluster's token (or put that into ~/.ray/auth_token)"
        ) from error
    except (OSError, HTTPException, RuntimeError, ValueError, LookupError) as error:
        raise UserError(f"no Ray job server answers at {address}: {one_line(error)}") from error


def _check_reachable(address: str) -> None:
    """Raise OSError or HTTPException if nothing there speaks HTTP, after a while: Ray's client would wait for ever."""
    with contextlib.suppress(urllib.error.HTTPError):  # Ray's client, which has the token, finds out who it is
        urllib.request.urlopen(f"{address.rstrip('/')}/api/version", timeout=CONNECT_SECONDS).close()
