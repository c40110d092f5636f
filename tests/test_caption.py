"""Captions: the decoders are those of the papers, and no step knows the word that it is to say."""

import itertools

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from oracles import ORACLES, weights
from PIL import Image, ImageDraw
from test_training import assert_same, interrupt_after
from torch.autograd import gradcheck
from torch.testing import assert_close

from elman.cells.tap import record
from elman.data.windows import IGNORED
from elman.decode.sampling import Sampling
from elman.decode.search import Search
from elman.errors import UserError
from elman.nets.attention_decoder import Hard, Soft
from elman.nets.pooled_decoder import Plain
from elman.tasks.caption import Caption
from elman.training import loop
from elman.training.api import load, train
from elman.training.run import Run

TOKENS, PLACES, SIZE = 5, 64, 130  # words; places of the grid and numbers at each, for pictures of 64 by 64
DECODERS = [("soft", {}), ("hard", {}), *(("plain", {"enters": way}) for way in ("add", "state", "first"))]
some = pytest.mark.parametrize(("decoder", "how"), DECODERS)
LETTERS = "vwxyz"
CONFIG = {"tokens": {"caption": {"kind": "char", "vocabulary": "".join(LETTERS)}}}


def make(decoder, how, seed=1, **options):
    """A writer of captions whose weights are large enough for everything to matter."""
    torch.manual_seed(seed)
    options = {"backend": "loop"} | options
    task = Caption(TOKENS, 6, 8, "rnn", 1, decoder, how, **options).eval()
    for name, weight in task.named_parameters():
        if not name.startswith("encoder"):
            torch.nn.init.normal_(weight, std=0.5 if weight.dim() > 1 else 0.2)
    return task


def batch(batch_size=3, seed=0):
    draw = np.random.default_rng(seed)
    image = torch.from_numpy(draw.integers(0, 256, (batch_size, 3, 64, 64)).astype(np.uint8))
    target = torch.full((batch_size, batch_size + 2), IGNORED)
    for row in range(batch_size):
        words = torch.from_numpy(draw.integers(0, TOKENS, row + 2))
        target[row, : row + 2], target[row, row + 2 :][:1] = words, TOKENS
    return {"image": image, "image_of": torch.arange(batch_size), "target": target, "row": torch.arange(batch_size)}


def alone(given, row, times=1):
    """One picture of a batch, for so many rows."""
    return {"image": given["image"][row : row + 1], "image_of": torch.zeros(times, dtype=torch.int64),
            "row": torch.arange(row, row + times)}  # fmt: skip


def by_the_papers(task, grid, tokens):
    """One grid (L, D) and the tokens (T,) that are fed: logits (T, V) and where was looked (T, L). Xu et al. 2015 for a
    decoder that looks, the lecture's tanh(Wxh x + Whh h + Wih v) for one that does not."""
    p = {name: value.detach().double().numpy() for name, value in task.state_dict().items()}
    kind, how = task.config()["decoder"], task.config()["how"] or {}
    cell = task.decoder.recurrent.cells[0]

    def linear(name, x):
        return p[f"{name}.weight"] @ x + p.get(f"{name}.bias", 0)

    def step(x, h):
        return ORACLES["rnn"](weights(cell), x, h)["h"]

    mean, h, logits, looked = grid.mean(0), np.zeros(8), [], []
    if kind == "plain":
        image = np.tanh(linear("decoder.image", mean))
        if how["enters"] == "state":
            h = image
        if how["enters"] == "first":
            h = step(image, h)
    else:
        h = np.tanh(linear("decoder.first", mean))
    for token in tokens:
        x = p["head.weight"][token]
        if kind == "plain":
            h = step(np.concatenate((x, image)) if how["enters"] == "add" else x, h)
            out = np.tanh(linear("decoder.out", h))
        else:
            query, spread = linear("decoder.attention.W", np.concatenate((h, x))), np.sqrt(grid.var(1) + 1e-5)
            normal = (grid - grid.mean(1, keepdims=True)) / spread[:, None]
            keys = [linear("decoder.attention.U", place) for place in normal]
            scores = np.array([query @ key / np.sqrt(len(key)) for key in keys])
            alpha = np.exp(scores - scores.max()) / np.exp(scores - scores.max()).sum()
            beta = 1 / (1 + np.exp(-linear("decoder.gate", h)))
            read = beta * (grid[scores.argmax()] if kind == "hard" else alpha @ grid)
            h = step(np.concatenate((x, read)), h)
            out = np.tanh(x + linear("decoder.of_state", h) + linear("decoder.of_read", read))
            looked.append(alpha)
        logits.append(linear("head", out))
    return np.array(logits), np.array(looked)


