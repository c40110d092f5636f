"""Tagging: the tag of each word from its sentence and its spelling, in every format of sentences."""

import json
import random
import sys

import numpy as np
import pytest
import torch
from torch.testing import assert_close

import specs
from elman.data.windows import IGNORED
from elman.errors import UserError
from elman.metrics.tagging import TAGGING
from elman.schema import to_json
from elman.tasks.tag import CHARACTERS, Tag, TagOptions
from elman.training import loop
from elman.training.api import load, train
from runs import assert_same, interrupt_after, measure, source, summary

SMALL = {"hidden": 8, "embedding": 8, "spelling": 8, "dropout": 0.0, "precision": "float32", "device": "cpu",
         "preview": False, "steps": 20, "lr": 0.02}  # fmt: skip
ALL = {"valid": "0", "test": "0"}
ENDINGS = {"ing": "V", "ly": "R", "ness": "N"}
NEWS = """-DOCSTART- -X- -X- O

EU NNP B-NP B-ORG
rejects VBZ B-VP O
German JJ B-NP B-MISC
call NN I-NP O
. . O O

Peter NNP B-NP B-PER
Blackburn NNP I-NP I-PER

BRUSSELS NNP B-NP B-LOC
1996-08-22 CD I-NP O

"""


def fit(path, out, **options):
    return train("tag", path, out=out, **(SMALL | options))


def sentences_by_spelling(count, seed=0):
    """Sentences of words that hardly ever occur twice: the ending of a word, and nothing else, decides its tag."""
    rng, rows = random.Random(seed), []
    for _ in range(count):
        endings = rng.choices(list(ENDINGS), k=rng.randint(1, 7))
        rows.append((["".join(rng.choices("abcdeo", k=6)) + ending for ending in endings],
                     [ENDINGS[ending] for ending in endings]))  # fmt: skip
    return rows


def lists(path, rows):
    """A JSON Lines file whose words and tags are lists."""
    path.write_text("".join(json.dumps({"words": words, "tags": tags}) + "\n" for words, tags in rows))
    return path


def spaced(path, rows):
    """A CSV file whose words and tags are divided by spaces."""
    path.write_text("words,tags\n" + "".join(f"{' '.join(words)},{' '.join(tags)}\n" for words, tags in rows))
    return path


def blocks(path, rows):
    """A text file with a word and its tag on each line."""
    path.write_text("\n".join("".join(f"{w}\t{t}\n" for w, t in zip(*row, strict=True)) for row in rows))
    return path


def tagger(**options):
    """A tagger with large random weights."""
    return specs.randomize(specs.build("tag", specs.tag(**options)), 0.5)


def batch(sizes, steps, seed=0):
    """Random words and their characters, at least one of each word; in the padding as well."""
    generator = torch.Generator().manual_seed(seed)
    words = torch.randint(0, 9, (len(sizes), steps), generator=generator)
    characters = torch.randint(1, 8, (len(sizes), steps, CHARACTERS), generator=generator)
    lengths = torch.randint(1, CHARACTERS + 1, (len(sizes), steps, 1), generator=generator)
    characters = characters.masked_fill(torch.arange(CHARACTERS) >= lengths, 0)
    return {"input": words, "characters": characters, "input_lengths": torch.tensor(sizes),
            "row": torch.arange(len(sizes))}  # fmt: skip


# what it computes


@pytest.mark.parametrize("bidirectional", [True, False])
def test_logits_are_those_of_each_word_spelled_alone_in_its_sentence_alone(bidirectional):
    model, sizes = tagger(bidirectional=bidirectional, layers=2), (5, 1, 3)
    inputs = batch(sizes, 5)
    with torch.no_grad():
        found = model.logits(inputs)
        for row, size in enumerate(sizes):
            x = []
            for word, spelled in zip(inputs["input"][row, :size], inputs["characters"][row, :size], strict=True):
                y, _ = model.speller(model.characters(spelled[spelled > 0])[None])
                x.append(torch.cat((model.words(word), y[0, -1, :3], y[0, 0, 3:])))
            y, _ = model.recurrent(torch.stack(x)[None])
            assert_close(found[row, :size], model.head(y[0]), atol=2e-6, rtol=1e-5)


@pytest.mark.parametrize("layers", [1, 2])
def test_padding_does_not_change_the_logits(layers):
    model, sizes = tagger(layers=layers), [5, 0, 1, 3]
    inputs, other = batch(sizes, 5), batch(sizes, 8, seed=1)
    for row, size in enumerate(sizes):
        for name in ("input", "characters"):
            other[name][row, :size] = inputs[name][row, :size]
    with torch.no_grad():
        plain, padded = model.logits(inputs), model.logits(other)
    for row, size in enumerate(sizes):
        assert_close(padded[row, :size], plain[row, :size], atol=1e-6, rtol=0)


