"""Trained translators: what can be learned is learned, a run is resumed exactly, from files and on the command line."""

import json
import math
import random
import zipfile
from collections import Counter

import pytest

import specs
from elman.errors import UserError
from elman.files import seal, unseal
from elman.tasks.translate import Translate
from elman.tokenizers.bpe import BPETokenizer
from elman.tokenizers.word import WordTokenizer
from elman.training import loop
from elman.training.api import load, train
from runs import RecordingReporter, assert_same, interrupt_after, source, summary

TINY = {"hidden": 8, "embedding": 8, "batch_size": 16, "precision": "float32", "device": "cpu", "preview": False}
LEARN = TINY | {"hidden": 32, "embedding": 32, "batch_size": 64, "lr": 0.02, "dropout": 0.0, "warmup": 10, "steps": 150}
WORDS = ("the", "old", "cat", "sat", "on", "a", "mat", "and", "saw", "two", "dogs", "run")
COLUMNS = {"source_column": "english", "target_column": "capitals"}
FLAGS = [f"--{name.replace('_', '-')}={value}" for name, value in TINY.items() if name != "preview"]
FLAGS += ["--no-preview", "--steps=4"]


def sentences(path, count=60, seed=0):
    """A table of two columns, divided by tabs."""
    rng = random.Random(seed)
    lines = [" ".join(rng.choice(WORDS) for _ in range(rng.randint(2, 5))) for _ in range(count)]
    path.write_text("english\tcapitals\n" + "".join(f"{line}\t{line.upper()}\n" for line in lines))
    return path


def slow(value):
    return pytest.param(value, marks=pytest.mark.slow)


# it learns, and only what can be known


@pytest.mark.parametrize("attention", ["general", slow("dot"), slow("additive")])
def test_new_words_are_reversed(trained, attention):
    """And attention is on the reversed diagonal."""
    options = LEARN | {"attention": attention, "test": "0", "eval_every": 1000, "backend": "native"}
    run = trained("translate", "builtin:reverse:count=1500,max_length=4", **options)
    metrics = summary(run)["val_metrics"]
    assert metrics["exact"] > 0.9
    assert metrics["sources"] > 100
    [answer] = load(run).predict(["abcd"])
    assert answer.attention.weights.shape == (len(answer["translation"]) + 1, 4)


@pytest.mark.parametrize("attention", [slow("general"), "additive"])
def test_unrelated_targets_are_not_predicted(tmp_path, attention):
    rng = random.Random(5)
    sources = {"".join(rng.choices("klmnop", k=rng.randint(4, 6))): None for _ in range(800)}
    rows = [f"{text}\t{''.join(rng.choices('abcd', k=rng.randint(1, 3)))}\n" for text in sources]
    (tmp_path / "pairs.tsv").write_text("source\ttarget\n" + "".join(rows))
    options = {"attention": attention, "label_smoothing": 0.0, "valid": "0.3", "test": "0", "tokens": "char",
               "hidden": 16, "steps": 80}  # fmt: skip
    model = train("translate", tmp_path / "pairs.tsv", out=tmp_path / "run", **LEARN | options)
    targets = source(model).table.columns["target"]
    size = sum(map(len, targets)) / len(targets)
    entropy = (math.log(3) + size * math.log(4)) / (size + 1)  # of three lengths and four letters, nats per token
    found = summary(tmp_path / "run")
    assert entropy - 0.05 < found["val_loss"] < entropy + 0.3
    guessed = 1 / 12  # the probability of the most frequent target: one letter
    assert found["val_metrics"]["exact"] < guessed + 4 * math.sqrt(guessed / found["val_metrics"]["sources"])


# resuming


@pytest.mark.parametrize(
    ("tokens", "options"),
    [
        ("char", {"teacher_forcing": 0.5, "attention": "additive"}),
        ("word", {"input_feeding": True, "reverse": True}),
        pytest.param("bpe", {"vocab_size": 270, "cell": "gru", "layers": 2}, marks=pytest.mark.slow),
    ],
)
def test_a_resumed_run_equals_an_unbroken_one(tmp_path, tokens, options):
    path = sentences(tmp_path / "pairs.tsv")
    options = TINY | COLUMNS | options | {"tokens": tokens, "steps": 14, "eval_every": 4, "dropout": 0.3}
    train("translate", path, out=tmp_path / "unbroken", **options)
    with interrupt_after(3), pytest.raises(loop.Interrupted):
        train("translate", path, out=tmp_path / "run", **options)
    with interrupt_after(6), pytest.raises(loop.Interrupted):
        train("translate", path if tokens == "word" else (), resume=tmp_path / "run")
    train("translate", resume=tmp_path / "run")
    assert_same(tmp_path / "run", tmp_path / "unbroken", tokens)