@some
def test_the_logits_and_the_places_are_those_of_the_papers(decoder, how):
    task, given = make(decoder, how), batch()
    tokens = torch.tensor([[TOKENS, 1, 3, 0]] * 3)
    with torch.no_grad():
        grid = task.encoder(given["image"])
        out, looked = task.decode(tokens, task.begin(given), given)
        found = task.head(out)
    assert grid.shape == (3, PLACES, SIZE)
    for row in range(3):
        logits, places = by_the_papers(task, grid[row].double().numpy(), tokens[row].tolist())
        assert_allclose(found[row], logits, atol=1e-4)
        if len(places):
            assert_allclose(looked["weights"][row], places, atol=1e-4)


@some
def test_a_whole_caption_at_once_gives_what_single_steps_give(decoder, how):
    task, given = make(decoder, how), batch()
    tokens, state = given["target"].clamp(min=0), task.begin(given)
    with torch.no_grad():
        whole, step = task.decode(tokens, state, given)[0], task.written_by.stepper()
        for time, token in enumerate(tokens.unbind(1)):
            out, state = task.advance(step, token, state)
            assert_close(out, whole[:, time], rtol=0, atol=1e-5)


@some
def test_no_step_knows_the_word_that_it_is_to_say(decoder, how):
    task, given = make(decoder, how), batch(1)
    with torch.no_grad():
        for late in range(2):
            first, second = (
                task.decode(torch.tensor([[TOKENS, 1, 2]]).index_fill(1, torch.tensor([late + 1]), word),
                            task.begin(given), given)[0]
                for word in (0, 3)
            )  # fmt: skip
            assert_close(first[:, : late + 1], second[:, : late + 1], rtol=0, atol=0)
            assert (first[:, late + 1] - second[:, late + 1]).abs().max() > 1e-4