def test_the_loss_is_the_mean_over_words_without_padding():
    model, inputs = tagger(), batch([4, 2], 4)
    inputs["target"] = torch.tensor([[0, 1, 2, 3], [3, 0, IGNORED, IGNORED]])
    with torch.no_grad():
        loss = model.loss(inputs)
        probabilities = np.exp(model.logits(inputs).double().numpy())
    probabilities /= probabilities.sum(-1, keepdims=True)
    known = [(row, step, int(tag)) for row, tags in enumerate(inputs["target"]) for step, tag in enumerate(tags)
             if tag != IGNORED]  # fmt: skip
    nats = [-np.log(probabilities[position]) for position in known]
    assert loss.state is None
    assert int(loss.count) == len(nats) == 6
    np.testing.assert_allclose([loss.mean, loss.sums["loss"]], [np.mean(nats), np.sum(nats)], rtol=1e-5)
    assert int(loss.sums["correct"]) == sum(probabilities[row, step].argmax() == tag for row, step, tag in known)


def test_answers_are_the_most_probable_tag_of_each_word():
    model, sizes = tagger(), (4, 1, 2)
    inputs = batch(sizes, 4)
    with torch.no_grad():
        probabilities, answers = model.logits(inputs).softmax(-1), Tag().answer(model, inputs)
    for row, (answer, size) in enumerate(zip(answers, sizes, strict=True)):
        assert answer.row == row
        assert answer["each"] == ["abcd"[int(each.argmax())] for each in probabilities[row, :size]]
        assert answer["tags"] == " ".join(answer["each"])
        assert answer["probabilities"] == pytest.approx(probabilities[row, :size].amax(-1).tolist())
        assert answer.attention is None


# words and characters


def test_unknown_words_are_tagged_by_their_spelling(tmp_path):
    path = spaced(tmp_path / "t.csv", sentences_by_spelling(250))
    trained = fit(path, tmp_path / "run", steps=120)
    assert len(trained.spec.words) < 20
    assert measure(trained)["accuracy"] > 0.9
    assert measure(trained, "test")["accuracy"] > 0.9
    [answer] = trained.predict(["zzzzing zzzzly zzzzness"])
    assert answer["each"] == ["V", "R", "N"]


def test_shuffled_tags_are_not_predicted(tmp_path):
    rows, rng = sentences_by_spelling(250), random.Random(1)
    shuffled = [(words, [rng.choice("VRN") for _ in tags]) for words, tags in rows]
    trained = fit(spaced(tmp_path / "t.csv", shuffled), tmp_path / "run", steps=120, valid="0.3", test="0.3")
    for split in ("valid", "test"):
        words = sum(map(len, source(trained, split).values("input")))
        assert abs(measure(trained, split)["accuracy"] - 1 / 3) < 4 * np.sqrt(1 / 3 * 2 / 3 / words)


def test_only_words_that_occur_twice_in_training_have_an_embedding(tmp_path):
    rows = [(["twice", "twice", f"once{row}"], ["A", "A", "B"]) for row in range(3)]
    data = Tag().prepare([str(spaced(tmp_path / "t.csv", rows))], TagOptions(**ALL))
    assert to_json(data.spec.words) == ["twice"]
    assert to_json(data.spec.characters) == sorted(set("twiceonce012"))
    words, characters = data.train.values("input"), data.train.values("characters")
    assert [value.tolist() for value in words] == [[1, 1, 0]] * 3
    assert characters[0].shape == (3, CHARACTERS)
    assert [len(set(row[row > 0])) for row in characters[0]] == [5, 5, 5]
    assert not (characters[0] == 1).any()  # no character is unknown
    assert data.unigram_entropy == pytest.approx(-(2 / 3 * np.log(2 / 3) + 1 / 3 * np.log(1 / 3)))


def test_the_last_characters_of_a_word_are_read_and_an_unknown_one_differs_from_none(tmp_path):
    trained = fit(spaced(tmp_path / "t.csv", sentences_by_spelling(60)), tmp_path / "run")

    def probability(word):
        [answer] = trained.predict([[word]])
        return answer["probabilities"][0]

    end = "abcdeoabcdeoaing"
    assert len(end) == CHARACTERS
    assert probability("cccc" + end) == pytest.approx(probability("dd" + end), abs=1e-7)
    assert probability("cccc" + end[1:]) != pytest.approx(probability("d" + end[1:]), abs=1e-7)
    assert probability("aQing") == pytest.approx(probability("aXing"), abs=1e-7)  # both unknown
    assert probability("aQing") != pytest.approx(probability("aing"), abs=1e-7)


