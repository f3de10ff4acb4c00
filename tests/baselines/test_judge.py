"""The file of the answers that need no network."""

from pathlib import Path

import pandas as pd
import pytest

from bregman_nas.baselines.answers import COLUMNS, write_baselines
from bregman_nas.settings import Settings, load_settings
from tests.helpers import PROJECT

RUNS = {
    "paper-autoencoder-denoising": (0, 1),
    "paper-residual-denoising": (0,),
    "authors-autoencoder-deblurring": (3,),
    "authors-densenet-fashion": (0, 1),
}


@pytest.fixture
def settings() -> Settings:
    """The study's own, on the sample, with a few seeds."""
    study = load_settings(PROJECT / "params.yaml")
    rows = {
        name: study.runs[name].model_copy(update={"seeds": seeds}) for name, seeds in RUNS.items()
    }
    changed = rows["paper-residual-denoising"].model_copy(update={"change": {"initial_scale": 5}})
    data = study.data.model_copy(update={"source": "sample"})
    return study.model_copy(update={"data": data, "runs": {**rows, "changed": changed}})


def test_the_file_is_whole_and_the_same_again(project: Path, settings: Settings) -> None:
    folder = project / "results" / "runs" / "paper-autoencoder-denoising"
    folder.mkdir(parents=True)
    (folder / "seeds.csv").write_text("seed,test_mse,width_1,width_2\n0,0.1,7,12\n1,0.1,50,9\n")
    path = write_baselines(project, settings)
    content = path.read_bytes()
    assert write_baselines(project, settings).read_bytes() == content
    table = pd.read_csv(path)
    assert list(table.columns) == COLUMNS
    assert list(dict.fromkeys(table["run"])) == list(RUNS)
    key = ["run", "seed", "images", "answer", "dimensions"]
    assert not table.duplicated(key).any()
    assert set(table["images"]) == {"test", "held_out"}
    restored = table[table["mse"].notna()]
    for run, group in restored.groupby("run"):
        assert tuple(group["seed"].unique()) == RUNS[str(run)]
        assert ("wiener" in set(group["answer"])) == ("deblurring" in str(run))
    components = restored[restored["answer"] == "principal_components"]
    assert set(components["dimensions"]) == {7, 9, 50, 100}
    own = components[components["dimensions"] == 7]
    assert set(own["run"]) == {"paper-autoencoder-denoising"}
    assert set(own["seed"]) == {0}
    # Runs that differ in the network alone have the same answers.
    same = restored[(restored["seed"] == 0) & ~restored["dimensions"].isin([7, 9])]
    one, other = (
        same[same["run"] == run].drop(columns="run").reset_index(drop=True)
        for run in list(RUNS)[:2]
    )
    pd.testing.assert_frame_equal(one, other)
    classified = table[table["accuracy"].notna()]
    assert set(classified["run"]) == {"authors-densenet-fashion"}
    assert classified["seed"].isna().all()
    assert set(classified["answer"]) == {"ridge", "logistic_regression"}
    assert (classified["accuracy"] > 0.6).all()
