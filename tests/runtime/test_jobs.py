"""Jobs: how a stage becomes one, what it is called, how it is followed, what travels with it."""

import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
from ray._private.runtime_env.packaging import create_package
from ray.job_submission import JobDetails, JobStatus, JobType
from ray.runtime_env import RuntimeEnv
from typer.testing import CliRunner

from jobs import stage
from magray.cli.app import app
from magray.config import load_config
from magray.errors import UserError
from magray.runtime import jobs as jobs
from magray.runtime.jobs import STAGES, Job, follow, submission_id, submit, submit_stage

ROOT = Path(__file__).parents[2]
QUICKSTART = ROOT / "configs" / "quickstart.yaml"
SERVER = "http://127.0.0.1:8265"
SHARED = ["output=/results/quickstart"]


def details(job: str, status: JobStatus, exit_code: int | None = None) -> JobDetails:
    """Return the details of a job, as the server sends them."""
    return JobDetails(
        type=JobType.SUBMISSION,
        submission_id=job,
        status=status,
        entrypoint="magray",
        message="why it is so",
        driver_exit_code=exit_code,
    )


class Server:
    """A job server that has these jobs, and notes what is submitted."""

    def __init__(self, **jobs: JobStatus) -> None:
        self.jobs = [details(name.replace("_", "-").replace("--", ":"), status) for name, status in jobs.items()]
        self.submitted: list[str] = []
        self.entrypoint = ""
        self.runtime_env: dict[str, Any] = {}

    def list_jobs(self) -> list[JobDetails]:
        return self.jobs

    def submit_job(self, **request: Any) -> None:
        self.submitted.append(request["submission_id"])
        self.entrypoint, self.runtime_env = request["entrypoint"], request["runtime_env"]


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Server:
    """Replace the job server, at its address, by a stand-in for stages submitted from the repository."""
    server = Server()
    monkeypatch.setattr(jobs, "_client", lambda _: server)
    monkeypatch.chdir(ROOT)
    return server


@pytest.mark.parametrize("status", [JobStatus.PENDING, JobStatus.RUNNING])
def test_submitting_twice_is_one_job(status: JobStatus) -> None:
    server = Server(fit_a=status, fit_a_b=JobStatus.FAILED)
    found = submit(server, "fit-a", "magray fit a.yaml", {})  # type: ignore[arg-type]
    assert (found.id, found.fresh) == ("fit-a", False)
    assert server.submitted == []


@pytest.mark.parametrize("status", [JobStatus.FAILED, JobStatus.STOPPED, JobStatus.SUCCEEDED])
def test_a_job_that_has_ended_makes_room_for_the_next(status: JobStatus) -> None:
    """Stages go on where they were: submitting a stopped campaign again is how it is resumed."""
    assert submit(Server(fit_a=status), "fit-a", "magray", {}).id == "fit-a:2"  # type: ignore[arg-type]
    server = Server(fit_a__10=status, fit_a__9=status, fit_a=status)
    assert submit(server, "fit-a", "magray", {}).id == "fit-a:11"  # type: ignore[arg-type]


def test_of_two_that_submit_at_once_one_follows_the_other() -> None:
    class Raced(Server):
        def submit_job(self, **request: Any) -> None:
            self.jobs.append(details(request["submission_id"], JobStatus.PENDING))
            raise RuntimeError(f"Job with submission_id {request['submission_id']} already exists.")

    found = submit(Raced(fit_a=JobStatus.FAILED), "fit-a", "magray", {})  # type: ignore[arg-type]
    assert (found.id, found.fresh) == ("fit-a:2", False)


def test_what_was_typed_reaches_the_job(server: Server) -> None:
    submit_stage(SERVER, "simulate", QUICKSTART, [*SHARED, "campaign.cells=[64, 64]"], options=["--thumbnails"])
    typed = "configs/quickstart.yaml --set output=/results/quickstart --set 'campaign.cells=[64, 64]' --thumbnails"
    assert (server.submitted, server.entrypoint) == (["simulate-quickstart"], f"magray simulate {typed}")
    assert server.runtime_env == {"working_dir": "."}  # the image has all else


def test_a_study_ends_with_its_report(server: Server) -> None:
    """Results are where the cluster's nodes are, and so must be whoever draws them."""
    submit_stage(SERVER, "study", QUICKSTART, SHARED)
    words = "configs/quickstart.yaml --set output=/results/quickstart"
    assert server.entrypoint == f"magray study {words} && magray report {words}"


def test_without_the_image_the_job_installs_magray_at_pinned_versions(server: Server) -> None:
    submit_stage(SERVER, "fit", QUICKSTART, SHARED, by_pip=True)
    environment = RuntimeEnv(**server.runtime_env | {"working_dir": "s3://bucket/work.zip"})  # Ray's own check of keys
    assert any("constraints.txt" in line for line in environment.pip_config()["packages"])


@pytest.mark.parametrize(
    ("config", "changes", "words"),
    [
        (QUICKSTART, [], "output: runs/quickstart would lie in the job's own folder"),
        (QUICKSTART, [*SHARED, "simulate.store=films"], "simulate.store: films would lie in the job's own folder"),
        (QUICKSTART, [*SHARED, "campaign.flims=7"], "unknown key campaign.flims; did you mean films?"),
        (Path("configs/none.yaml"), SHARED, "configs/none.yaml: cannot read this config"),
    ],
)
def test_a_job_that_would_be_in_vain_is_not_submitted(
    server: Server, config: Path, changes: list[str], words: str
) -> None:
    with pytest.raises(UserError) as refusal:
        submit_stage(SERVER, "simulate", config, changes)
    assert words in str(refusal.value)
    assert server.submitted == []