# formats


def test_lists_spaced_texts_and_a_word_per_line_are_the_same_sentences(tmp_path):
    rows, found = sentences_by_spelling(40), []
    for path in (lists(tmp_path / "t.jsonl", rows), spaced(tmp_path / "t.csv", rows), blocks(tmp_path / "t.txt", rows)):
        data = Tag().prepare([str(path)], TagOptions(**ALL))
        found.append((to_json(data.spec), [[value.tolist() for value in data.train.values(name)]
                                           for name in ("input", "characters", "target")]))  # fmt: skip
    assert found[0] == found[1] == found[2]
    assert found[0][0]["columns"] == {"words": "words", "tags": "tags"}


def test_the_answer_to_a_sentence_depends_on_no_format_and_no_other_sentence(tmp_path):
    trained = fit(lists(tmp_path / "t.jsonl", sentences_by_spelling(60)), tmp_path / "run")
    rows = [words for words, _ in sentences_by_spelling(100, seed=3)]
    together = list(trained.predict(rows))
    for answer, other in zip(together, trained.predict([" ".join(words) for words in rows]), strict=True):
        assert (answer.row, answer.values) == (other.row, other.values)
    for row in (0, 50, 99):
        [alone] = trained.predict([rows[row]])
        assert alone["each"] == together[row]["each"]
        assert alone["probabilities"] == pytest.approx(together[row]["probabilities"], abs=1e-6)
        assert len(alone["each"]) == len(rows[row])
        assert alone["tags"].split() == alone["each"]


def test_a_conll_file_is_trained_on_and_predicted(tmp_path, elman):
    path = tmp_path / "news.conll"
    path.write_text(NEWS + "".join(NEWS.replace("EU", f"EU{n}").replace("Peter", f"Peter{n}").replace("22", str(n))
                                   for n in range(30)))  # fmt: skip
    trained = fit(path, tmp_path / "run", steps=80)
    assert trained.spec.tags.labels == ("B-LOC", "B-MISC", "B-ORG", "B-PER", "I-PER", "O")
    metrics = summary(tmp_path / "run")["val_metrics"]
    assert metrics["accuracy"] > 0.9
    assert metrics["entity_f1"] > 0.9

    for suffix in (".jsonl", ".csv"):
        done = elman("predict", trained.path, "--file", path, "-o", tmp_path / f"o{suffix}")
        assert done.code == 0, done.err
    rows = [json.loads(line) for line in (tmp_path / "o.jsonl").read_text().splitlines()]
    assert len(rows) == 93
    assert rows[0]["words"] == ["EU", "rejects", "German", "call", "."]
    assert rows[0]["tags"] == rows[0]["each"] == rows[0]["predicted_tags"].split()
    assert all(len(row["each"]) == len(row["words"]) == len(row["probabilities"]) for row in rows)
    header, first = (tmp_path / "o.csv").read_text().splitlines()[:2]
    assert header == "words,2,3,tags,predicted_tags"
    assert first.startswith("EU rejects German call .,NNP VBZ JJ NN .,")
    # the file of the answers is a table again
    [again] = trained.predict([line.split(",")[0] for line in (tmp_path / "o.csv").read_text().splitlines()[1:2]])
    assert again["each"] == rows[0]["each"]


# metrics and mistakes


IOB = ["B-LOC", "B-PER", "I-PER", "O"]


def test_entities_are_counted_as_a_whole():
    pairs = [
        ("B-PER I-PER O B-LOC", "B-PER O O B-LOC"),  # a name truncated, a location found
        ("B-PER O", "B-PER B-LOC"),  # a name found, a location that is none
        ("O B-PER B-PER", "O B-PER I-PER"),  # two names taken for one
        ("O O O O", "O O O O"),
    ]
    targets, predictions = ([each.split() for each in side] for side in zip(*pairs, strict=True))
    found = TAGGING.compute(predictions, targets, IOB)
    correct, true, predicted = 2, 2 + 1 + 2, 2 + 2 + 1
    precision, recall = correct / predicted, correct / true
    assert found["entity_f1"] == pytest.approx(2 * precision * recall / (precision + recall))
    assert found["accuracy"] == pytest.approx((3 + 1 + 2 + 4) / (4 + 2 + 3 + 4))