@pytest.fixture
def run(tmp_path):
    """A run that was interrupted."""
    options = TINY | COLUMNS | {"steps": 6, "tokens": "word"}
    with interrupt_after(2), pytest.raises(loop.Interrupted):
        train("translate", sentences(tmp_path / "pairs.tsv"), out=tmp_path / "run", **options)
    return tmp_path / "run"


def files(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_run_is_resumed_only_with_its_own_options_and_data(run, tmp_path, monkeypatch):
    before, path = files(run), tmp_path / "pairs.tsv"
    for change, words in [
        ({"reverse": True}, "`reverse` True differs from False"),
        ({"seed": 3}, "`seed` 3 differs from 0"),
        ({"tokens": "bpe"}, "`tokens` bpe differs from word"),
    ]:
        with pytest.raises(UserError, match=words):
            train("translate", resume=run, **change)
    with pytest.raises(UserError, match="is not the data"):
        train("translate", sentences(tmp_path / "other.tsv", seed=1), resume=run)
    with monkeypatch.context() as patch:  # as another version of a library might find other tokens
        of_texts = WordTokenizer.of_texts
        patch.setattr(WordTokenizer, "of_texts", lambda *given: WordTokenizer(of_texts(*given).vocabulary[::-1]))
        with pytest.raises(UserError, match=r"pairs\.tsv now gives another source than .*run was trained with"):
            train("translate", resume=run)
    assert files(run) == before
    train("translate", path, resume=run, reverse=False, seed=0, tokens="word", source_column="english")
    assert summary(run)["steps"] == 6


def test_an_option_that_the_configuration_lacks_is_an_error_that_names_it(run):
    path = run / "config.json"
    config = unseal(path)
    del config["spec"]["options"]["reverse"]
    path.write_bytes(seal(config))
    with pytest.raises(UserError, match=r"config\.json: spec\.options\.reverse is missing") as raised:
        load(run)
    assert "\n" not in str(raised.value)


# from files, and on the command line


def test_pairs_in_a_file_in_a_zip_and_in_named_columns(tmp_path, elman):
    (tmp_path / "deu.txt").write_text("".join(f"go {n}\tgeh {n}\tCC-BY {n}\n" for n in range(50)))
    with zipfile.ZipFile(tmp_path / "deu.zip", "w") as file:
        file.write(tmp_path / "deu.txt", "deu.txt")
        file.writestr("_about.txt", "no pairs")
    sides = ["--source-column=1", "--target-column=2"]
    for number, name in enumerate(("deu.txt", "deu.zip:deu.txt")):
        out = tmp_path / f"run{number}"
        done = elman("train", "translate", tmp_path / name, *sides, *FLAGS, "--out", out)
        assert done.code == 0, done.err
        assert "source is the column 1; target is the column 2" in done.out + done.err
    first, second = (load(tmp_path / name) for name in ("run0", "run1"))
    assert first.spec.source.to_json() == second.spec.source.to_json()
    assert first.run.config.key == second.run.config.key
    train("translate", resume=tmp_path / "run1", steps=2)  # the member of the zip is found again

    (tmp_path / "t.csv").write_text(
        "id,english,german,note\n" + "".join(f'{n},"one, {n}",ein {n},x\n' for n in range(50))
    )
    words = ["train", "translate", tmp_path / "t.csv", *FLAGS, "--out", tmp_path / "run2"]
    code, _, err = elman(*words, "--source-column=english", "--target-column=germann")
    assert (code, len(err.splitlines())) == (2, 1)
    assert "'germann': did you mean 'german'?" in err
    assert elman(*words, "--source-column=german", "--target-column=english")[0] == 0
    spec = load(tmp_path / "run2").spec
    assert spec.columns == {"source": "german", "target": "english"}
    assert isinstance(spec.target, BPETokenizer)
    assert "," in spec.target.decode(range(256))


@pytest.mark.parametrize("attention", ["additive", "none"])
def test_input_feeding_without_attention_after_the_step_is_an_error(tmp_path, attention):
    with pytest.raises(UserError, match=f"`input_feeding` has no effect with `attention` {attention}"):
        train("translate", "builtin:copy:count=300", out=tmp_path / "run", attention=attention, input_feeding=True)
    assert not (tmp_path / "run").exists()


@pytest.fixture(scope="module")
def letters(trained):
    """A translator that knows some letters. No test changes it."""
    return trained("translate", "builtin:copy:count=300,max_length=4", **LEARN | {"steps": 20, "backend": "native"})


def test_the_options_of_a_search_reach_it(letters, elman):
    def predict(*words):
        code, out, err = elman("predict", letters, *words)
        assert code == 0, err
        return out.splitlines(), err

    def answers(*words):
        return [json.loads(line) for line in predict(*words, "--json")[0]]

    two = answers("abc", "dd", "--beam=3", "--n-best=2")
    assert len(two) == 2
    for answer in two:
        assert len(answer["candidates"]) == 2
        assert answer["candidates"][0]["translation"] == answer["translation"] != answer["candidates"][1]["translation"]
        assert answer["candidates"][0]["score"] == answer["score"] >= answer["candidates"][1]["score"]
    printed, _ = predict("abc", "dd", "--beam=3", "--n-best=2")
    assert printed == ["\t".join(each["translation"] for each in answer["candidates"]) for answer in two]
    assert all("candidates" not in answer for answer in answers("abc", "--beam=3"))

    two_letters = ["--min-length=2", "--max-length=2"]
    short, err = predict("abc", "dd", *two_letters)
    assert [len(line) for line in short] == [2, 2]
    assert "2 of 2 translations were truncated" in err
    assert [answer["truncated"] for answer in answers("abc", "dd", *two_letters)] == [True, True]
    assert {len(line) for line in predict("abc", "dd", "--min-length=9", "--max-length=10")[0]} <= {9, 10}

    long = ["aaaa", "--min-length=12", "--max-length=13"]
    assert max(Counter(predict(*long)[0][0]).values()) > 1
    assert max(Counter(predict(*long, "--no-repeat-ngram=1")[0][0]).values()) == 1

    drawn = [predict("abc", "--sample", f"--seed={seed}", "--temperature=3", "--max-length=20") for seed in (1, 1, 2)]
    assert drawn[0] == drawn[1] != drawn[2]
    assert answers("abc", "--sample", "--n-best=3")[0]["candidates"][2]
    code, _, err = elman("predict", letters, "abc", "--n-best=2")
    assert (code, err) == (2, "elman: --n-best 2 is more than --beam 1: pass --beam 2\n")


def test_a_table_of_answers_marks_the_truncated_ones_even_where_the_first_is_not(letters, monkeypatch, tmp_path, elman):
    (tmp_path / "in.csv").write_text("id,source\n1,abc\n2,def\n")
    answers = [specs.answer(0, translation="abc", score=-0.5),
               specs.answer(1, translation="dede", score=-2.0, truncated=True)]  # fmt: skip
    monkeypatch.setattr(Translate, "predict", lambda *given, **decoding: iter(answers))
    words = ["predict", letters, "--file", tmp_path / "in.csv", "-o"]
    assert elman(*words, tmp_path / "out.csv")[0] == 0
    lines = (tmp_path / "out.csv").read_text().splitlines()
    assert lines == ["id,source,translation,score,truncated", "1,abc,abc,-0.5,", "2,def,dede,-2.0,True"]


def test_a_preview_translates_the_first_validation_rows(tmp_path):
    reporter = RecordingReporter()
    options = TINY | COLUMNS | {"steps": 3, "preview": True, "tokens": "word", "reverse": True}
    model = train("translate", sentences(tmp_path / "t.tsv"), out=tmp_path / "run", reporter=reporter, **options)
    batch = model.task.source(model.spec, [str(tmp_path / "t.tsv")], "valid").batch(0, 0)
    sources = [source(model).table.columns["source"][row] for row in batch["row"][:3].tolist()]
    assert reporter.previews
    for preview in reporter.previews:
        lines = [line.split(" → ") for line in preview.split("\n")]
        known = [set(text.split()) for text, _ in lines]
        assert [set(text.split()) - {"<unk>"} <= set(full.split()) for (text, _), full in
                zip(lines, sources, strict=True)] == [True] * 3  # fmt: skip
        assert all(known)