def test_pip_without_a_job_is_refused() -> None:
    result = CliRunner().invoke(app, ["fit", str(QUICKSTART), "--pip", "--address", "auto"])
    assert isinstance(result.exception, UserError)
    assert str(result.exception).startswith("--pip is for jobs: give the job server too")


def test_a_config_that_does_not_travel_is_not_submitted(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="does not travel with the job: copy it below this folder"):
        submit_stage(SERVER, "simulate", QUICKSTART, SHARED)
    (tmp_path / "mine.yaml").write_bytes(QUICKSTART.read_bytes())
    with pytest.raises(UserError, match="--pip installs magray from its repository, and this folder is none"):
        submit_stage(SERVER, "simulate", Path("mine.yaml"), SHARED, by_pip=True)
    assert server.submitted == []


class Running:
    """A job as the server tells of it from one look to the next. An error is a look that failed."""

    def __init__(self, *looks: tuple[str, JobDetails] | Exception) -> None:
        self.looks = list(looks)

    def get_job_info(self, job: str) -> JobDetails:
        assert job == "fit-a"
        look = self.looks.pop(0)
        if isinstance(look, Exception):
            raise look
        self.log, now = look
        return now

    def get_job_logs(self, job: str) -> str:
        assert job == "fit-a"
        return self.log


def followed(server: Running) -> tuple[int, str]:
    """Exit code and what was shown."""
    shown: list[str] = []
    code = follow(Job(server, "fit-a", "magray", fresh=True), shown.append)  # type: ignore[arg-type]
    return code, "".join(shown)


@pytest.mark.parametrize(
    ("status", "exit_code", "ours"),
    [
        (JobStatus.SUCCEEDED, 0, 0),
        (JobStatus.FAILED, 2, 2),
        (JobStatus.FAILED, 1, 1),
        (JobStatus.FAILED, 137, 1),
        (JobStatus.FAILED, None, 1),
        (JobStatus.STOPPED, None, 1),
    ],
)
def test_following_shows_each_line_once_and_ends_as_the_job(
    status: JobStatus, exit_code: int | None, ours: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs, "POLL_SECONDS", 0)
    begun, running = details("fit-a", JobStatus.PENDING), details("fit-a", JobStatus.RUNNING)
    looks = ("", begun), ("a\nb", running), ("a\nbc\n", running), ("a\nbc\nd\n", details("fit-a", status, exit_code))
    code, shown = followed(Running(*looks))
    assert code == ours
    assert shown.startswith("a\nbc\nd\n")
    assert ("why it is so" in shown) == (exit_code is None)  # the server's words where the job has none of its own


def test_a_short_silence_of_the_server_is_waited_for_and_a_long_one_is_one_line(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(jobs, "POLL_SECONDS", 0)
    away = ConnectionError("away for a moment"), RuntimeError("Request failed with status code 502: busy")
    end = "done\n", details("fit-a", JobStatus.SUCCEEDED, 0)
    assert followed(Running(*away, end)) == (0, "done\n")
    monkeypatch.setattr(jobs, "SILENCE_SECONDS", 0)
    with pytest.raises(UserError, match=r"fit-a may go on; run the same command again .*away for a moment"):
        followed(Running(*away, end))


def test_a_job_of_ray_job_submit_does_its_stage(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Its commands run one after the other as long as they end well; here the report lacks a study."""
    words = [str(QUICKSTART), "--set", "campaign.films=7", "--set", f"output={tmp_path / 'seven'}"]
    monkeypatch.setattr(sys, "argv", ["jobs/study.py", *words])
    with pytest.raises(SystemExit) as end:
        stage.run("plan", "report")
    assert end.value.code == 2
    assert (tmp_path / "seven" / "plan.parquet").exists()


def test_a_users_error_in_such_a_job_is_one_line_and_exit_code_2(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["jobs/fit.py", str(QUICKSTART), "--set", "campaign.flims=7"])
    with pytest.raises(SystemExit) as end:
        stage.run("fit")
    told = capsys.readouterr().err
    assert end.value.code == 2
    assert told.count("\n") == 1
    assert "campaign.flims" in told


@pytest.mark.parametrize("name", STAGES)
def test_every_stage_has_a_script_that_says_how_to_submit_it(name: str) -> None:
    text = (ROOT / "jobs" / f"{name}.py").read_text(encoding="utf-8")
    assert f"--submission-id {submission_id(name, load_config(QUICKSTART))} --working-dir . -- " in text
    assert f"python -m jobs.{name} configs/quickstart.yaml --set output=/results/quickstart" in text
    commands = ", ".join(f'"{command}"' for command in STAGES[name])
    assert f"run({commands})" in text  # what magray's own job of this stage does


def test_what_travels_with_a_job_is_what_it_needs(tmp_path: Path) -> None:
    """`--working-dir .` by Ray's own packager."""
    package = tmp_path / "working_dir.zip"
    create_package(str(ROOT), package, include_gitignore=True)
    files = {Path(name) for name in zipfile.ZipFile(package).namelist() if not name.endswith("/")}
    needed = ["magray/project/stages.py", "jobs/simulate.py", "configs/quickstart.yaml", "constraints.txt"]
    to_build = ["pyproject.toml", "README.md", "LICENSE"]  # where nodes lack the image, pip builds magray
    assert files >= {Path(name) for name in [*needed, *to_build]}
    idle = {"tests", "docs", "benchmarks", "cluster", "runs", ".venv", ".git"}
    assert not {path.parts[0] for path in files} & idle
