"""The files in cluster/ conform to the schemas and the code that read them.

KUBERAY_CRDS names a folder with the openAPIV3Schema of KubeRay's CRDs, as rayjobs.v1.schema.json,
rayclusters.v1.schema.json and rayservices.v1.schema.json; without it the tests of manifests against them are skipped.
"""

import copy
import json
import os
import re
from importlib import metadata
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import pytest
import ray
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version
from ray.autoscaler._private.util import prepare_config, validate_config

import magray
from magray.campaign.metrics import METRICS
from magray.config import load_config
from magray.runtime.jobs import STAGES, submission_id

ROOT = Path(__file__).parents[2]
CLUSTER = ROOT / "cluster"
MANIFESTS = {path.name: yaml.safe_load(path.read_text(encoding="utf-8")) for path in CLUSTER.glob("kuberay/*.yaml")}
RAY_UP = {path.name: yaml.safe_load(path.read_text(encoding="utf-8")) for path in CLUSTER.glob("ray-up/*.yaml")}
JOB, RAY_CLUSTER = MANIFESTS["rayjob.yaml"]["spec"], MANIFESTS["raycluster.yaml"]["spec"]
SERVICE = MANIFESTS["rayservice.yaml"]["spec"]
SERVE = yaml.safe_load((CLUSTER / "serve.yaml").read_text(encoding="utf-8"))
SUBMISSION_MODES = ("K8sJobMode", "HTTPMode", "InteractiveMode", "SidecarMode")  # not in the schema
TEXT_FILES = [path for path in CLUSTER.rglob("*") if path.is_file()]


