"""Training from Python: options, mistakes, sizes."""

import math

import pytest

import elman
import trainings
from elman.errors import UserError
from elman.tasks.lm import LM, LMOptions
from elman.training.api import train
from trainings import TINY, fit


def test_the_package_trains_and_loads_more_than_once(prose, tmp_path):
    for name in "ab":
        assert elman.train("lm", prose, out=tmp_path / name, **TINY).path == tmp_path / name
        assert elman.load(tmp_path / name).path == tmp_path / name


def test_a_task_is_named_by_its_kind_its_class_or_an_instance(prose, tmp_path):
    for number, kind in enumerate(("lm", LM, LM())):
        assert train(kind, prose, out=tmp_path / f"{number}", **TINY | {"steps": 1}).task.kind == "lm"


def test_invalid_options_are_all_reported_at_once_and_nothing_is_made(prose, tmp_path):
    with pytest.raises(UserError) as raised:
        fit(prose, tmp_path / "run", hidden=0, lr=-1.0, batch_size=-3, dropout=1.0, clip=math.nan, clip_by="norn")
    for word in ("`hidden` 0", "`lr` -1.0", "`batch_size` -3", "`dropout` 1.0", "`clip` nan", "'norm'"):
        assert word in str(raised.value)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("kind", "options", "words"),
    [
        ("lm", {"hiden": 8}, ("hiden", "'hidden'")),
        ("ml", {}, ("'ml'", "'lm'")),
        ("lm", {"cell": "lsmt"}, ("'lsmt'", "'lstm'")),
        ("lm", {"device": "cuda:99"}, ("cuda:99", "cpu")),
        ("lm", {"backend": "native", "cell": "mut1"}, ("native", "mut1", "auto")),
    ],
)
def test_a_mistake_is_reported_with_what_would_be_right_and_nothing_is_made(prose, tmp_path, kind, options, words):
    with pytest.raises(UserError) as raised:
        train(kind, prose, out=tmp_path / "run", **(TINY | options))
    assert all(word in str(raised.value) for word in words)
    assert not (tmp_path / "run").exists()


def test_out_and_resume_exclude_each_other(prose, tmp_path):
    with pytest.raises(UserError, match=r"`out`.*`resume`"):
        train("lm", prose, out=tmp_path / "run", resume=tmp_path / "run")


def test_a_run_is_not_resumed_with_other_options_data_or_kind(prose, tmp_path):
    run, other = fit(prose, tmp_path / "run").path, tmp_path / "other.txt"
    other.write_text(trainings.prose(400, seed=1))
    for kind, paths, options, words in (
        ("lm", (), {"hidden": 9}, r"`hidden` 9 differs from None|`hidden` 9 differs from 8"),
        ("lm", (), {"seed": 4}, "`seed` 4 differs from 0"),
        ("lm", other, {}, r"other\.txt is not the data"),
        ("tag", (), {}, "a run of 'lm', not of 'tag'"),
    ):
        with pytest.raises(UserError, match=words):
            train(kind, paths, resume=run, steps=1, **options)


def test_sizes_that_are_not_given_are_chosen_from_the_text_and_the_time(tmp_path):
    chosen, path = [], tmp_path / "text.txt"
    for length, seconds in ((400, 30.0), (400, 3000.0), (50_000, 30.0), (50_000, 90.0)):
        path.write_text(trainings.prose(length))
        chosen.append(LM().prepare([str(path)], LMOptions(), seconds).spec.hidden)
    assert chosen[0] == chosen[1] < chosen[2] <= chosen[3]
    spec = LM().prepare([str(path)], LMOptions(hidden=7, embedding=3, dropout=0.25), 90.0).spec
    assert (spec.hidden, spec.embedding, spec.dropout) == (7, 3, 0.25)