@some
def test_what_stands_in_the_padding_reaches_neither_loss_nor_gradient(decoder, how):
    task, given = make(decoder, how | ({"coverage": 1.0} if decoder == "soft" else {})), batch()
    wider = given | {"target": torch.cat((given["target"], torch.full((3, 2), IGNORED)), 1)}
    task.train()
    losses = []
    for each in (given, wider):
        torch.manual_seed(0)  # the places that are drawn
        if decoder == "hard":
            task.decoder.baseline.zero_()
        losses.append(task.loss(each)[0])
    assert_close(*losses, rtol=0, atol=1e-6)
    gradients = [torch.autograd.grad(loss, list(task.parameters()), allow_unused=True) for loss in losses]
    assert_close(*map(list, gradients), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(("kind", "told"), [("soft", 0.1), ("hard", 0.3)])
def test_the_first_state_is_made_of_a_small_part_of_the_mean_while_training(kind, told):
    decoder = make(kind, {}).decoder.train()
    grid = torch.rand(500, 4, SIZE, requires_grad=True)
    (gradient,) = torch.autograd.grad(decoder.begin(grid)["layers"][0][0].square().sum(), [grid])
    assert float((gradient != 0).any(1).float().mean()) == pytest.approx(told, abs=0.01)


def test_every_place_should_be_looked_at_as_often_as_every_other():
    task, given = make("soft", {"coverage": 0.7, "entropy": 0.0}), batch()
    counted = given["target"] != IGNORED
    weights_ = torch.rand(3, counted.shape[1], PLACES)
    expected = sum(
        (1 - weights_[row, : int(counted[row].sum()), place].sum()) ** 2 for row in range(3) for place in range(PLACES)
    )
    looked = {"weights": weights_, "spread": torch.rand(counted.shape)}
    found = task.decoder.penalty(looked, torch.zeros(counted.shape), counted)
    assert_close(found, 0.7 * expected / counted.sum(), rtol=1e-5, atol=0)


def nowhere(rows, tokens):
    """What is looked at, if nothing is."""
    return {"weights": torch.zeros(rows, tokens, PLACES)} | dict.fromkeys(
        ("spread", "log_place"), torch.zeros(rows, tokens)
    )


def test_reinforce_follows_the_gradient_of_the_expected_reward():
    """With two places, of which one makes the words likelier: the mean gradient of what is drawn is that of the
    expectation, which can be written down."""
    torch.manual_seed(0)
    score = torch.zeros(2, requires_grad=True)
    reward = torch.tensor([-2.0, -0.5])
    (expected,) = torch.autograd.grad((score.softmax(-1) * reward).sum(), [score])
    decoder = make("hard", {"reinforce": 1.0, "entropy": 0.0}).decoder.train()
    total, rows = torch.zeros(2), 20_000
    places = torch.multinomial(score.detach().softmax(-1), rows, replacement=True)
    looked = nowhere(rows, 1) | {"log_place": score.log_softmax(-1)[places][:, None]}
    decoder.baseline.fill_(-1.0)
    loss = decoder.penalty(looked, -reward[places][:, None], torch.ones(rows, 1, dtype=torch.bool))
    (total,) = torch.autograd.grad(loss, [score])
    assert_close(-total, expected, rtol=0, atol=0.02)
    assert float(decoder.baseline) == pytest.approx(0.9 * -1.0 + 0.1 * float(reward[places].mean()), abs=1e-5)


def test_a_place_answers_for_the_words_from_its_own_on():
    decoder = make("hard", {"reinforce": 1.0, "entropy": 0.0}).decoder.train()
    nats, said = torch.rand(2, 4), torch.randn(2, 4, requires_grad=True)
    lengths = [4, 2]
    counted = torch.arange(4) < torch.tensor(lengths)[:, None]
    decoder.baseline.fill_(-0.3)
    loss = decoder.penalty(nowhere(2, 4) | {"log_place": said}, nats, counted)
    (gradient,) = torch.autograd.grad(loss, [said])
    rewards = []
    for row, length in enumerate(lengths):
        for time in range(length):
            shares = 0.5 ** np.arange(length - time)
            reward = -(shares @ nats[row, time:length].numpy()) / shares.sum()
            rewards.append(reward)
            assert float(gradient[row, time]) == pytest.approx(-(reward + 0.3) / sum(lengths), abs=1e-6)
        assert not gradient[row, length:].any()
    assert float(decoder.baseline) == pytest.approx(0.9 * -0.3 + 0.1 * np.mean(rewards), abs=1e-6)


def test_a_hard_decoder_draws_one_place_in_about_every_fifth_row_of_training_and_takes_the_likeliest_after():
    task, given = make("hard", {}), batch()
    state = task.begin(given)
    with torch.no_grad():
        one, looked = task.decoder.look(task.vectors(torch.tensor([1, 0, 2])), state)
    assert torch.equal(one.argmax(-1), looked["weights"].argmax(-1))
    assert torch.equal(one.sum(-1), torch.ones(3))
    assert set(one.unique().tolist()) == {0.0, 1.0}
    task.train()
    grid = torch.randn(400, 4, SIZE)
    state = task.decoder.begin(grid)
    one, looked = task.decoder.look(torch.randn(400, 6), state)
    hard = state["drawn"][:, 0]
    assert 50 < int(hard.sum()) < 110
    assert torch.equal(one[hard].max(-1).values, torch.ones(int(hard.sum())))
    assert torch.equal(one[~hard], looked["weights"][~hard])


@pytest.mark.parametrize(("kind", "how"), [("soft", {}), ("hard", {"reinforce": 0.0})])
def test_entropy_is_rewarded(kind, how):
    torch.manual_seed(0)
    scores = torch.randn(2, 3, PLACES, requires_grad=True)

    def spread():
        return torch.distributions.Categorical(logits=scores).entropy()

    decoder = make(kind, how | {"entropy": 0.5}).decoder.train()
    counted, nats = torch.tensor([[1, 1, 0], [1, 0, 0]]).bool(), torch.rand(2, 3)
    loss = decoder.penalty(nowhere(2, 3) | {"spread": spread()}, nats, counted)
    assert_close(loss, -0.5 * spread()[counted].mean())
    (gradient,) = torch.autograd.grad(loss, [scores])
    before = spread()
    scores.data -= gradient
    assert (spread() > before)[counted].all()
    assert torch.equal(spread()[~counted], before[~counted])


def test_what_the_places_said_of_rows_that_are_looked_at_softly_does_not_count():
    task = make("hard", {"reinforce": 1.0, "entropy": 0.0}).train()
    state = task.decoder.begin(torch.randn(6, PLACES, SIZE)) | {"drawn": torch.tensor([[True], [False]] * 3)}
    _, looked = task.decoder.look(torch.randn(6, 6), state)
    assert (looked["log_place"][0::2] < 0).all()
    assert torch.equal(looked["log_place"][1::2], torch.zeros(3))


# gradients


@pytest.mark.parametrize("kind", ["soft", "add", "state", "first"])
@pytest.mark.parametrize("cell", ["rnn", "lstm"])
def test_the_gradient_is_right(kind, cell):
    torch.manual_seed(0)
    how = {} if kind == "soft" else {"enters": kind}
    decoder = (Soft if kind == "soft" else Plain)(3, 4, 5, cell, 2, **how, backend="loop").double().eval()
    grid, x = torch.randn(2, 6, 3).double().requires_grad_(), torch.randn(2, 3, 4).double().requires_grad_()
    counted = torch.tensor([[1, 1, 1], [1, 1, 0]]).bool()

    def run(grid, x, *_):
        out, looked = decoder.whole(x, decoder.begin(grid))
        return out, decoder.penalty(looked, out.sum(-1), counted)

    assert gradcheck(run, [grid, x, *decoder.parameters()], fast_mode=True)


def test_a_place_that_is_looked_at_hard_gets_the_gradient_of_what_is_read():
    torch.manual_seed(0)
    decoder, grid = Hard(3, 4, 5, "rnn", 1, backend="loop").double().eval(), torch.randn(2, 6, 3).double()
    grid.requires_grad_()
    state = decoder.begin(grid.detach()) | {"grid": grid}
    out, state = decoder.advance(decoder.recurrent.stepper(), torch.randn(2, 4).double(), state)
    (gradient,) = torch.autograd.grad(out.square().sum(), [grid])
    assert torch.equal((gradient != 0).any(-1).sum(-1), torch.tensor([1, 1]))


# what it says


def answers(task, given, **how):
    return task.answers(given, CONFIG, **how)


def everything(task, given, row, limit, norm):
    """All captions of a picture with fewer tokens than the limit, and the end; and all that are cut there. Best first:
    their score by length, their text, whether they were cut."""
    found = []
    for length in range(limit + 1):
        texts = torch.tensor(list(itertools.product(range(TOKENS), repeat=length)), dtype=torch.int64)
        ends = torch.full((len(texts), 1), TOKENS)
        said = torch.cat((texts, ends), 1) if length < limit else texts
        one = alone(given, row, len(texts))
        with torch.no_grad():
            fed = torch.cat((ends, said[:, :-1]), 1)
            chances = task.head(task.decode(fed, task.begin(one), one)[0]).log_softmax(-1)
        scores = chances.gather(2, said[..., None])[..., 0].sum(1) / said.shape[1] ** norm
        texts = ["".join(LETTERS[token] for token in text) for text in texts.tolist()]
        found += [(score, text, length == limit) for score, text in zip(scores.tolist(), texts, strict=True)]
    return sorted(found, reverse=True)


@some
@pytest.mark.parametrize("norm", [0.0, 1.0])
def test_a_beam_as_wide_as_all_captions_finds_the_best_of_them(decoder, how, norm):
    task, given = make(decoder, how), batch(2)
    found = answers(task, given, search=Search((TOKENS + 1) ** 3, 8, norm, 0, 3))
    for row, answer in enumerate(found):
        best = everything(task, given, row, 3, norm)[:8]
        assert [each["caption"] for each in answer["candidates"]] == [text for _, text, _ in best]
        assert_allclose([each["score"] for each in answer["candidates"]], [score for score, *_ in best], atol=1e-4)
        assert answer.get("cut", False) == best[0][2]


@some
def test_without_beams_it_says_the_likeliest_word_at_each_step(decoder, how):
    task, given = make(decoder, how), batch(4, seed=7)
    for row, answer in enumerate(answers(task, given, search=Search(max_length=6))):
        one, said = alone(given, row), []
        while len(said) < 6 and TOKENS not in said:
            with torch.no_grad():
                out = task.decode(torch.tensor([[TOKENS, *said]]), task.begin(one), one)[0]
            said.append(int(task.head(out[0, -1]).argmax()))
        assert answer["caption"] == "".join(LETTERS[token] for token in said if token != TOKENS)
        assert answer.get("cut", False) == (TOKENS not in said)


@some
def test_a_picture_is_described_alike_whatever_stands_beside_it(decoder, how):
    task, given = make(decoder, how), batch(4)
    together = answers(task, given, search=Search(3, 3, max_length=6))
    for row, answer in enumerate(together):
        [other] = answers(task, alone(given, row), search=Search(3, 3, max_length=6))
        assert [each["caption"] for each in answer["candidates"]] == [each["caption"] for each in other["candidates"]]
        assert answer["score"] == pytest.approx(other["score"], abs=1e-4)


@some
def test_rows_of_one_picture_share_it(decoder, how):
    task, given = make(decoder, how), batch(2)
    whose = torch.tensor([1, 0, 1])
    shared = given | {"image_of": whose, "row": torch.arange(3), "target": given["target"][whose]}
    each = shared | {"image": given["image"][whose], "image_of": torch.arange(3)}
    assert_close(task.loss(shared)[0], task.loss(each)[0])
    assert answers(task, shared) == answers(task, each)


def test_what_is_drawn_is_decided_by_the_seed_and_is_another_in_another_batch():
    task, given = make("soft", {}), batch(3)
    given["image"] = given["image"][:1].expand(3, -1, -1, -1)
    how = {"drawn": True, "search": Search(max_length=9, min_length=8), "sampling": Sampling(temperature=3.0)}
    first, again, other = (answers(task, given, seed=seed, **how) for seed in (1, 1, 2))
    assert first == again != other
    assert len({answer["caption"] for answer in first}) == 3
    assert first != answers(task, given | {"row": given["row"] + 3}, seed=1, **how)


def test_places_are_recorded_one_row_of_weights_a_word():
    task, given = make("soft", {}), batch(2)
    with record() as seen, torch.no_grad():
        looked = task.decode(torch.tensor([[TOKENS, 1, 3]] * 2), task.begin(given), given)[1]
    assert torch.equal(seen["attention"], looked["weights"])
    assert seen["attention"].shape == (2, 3, PLACES)


# it learns, and goes on

SAID = [f"a {size} {colour} {shape}" for size in ("small", "large") for colour in ("red", "blue")
        for shape in ("circle", "square")]  # fmt: skip
TINY = {"hidden": 32, "embedding": 24, "batch_size": 8, "image_size": 16, "lr": 0.01, "warmup": 5, "dropout": 0.0, "preview": False,
        "precision": "float32", "device": "cpu", "backend": "native", "valid": "0", "test": "0"}  # fmt: skip


def album(where):
    """A table of eight pictures and what they show."""
    for number, words in enumerate(SAID):
        image = Image.new("RGB", (16, 16), "white")
        reach, pen = (7 if "large" in words else 3), ImageDraw.Draw(image)
        draw = pen.ellipse if "circle" in words else pen.rectangle
        draw((8 - reach, 8 - reach, 7 + reach, 7 + reach), "red" if "red" in words else "blue")
        image.save(where / f"{number}.png")
    rows = [f"{number}.png,{words}" for number, words in enumerate(SAID)]
    (where / "t.csv").write_text("\n".join(["image,caption", *rows]))
    return where / "t.csv"


def named(decoder, how):
    """The decoder as options of a training."""
    return {"decoder": decoder} | ({"image_enters": how["enters"]} if how else {})


@some
def test_a_few_pictures_are_learnt_by_heart(tmp_path, decoder, how):
    path = album(tmp_path)
    model = train("caption", path, out=tmp_path / "run", **TINY, **named(decoder, how), steps=70)
    source = model.task.source(model.config, "train", None, None)
    found = dict(model.task.answered(source, model.config["data"]))
    assert [found[row]["caption"] for row in range(8)] == SAID


@pytest.mark.parametrize(("decoder", "how"), [("soft", {}), ("hard", {}), ("plain", {"enters": "state"})])
def test_a_training_that_was_stopped_ends_as_an_unbroken_one_whatever_makes_its_batches(tmp_path, decoder, how):
    path = album(tmp_path)
    options = (
        TINY | named(decoder, how) | {"batch_size": 3, "steps": 9, "eval_every": 3, "dropout": 0.3, "valid": "0.3"}
    )
    train("caption", path, out=tmp_path / "unbroken", **options, workers=0)
    train("caption", path, out=tmp_path / "ahead", **options, workers=1)
    assert_same(tmp_path / "ahead", tmp_path / "unbroken", "another process")
    for workers in (0, 1):
        run = tmp_path / f"run{workers}"
        with interrupt_after(2), pytest.raises(loop.Interrupted):
            train("caption", path, out=run, **options, workers=workers)
        with interrupt_after(3), pytest.raises(loop.Interrupted):
            train("caption", resume=run, workers=1 - workers)
        train("caption", resume=run, workers=workers)
        assert_same(run, tmp_path / "unbroken", workers)


def test_what_rewards_are_measured_by_is_kept(tmp_path):
    path = album(tmp_path)
    model = train("caption", path, out=tmp_path / "run", **TINY, decoder="hard", steps=6)
    baseline = float(model.task.decoder.baseline)
    assert -5 < baseline < -0.05
    assert float(load(tmp_path / "run").task.decoder.baseline) == baseline
    assert float(Run.open(tmp_path / "run").load_resume().model["decoder.baseline"]) == baseline


def test_a_caption_that_is_empty_is_a_bad_row(tmp_path):
    path = album(tmp_path)
    path.write_text(path.read_text().replace(SAID[2], "  "))
    with pytest.raises(UserError, match=r"t\.csv row 4 has no caption; --skip-bad leaves such rows out"):
        train("caption", path, out=tmp_path / "run", **TINY, steps=1)
    model = train("caption", path, out=tmp_path / "run", **TINY, steps=1, skip_bad=True)
    assert len(model.task.source(model.config, "train", None, None).table) == 7