def strict(schema: Any) -> Any:
    """The schema with every field that it does not list forbidden, as `kubectl apply --validate=strict` has it."""
    if isinstance(schema, list):
        return [strict(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    loose = {"format"} | ({"type"} if schema.get("x-kubernetes-int-or-string") else set())
    result = {key: strict(value) for key, value in schema.items() if key not in loose or not isinstance(value, str)}
    if isinstance(schema.get("properties"), dict) and not schema.get("x-kubernetes-preserve-unknown-fields"):
        result.setdefault("additionalProperties", False)
    return result


@pytest.fixture(params=["rayjob", "raycluster", "rayservice"])
def checked(request: pytest.FixtureRequest) -> tuple[dict[str, Any], jsonschema.Draft7Validator]:
    """A manifest, and the validator of its kind."""
    folder = os.environ.get("KUBERAY_CRDS")
    if not folder:
        pytest.skip("KUBERAY_CRDS names no folder with KubeRay's schemas")
    schema = json.loads((Path(folder) / f"{request.param}s.v1.schema.json").read_text(encoding="utf-8"))
    return MANIFESTS[f"{request.param}.yaml"], jsonschema.Draft7Validator(strict(schema))


def test_kuberay_knows_every_field(checked: tuple[dict[str, Any], jsonschema.Draft7Validator]) -> None:
    manifest, validator = checked
    assert [f"{'.'.join(map(str, error.path))}: {error.message}" for error in validator.iter_errors(manifest)] == []


def test_a_misspelt_field_would_be_found(checked: tuple[dict[str, Any], jsonschema.Draft7Validator]) -> None:
    manifest, validator = checked
    wrong = copy.deepcopy(manifest)
    spec = wrong["spec"]
    cluster = spec.get("rayClusterSpec") or spec.get("rayClusterConfig") or spec
    cluster["workerGroupSpecs"][0]["maxReplica"] = 8
    assert not validator.is_valid(wrong)


def test_the_job_brings_the_same_cluster_as_the_one_that_stays() -> None:
    assert JOB["rayClusterSpec"] == RAY_CLUSTER


def test_the_head_has_no_work_and_gpus_come_from_nothing_on_spot_nodes() -> None:
    head, gpu = RAY_CLUSTER["headGroupSpec"], RAY_CLUSTER["workerGroupSpecs"][0]
    assert head["rayStartParams"]["num-cpus"] == "0"
    assert "SPOT" not in str(head["template"]["spec"]["nodeSelector"])
    assert RAY_CLUSTER["enableInTreeAutoscaling"]
    assert gpu["minReplicas"] == gpu["replicas"] == 0 < gpu["maxReplicas"]
    assert "SPOT" in str(gpu["template"]["spec"]["nodeSelector"])
    assert gpu["template"]["spec"]["containers"][0]["resources"]["limits"]["nvidia.com/gpu"] == "1"


def test_a_job_leaves_nothing_behind_that_costs() -> None:
    assert JOB["submissionMode"] in SUBMISSION_MODES
    assert JOB["shutdownAfterJobFinishes"]
    assert JOB["activeDeadlineSeconds"] > 0


@pytest.mark.parametrize("stage", STAGES)
def test_the_jobs_id_is_that_of_its_campaign(stage: str) -> None:
    """So that a campaign has one job, whichever way it is submitted; also in the other stages' jobs, which README.md
    makes of this one by sed."""
    text = (CLUSTER / "kuberay" / "rayjob.yaml").read_text(encoding="utf-8")
    job = yaml.safe_load(text.replace("simulate", stage))
    _, _, module, config, *_ = job["spec"]["entrypoint"].split()
    assert module == f"jobs.{stage}"
    expected = submission_id(stage, load_config(ROOT / config.removeprefix("/opt/magray/")))  # where the image has it
    assert job["spec"]["jobId"] == job["metadata"]["name"] == expected


def pods() -> list[dict[str, Any]]:
    """The templates of all pods: heads, workers, submitter."""
    clusters = (RAY_CLUSTER, SERVICE["rayClusterConfig"])
    groups = [group for cluster in clusters for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"])]
    return [*(group["template"] for group in groups), JOB["submitterPodTemplate"]]


def test_the_service_is_that_of_serve_yaml_and_every_pod_has_its_token_from_a_secret() -> None:
    """serve.yaml is for clusters that run already; Ray's own schema reads it."""
    pytest.importorskip("fastapi", reason="magray[serve] is not installed: serve.yaml was not read by Ray")
    from ray.serve.schema import ServeDeploySchema

    assert yaml.safe_load(SERVICE["serveConfigV2"]) == SERVE
    assert ServeDeploySchema(**SERVE).applications[0].import_path == "magray.serve.service:build"
    cluster = SERVICE["rayClusterConfig"]
    assert cluster["authOptions"] == {"mode": "token"}
    for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"]):
        (container,) = group["template"]["spec"]["containers"]
        (token,) = [one for one in container["env"] if one["name"] == "MAGRAY_SERVE_TOKEN"]
        assert token["valueFrom"] == {"secretKeyRef": {"name": "magray-serve", "key": "token"}}


def test_every_pod_asks_for_a_token_and_is_unprivileged() -> None:
    """Ray's own `ray start` asks nobody who they are unless it is told to."""
    assert RAY_CLUSTER["authOptions"] == {"mode": "token"}
    for pod in pods():
        assert pod["spec"]["securityContext"]["runAsNonRoot"]
        for container in pod["spec"]["containers"]:
            assert {"name": "RAY_AUTH_MODE", "value": "token"} in container["env"]
            assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
            assert not container["securityContext"]["allowPrivilegeEscalation"]


def test_the_network_policy_and_the_pod_monitor_find_every_pod() -> None:
    monitor = yaml.safe_load((CLUSTER / "monitoring" / "podmonitor.yaml").read_text(encoding="utf-8"))
    policy = MANIFESTS["networkpolicy.yaml"]["spec"]
    for pod in pods():
        assert pod["metadata"]["labels"] == policy["podSelector"]["matchLabels"]
    assert monitor["spec"]["selector"] == policy["podSelector"]
    assert set(policy["policyTypes"]) == {"Ingress", "Egress"}
    assert all(rule["from"] for rule in policy["ingress"])  # without it, a rule lets everybody in


@pytest.mark.parametrize("name", RAY_UP)
def test_ray_up_accepts_it(name: str) -> None:
    validate_config(prepare_config(copy.deepcopy(RAY_UP[name])))


@pytest.mark.parametrize("name", RAY_UP)
def test_nodes_of_ray_up_ask_for_a_token_and_keep_the_dashboard_on_loopback(name: str) -> None:
    config = RAY_UP[name]
    head, worker = (config[f"{node}_start_ray_commands"][-1] for node in ("head", "worker"))
    assert "RAY_AUTH_MODE=token ray start --head" in head
    assert "--dashboard-host=127.0.0.1" in head
    assert "RAY_AUTH_MODE=token ray start --address" in worker
    assert "--env RAY_AUTH_MODE=token" in config["docker"]["run_options"]
    assert config["file_mounts"] == {"~/.ray/auth_token": "~/.ray/auth_token"}


def test_the_aws_head_has_no_work_and_gpus_come_from_nothing_on_spot_instances() -> None:
    head, gpu = (RAY_UP["aws.yaml"]["available_node_types"][name] for name in ("head", "gpu"))
    assert head["resources"]["CPU"] == 0
    assert "InstanceMarketOptions" not in head["node_config"]
    assert gpu["min_workers"] == 0
    assert gpu["node_config"]["InstanceMarketOptions"] == {"MarketType": "spot"}


def test_everything_runs_this_version_of_the_image() -> None:
    texts = [path.read_text(encoding="utf-8") for path in TEXT_FILES]
    versions = {version for text in texts for version in re.findall(r"/magray:([\w.]+)", text)}
    assert versions == {magray.__version__}
    assert RAY_CLUSTER["rayVersion"] == ray.__version__


def test_the_image_is_pinned() -> None:
    dockerfile = (CLUSTER / "Dockerfile").read_text(encoding="utf-8")
    base = r"^ARG BASE=nvidia/cuda:13\.\d+\.\d+-runtime-ubuntu\d\d\.\d\d@sha256:[0-9a-f]{64}\nFROM \$BASE$"
    assert re.search(base, dockerfile, re.MULTILINE)
    assert len(re.findall("^FROM", dockerfile, re.MULTILINE)) == 1
    assert "-c constraints.txt -c cluster/constraints.txt" in dockerfile
    pins = (CLUSTER / "constraints.txt").read_text(encoding="utf-8").splitlines()
    assert all(line.startswith("#") or "==" in line for line in pins)


def test_all_that_is_installed_is_pinned() -> None:
    """A package that is not pinned changes without notice, and .ci/audit does not check it for vulnerabilities."""
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = {canonicalize_name(line.split("==")[0]): line.split("==")[1] for line in lines if not line.startswith("#")}
    installed = {
        canonicalize_name(name): Version(metadata.version(name)).public for name in brought_by("magray", {"dev"})
    }
    assert len(installed) > 50
    assert {name: pins.get(name) for name in installed} == installed


def brought_by(package: str, extras: set[str]) -> set[str]:
    """Names of all packages that installing a package with these extras brings on this machine."""
    names: set[str] = set()
    queue = [(package, frozenset(extras))]
    seen = set(queue)
    while queue:
        name, wanted = queue.pop()
        for line in metadata.requires(name) or ():
            needed = Requirement(line)
            if needed.marker is None or any(needed.marker.evaluate({"extra": extra}) for extra in wanted or {""}):
                names.add(canonicalize_name(needed.name))
                found = (needed.name, frozenset(needed.extras))
                queue += [found] if found not in seen else []
                seen.add(found)
    return names - {package}


@pytest.mark.parametrize("path", TEXT_FILES, ids=lambda path: path.name)
def test_no_file_holds_a_secret(path: Path) -> None:
    """Tokens and keys come from the environment, a file of the user's, or a Kubernetes Secret."""
    secret = r"AKIA[0-9A-Z]{16}|BEGIN [A-Z ]*PRIVATE KEY|(?i:secret_access_key|auth_token|password) *[:=] *[\"']?\w{8}"
    assert not re.search(secret, path.read_text(encoding="utf-8"))


def dashboard_queries() -> list[str]:
    """Every PromQL expression of the dashboard, and the query of its variable."""
    dashboard = json.loads((CLUSTER / "monitoring" / "grafana-dashboard.json").read_text(encoding="utf-8"))
    expressions = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    return expressions + [variable["query"] for variable in dashboard["templating"]["list"]]


def test_the_dashboard_asks_for_metrics_that_are_exported() -> None:
    """Ours by the tuple that makes them, Ray's own by the source that does. Ray puts `ray_` before both."""
    asked = {name for query in dashboard_queries() for name in re.findall(r"\bray_(\w+)", query)}
    reporter = Path(ray.__file__).parent / "dashboard" / "modules" / "reporter" / "reporter_agent.py"
    of_ray = set(re.findall(r'^    "(\w+)": Gauge\(', reporter.read_text(encoding="utf-8"), re.MULTILINE))
    assert "node_gpus_utilization" in of_ray
    assert asked <= {*METRICS, *of_ray}
    assert asked >= set(METRICS)  # and nothing that we count is left out
