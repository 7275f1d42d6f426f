"""Which model is live: promoted by hand, rolled back, and left alone by a training that was done before."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.cli.summary import summary
from pipeline.lake.live import history
from pipeline.lake.paths import Lake
from schemas.run import Receipt
from tests.support.commands import run_here
from tests.support.token_corpus import write_corpus
from tests.support.trained import train

pytestmark = pytest.mark.usefixtures("without_pages")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """A lake with three models, trained one after the other."""
    folder = tmp_path_factory.mktemp("live")
    corpus = write_corpus(folder / "corpus", 120)
    ids = [train(folder / "lake", corpus, "--epochs", "1", "--seed", str(n))["outputs"]["model_id"] for n in range(3)]
    return folder / "lake", ids


@pytest.fixture
def lake(trained: tuple[Path, list[str]], tmp_path: Path) -> Path:
    """A lake with the same three models, to be changed."""
    models = tmp_path / "lake" / "models"
    models.mkdir(parents=True)
    for path in (trained[0] / "models").iterdir():
        if path.is_dir():
            (models / path.name).symlink_to(path)
        else:
            (models / path.name).write_bytes(path.read_bytes())
    return tmp_path / "lake"


def test_going_back_twice_goes_back_further_and_then_ends(lake: Path, trained: tuple[Path, list[str]]) -> None:
    first, second, third = trained[1]
    latest = lake / "models" / "LATEST"
    assert [entry.model_id for entry in history(Lake(lake))] == [first, second, third]
    done = run_here("--lake", lake, "models", "rollback")
    assert (done.code, done.stdout) == (0, f"{second} is live now, in place of {third}.\n")
    assert run_here("--lake", lake, "models", "rollback").code == 0
    assert latest.read_text() == f"{first}\n"
    ended = run_here("--lake", lake, "models", "rollback")
    assert ended.code == 66 and "pipeline models promote MODEL" in ended.stderr
    assert run_here("--lake", lake, "models", "promote", third).code == 0
    assert run_here("--lake", lake, "models", "promote", third).code == 99
    assert run_here("--lake", lake, "models", "rollback").code == 0
    assert latest.read_text() == f"{first}\n"
    reasons = [entry.reason for entry in history(Lake(lake))]
    assert reasons == ["trained"] * 3 + ["rolled back"] * 2 + ["promoted", "rolled back"]
    assert "(rolled back)" in run_here("--lake", lake, "models", "show").stdout


def test_a_model_that_somebody_went_back_from_does_not_come_back(lake: Path, trained: tuple[Path, list[str]]) -> None:
    first, second, third = trained[1]
    for words in (("rollback",), ("promote", first), ("rollback",)):
        assert run_here("--lake", lake, "models", *words).code == 0
    assert (lake / "models" / "LATEST").read_text() == f"{second}\n", (
        f"{second} was live before {first}, and {third} was left"
    )
    assert run_here("--lake", lake, "models", "rollback").code == 66


def test_a_model_that_is_gone_is_passed_over_and_a_damaged_one_is_refused(
    lake: Path, trained: tuple[Path, list[str]], tmp_path: Path
) -> None:
    first, second, third = trained[1]
    (lake / "models" / second).unlink()
    assert run_here("--lake", lake, "models", "rollback").code == 0
    assert (lake / "models" / "LATEST").read_text() == f"{first}\n"
    bundle = lake / "models" / third
    source = bundle.resolve()
    bundle.unlink()
    bundle.mkdir()
    for path in source.iterdir():
        (bundle / path.name).write_bytes(path.read_bytes())
    description = json.loads((bundle / "model.json").read_text())
    (bundle / "model.json").write_text(json.dumps(description | {"labels": description["labels"][::-1]}))
    assert run_here("--lake", lake, "models", "promote", third).code == 65
    assert (lake / "models" / "LATEST").read_text() == f"{first}\n"


def test_a_lake_without_a_history_goes_back_to_the_model_that_it_had(lake: Path, trained: tuple[Path, list[str]]) -> None:
    first, _, third = trained[1]
    (lake / "models" / "live.jsonl").unlink()
    assert run_here("--lake", lake, "models", "rollback").code == 66
    assert run_here("--lake", lake, "models", "promote", first).code == 0
    assert run_here("--lake", lake, "models", "rollback").code == 0
    assert (lake / "models" / "LATEST").read_text() == f"{third}\n"


def test_a_torn_line_of_the_history_is_passed_over(lake: Path, trained: tuple[Path, list[str]]) -> None:
    path = lake / "models" / "live.jsonl"
    path.write_bytes(path.read_bytes() + b'{"model_id": "half')
    first, second, _ = trained[1]
    assert run_here("--lake", lake, "models", "promote", first).code == 0
    assert [entry.model_id for entry in history(Lake(lake))][-1] == first
    assert run_here("--lake", lake, "models", "promote", second).code == 0
    assert [entry.model_id for entry in history(Lake(lake))][-2:] == [first, second]


def test_live_names_the_live_model_wherever_a_model_is_named(trained: tuple[Path, list[str]], tmp_path: Path) -> None:
    lake, first = tmp_path / "own", trained[1][0]
    shutil.copytree(trained[0], lake)
    assert run_here("--lake", lake, "models", "promote", first).code == 0
    (tmp_path / "in.csv").write_text("text,label\nw2 w3,pos\nw4 w5,neg\n")
    for command in (
        *(("score", tmp_path / "in.csv", "--model", "LIVE"), ("evaluate", tmp_path / "in.csv", "--model", "LIVE")),
        *(("report", "--model", "LIVE"), ("export", "LIVE", "--output", tmp_path / "m.onnx")),
    ):
        done = run_here("--lake", lake, *command)
        assert done.code == 0, done.stderr
        named = done.receipt["outputs"].get("model_id") or done.receipt["outputs"]["model"]
        assert Path(named).name == first
    shown = run_here("--lake", lake, "models", "show", "LIVE", "--json").stdout
    assert json.loads(shown)["live"] is True
    assert run_here("--lake", lake, "score", "--text", "w2", "--model", "LIVE").code == 0


def test_the_summary_of_a_model_that_was_not_promoted_says_so_and_what_to_type() -> None:
    decision = {"decision": "not promoted", "reason": "worse", "message": "accuracy 0.5100, the live model's 0.9700"}
    receipt = Receipt(
        run_id="r", command="train", seconds=1.0, outputs={"model_id": "b", "model": "b"}, metrics={"promotion": decision}
    )
    lines = summary(receipt, " --lake /lake").lines()
    assert "not promoted (worse): accuracy 0.5100, the live model's 0.9700" in " ".join(" ".join(lines).split())
    assert "pipeline models promote b --lake /lake" in lines[-1]
    useless = decision | {"reason": "below majority"}
    for metrics in ({"only_class": "pos", "promotion": decision}, {"promotion": useless}):
        lines = summary(replace(receipt, metrics=metrics), " --lake /lake").lines()
        assert "pipeline models show b --lake /lake" in lines[-1]
    first = {"decision": "promoted", "reason": "first", "message": "the lake has no other live model"}
    told = " ".join(" ".join(summary(replace(receipt, metrics={"promotion": first}), "").lines()).split())
    assert "promoted: the lake has no other live model" in told and "(first)" not in told