def test_metrics_compare_lists_and_texts_and_truncated_rows():
    rows = specs.rows(words=["a b"] * 3, tags=[["N", "V"], "V V", ["N"] * 6])
    answers = {row: specs.answer(row, each=each) for row, each in ((2, ["N"] * 4), (0, ["N", "N"]), (1, ["V", "V"]))}
    assert Tag().metrics(rows, answers, specs.tag(max_length=4)) == {"accuracy": 7 / 8}


@pytest.mark.filterwarnings("error")
def test_f1_is_0_without_entities():
    assert TAGGING.compute([["O", "O"]], [["O", "O"]], IOB) == {"accuracy": 1.0, "entity_f1": 0.0}


def test_tags_that_are_not_entities_have_no_f1():
    assert TAGGING.compute([["N", "N"]], [["N", "V"]], ["N", "V"]) == {"accuracy": 0.5}


def test_without_seqeval_f1_names_the_package_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "seqeval.metrics", None)
    found = TAGGING.compute([["B-PER"]], [["B-PER"]], IOB)
    assert found == {"accuracy": 1.0, "entity_f1": "needs seqeval: pip install 'elman[tag]'"}


@pytest.mark.parametrize(
    ("rows", "options", "words"),
    [
        ([(["a", "b"], ["X"])], {}, r"t.csv row 12 has 2 words and 1 tags"),
        ([(["a"], ["X", "Y"])], {}, r"t.csv row 12 has 1 words and 2 tags"),
        ([], {"words_column": "word"}, "'word'.*did you mean 'words'"),
        ([([], ["X"])], {}, "row 12 has no words; .*skip.bad"),
    ],
)
def test_a_bad_row_is_an_error_that_names_it(tmp_path, rows, options, words):
    good = [([f"a{row}", "b"], ["X", "Y"]) for row in range(10)]
    with pytest.raises(UserError, match=words) as raised:
        fit(spaced(tmp_path / "t.csv", good + rows), tmp_path / "run", **ALL, **options)
    assert "\n" not in str(raised.value)
    assert not (tmp_path / "run").exists()


def test_a_single_tag_and_a_tag_of_the_test_split_alone_are_errors(tmp_path):
    one = spaced(tmp_path / "one.csv", [([f"a{row}"], ["X"]) for row in range(10)])
    with pytest.raises(UserError, match="one tag only, 'X'"):
        fit(one, tmp_path / "run", **ALL, words_column="words", tags_column="tags")
    good = spaced(tmp_path / "t.csv", [([f"a{row}", "b"], ["X", "Y"]) for row in range(10)])
    other = spaced(tmp_path / "other.csv", [(["a", "b"], ["X", "Z"])])
    with pytest.raises(UserError, match=r"other.csv row 2 has the tag 'Z'"):
        fit(good, tmp_path / "run", valid="0", test=str(other))


@pytest.mark.parametrize("row", ["", " ", [], None, 3, np.ones(3)])
def test_a_sentence_without_words_is_an_error(trained, tmp_path_factory, row):
    path = spaced(tmp_path_factory.getbasetemp() / "words.csv", sentences_by_spelling(20))
    model = load(trained("tag", path, **SMALL | {"steps": 1}))
    with pytest.raises(UserError, match="the input row 2"):
        model.predict(["a b", row])


def test_a_longer_sentence_is_truncated_with_its_tags(tmp_path):
    path = spaced(tmp_path / "t.csv", [(["a", "b", "c", "d", "e"], list("XYXYX")), (["a", "b"], list("XY"))])
    data = Tag().prepare([str(path)], TagOptions(max_length=3, **ALL))
    assert [len(value) for value in data.train.values("target")] == [3, 2]
    line = "1 of 2 rows are longer than `max_length` 3 and were truncated"
    assert any(line in note for note in data.notes)
    trained, lines = fit(path, tmp_path / "run", steps=1, max_length=3, **ALL), []
    assert [len(each["each"]) for each in trained.predict(["a b c d", "a"], lines.append)] == [3, 1]
    assert lines == [line]
    assert set(measure(trained, "train")) == {"accuracy"}


def test_a_resumed_run_equals_an_unbroken_one(tmp_path):
    path = spaced(tmp_path / "t.csv", sentences_by_spelling(60))
    options = {"steps": 14, "eval_every": 5, "dropout": 0.3, "batch_size": 8}
    fit(path, tmp_path / "unbroken", **options)
    with interrupt_after(9), pytest.raises(loop.Interrupted):
        fit(path, tmp_path / "run", **options)
    train("tag", resume=tmp_path / "run")
    assert_same(tmp_path / "run", tmp_path / "unbroken", "an interrupted tagger")
    [ours], [theirs] = (load(tmp_path / name).predict(["a b"]) for name in ("run", "unbroken"))
    assert ours.values == theirs.values
