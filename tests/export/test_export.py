"""The export of finished searches: exact, current, complete, and usable elsewhere."""

import json
import subprocess
import sys
from functools import partial
from pathlib import Path

import onnxruntime
import pytest
import torch
from torch import nn

from bregman_nas import cli
from bregman_nas.errors import UserError
from bregman_nas.export import finished
from bregman_nas.export import load as load_small
from bregman_nas.export.finished import difference, find, keep, kept_path, multiply_adds, start
from bregman_nas.search.core.mlp import mean_squared_error
from bregman_nas.search.job import Job
from bregman_nas.search.records import read_record, write_record
from bregman_nas.search.seed import search_seed
from bregman_nas.settings import load_settings
from tests.helpers import PROJECT, job_in, new_project

SETTINGS = load_settings(PROJECT / "params.yaml")
KEPT = sorted(folder.name for folder in (PROJECT / "results" / "networks").iterdir())

# Where the package is not.
ELSEWHERE = """
import sys
sys.modules["bregman_nas"] = None
import network, torch
net = network.load("network.safetensors")
images = torch.load("images.pt")
torch.save(net(images).detach(), "outputs.pt")
"""


@pytest.mark.parametrize("run", ["paper-autoencoder", "authors-residual", "authors-densenet"])
def test_an_exported_network_gives_the_outputs_of_the_full_one(run: str, tmp_path: Path) -> None:
    """On the whole test set: as a module, from its files without this package, and as ONNX."""
    job = job_in(new_project(tmp_path, {"experiments.residual.mu": 0.01}), run)
    record = search_seed(job)
    out = tmp_path / "out"
    assert cli.main(["--project", str(job.project), "export", run, "--out", str(out)]) == 0
    search = start(job, "sample")
    search.network.load_state_dict(torch.load(job.network, weights_only=True))
    inputs = search.problem.test.inputs
    expected = search.network(inputs).detach()
    # Logits are large here, and single precision has seven digits.
    close = partial(torch.testing.assert_close, rtol=0, atol=1e-5 * max(1, expected.abs().max()))
    small = load_small(out / "network.safetensors")
    close(small(inputs).detach(), expected)

    session = onnxruntime.InferenceSession(out / "network.onnx")
    for count in (1, len(inputs)):
        (outputs,) = session.run(None, {"images": inputs[:count].numpy()})
        close(torch.from_numpy(outputs), expected[:count])

    torch.save(inputs, out / "images.pt")
    subprocess.run([sys.executable, "-c", ELSEWHERE], cwd=out, check=True)
    close(torch.load(out / "outputs.pt"), expected)

    about = json.loads((out / "architecture.json").read_text("utf-8"))
    assert about["record"] == record["digests"]["all"]
    assert about["difference"]["double"] <= 1e-5
    count = sum(p.numel() for p in small.parameters())
    assert about["parameters"]["small"] == count < about["parameters"]["full"]
    assert about["multiply_adds"]["small"] < about["multiply_adds"]["full"]
    widths = zip(about["widths"]["small"][:-1], about["widths"]["active"][:-1], strict=True)
    assert all(less <= active for less, active in widths)
    assert (out / "restored.png").exists() == (run != "authors-densenet")
    assert (out / "latency.json").exists()


def test_a_clone_exports_what_was_committed(project: Path) -> None:
    job = job_in(project)
    record = search_seed(job)
    keep(job, record)
    before = find(job)
    content = kept_path(job).read_bytes()
    keep(job, record)
    assert kept_path(job).read_bytes() == content
    job.network.unlink()
    after = find(job)
    assert after.description == before.description
    assert after.weights() == before.weights() == content


@pytest.mark.parametrize("fault", ["other weights", "no digest", "of an older search"])
def test_a_network_that_is_not_that_of_the_record_is_not_used(project: Path, fault: str) -> None:
    job = job_in(project)
    record = search_seed(job)
    if fault == "other weights":
        weights = torch.load(job.network, weights_only=True)
        torch.save({name: 1.5 * x for name, x in weights.items()}, job.network)
    elif fault == "no digest":
        del record["network"]
        write_record(job.record, record)
    else:
        keep(job, record)
        job.network.unlink()
        write_record(job.record, {**record, "digests": {**record["digests"], "all": "another"}})
    keep(job, record)
    assert kept_path(job).exists() == (fault == "of an older search")
    with pytest.raises(UserError, match=r"neither .* nor .*search paper-autoencoder --seeds 0"):
        find(job)


def test_a_network_that_collapsed_says_so(project: Path) -> None:
    job = job_in(project, "authors-densenet")
    record = search_seed(job)
    for accuracy in (0.1, 0.3):
        record["result"]["test_accuracy"] = accuracy
        write_record(job.record, record)
        assert find(job).description["collapsed"] == (accuracy == 0.1)


def test_large_weights_are_not_committed(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(finished, "COMMITTED_BYTES", 100)
    job = job_in(project)
    keep(job, search_seed(job))
    assert not kept_path(job).exists()
    assert json.loads(kept_path(job).with_suffix(".json").read_text("utf-8"))["seed"] == 0


def test_what_was_not_searched_is_a_clear_error(project: Path) -> None:
    with pytest.raises(UserError, match="seed 0 has not been searched; run `bregman-nas search pa"):
        find(job_in(project))
    arm = SETTINGS.run("paper-residual-denoising-found")
    with pytest.raises(UserError, match="arm; only searches are exported, such as paper-residual"):
        find(Job(arm, 0, PROJECT))


def test_multiply_adds_and_differences_by_hand() -> None:
    conv = nn.Sequential(nn.Conv2d(1, 2, 3, padding=1), nn.Flatten(), nn.Linear(32, 5))
    assert multiply_adds(conv, torch.zeros(1, 4, 4)) == 16 * 9 * 2 + 32 * 5
    one, other = nn.Linear(1, 1, bias=False), nn.Linear(1, 1, bias=False)
    nn.init.constant_(one.weight, 1.0)
    nn.init.constant_(other.weight, 3.0)
    assert difference(one, other, torch.tensor([[1.0], [-2.0]])) == 4.0
    assert difference(one, other, torch.tensor([[float("nan")], [float("inf")]])) == 0.0


@pytest.mark.parametrize("run", KEPT)
def test_the_committed_networks_restore_as_their_records_say(
    run: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def not_at_hand(*_: object) -> bytes:
        pytest.skip("the full data are neither in data/raw nor in a folder of BREGMAN_NAS_DATA")

    monkeypatch.setattr("bregman_nas.data.files._download", not_at_hand)
    job = Job(SETTINGS.run(run), 0, PROJECT)
    path, record = kept_path(job), read_record(job.record)
    about = json.loads(path.with_suffix(".json").read_text("utf-8"))
    assert about["record"] == record["digests"]["all"]
    assert about["difference"]["double"] <= 1e-5
    if not path.exists():
        pytest.skip(f"{run}: its small network takes more than 3 MB")
    net, test, result = load_small(path), start(job, "full").problem.test, record["result"]
    with torch.no_grad():
        outputs = torch.cat([net(part) for part in test.inputs.split(1_000)])
    if job.run.experiment.network == "mlp":
        mse = mean_squared_error(outputs, test.targets)
        assert mse == pytest.approx(result["test_mse"], rel=1e-5)
    else:
        right = (outputs.argmax(1) == test.targets).double().mean()
        assert float(right) == pytest.approx(result["test_accuracy"], abs=1e-4)
