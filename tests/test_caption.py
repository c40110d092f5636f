"""Captions: the decoders are those of the papers, and no step knows the word that it is to say."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from oracles import ORACLES, weights
from torch.testing import assert_close

from elman.data.windows import IGNORED
from elman.tasks.caption import Caption

TOKENS, PLACES, SIZE = 5, 64, 130  # words; places of the grid and numbers at each, for pictures of 64 by 64
DECODERS = [("soft", {}), ("hard", {}), *(("plain", {"enters": way}) for way in ("add", "state", "first"))]
some = pytest.mark.parametrize(("decoder", "how"), DECODERS)


def make(decoder, how, seed=1, **options):
    """A writer of captions whose weights are large enough for everything to matter."""
    torch.manual_seed(seed)
    options = {"backend": "loop"} | options
    task = Caption(TOKENS, 6, 8, "rnn", 1, decoder, how, **options).eval()
    for name, weight in task.named_parameters():
        if not name.startswith("encoder"):
            torch.nn.init.normal_(weight, std=0.5 if weight.dim() > 1 else 0.2)
    return task


def batch(rows=3, seed=0):
    draw = np.random.default_rng(seed)
    image = torch.from_numpy(draw.integers(0, 256, (rows, 3, 64, 64)).astype(np.uint8))
    target = torch.full((rows, rows + 2), IGNORED)
    for row in range(rows):
        words = torch.from_numpy(draw.integers(0, TOKENS, row + 2))
        target[row, : row + 2], target[row, row + 2 :][:1] = words, TOKENS
    return {"image": image, "target": target, "row": torch.arange(rows)}


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
            scores = np.array([
                p["decoder.attention.v.weight"][0]
                @ np.tanh(linear("decoder.attention.W", h) + linear("decoder.attention.U", place))
                for place in grid
            ])  # fmt: skip
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
        whole, step = task.decode(tokens, state, given)[0], task.written_by.unrolled()
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
    losses = [task.loss(each)[0] for each in (given, wider)]
    assert_close(*losses, rtol=0, atol=1e-6)
    gradients = [torch.autograd.grad(loss, list(task.parameters()), allow_unused=True) for loss in losses]
    assert_close(*map(list, gradients), rtol=1e-4, atol=1e-6)


def test_every_place_should_be_looked_at_as_often_as_every_other():
    task, given = make("soft", {"coverage": 0.7}), batch()
    counted = given["target"] != IGNORED
    weights_ = torch.rand(3, counted.shape[1], PLACES)
    expected = sum(
        (1 - weights_[row, : int(counted[row].sum()), place].sum()) ** 2 for row in range(3) for place in range(PLACES)
    )
    found = task.decoder.penalty({"weights": weights_}, torch.zeros(counted.shape), counted)
    assert_close(found, 0.7 * expected / counted.sum(), rtol=1e-5, atol=0)


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
    looked = {"log_place": score.log_softmax(-1)[places][:, None], "spread": torch.zeros(rows, 1)}
    decoder.baseline.fill_(-1.0)
    loss = decoder.penalty(looked, -reward[places][:, None], torch.ones(rows, 1, dtype=torch.bool))
    (total,) = torch.autograd.grad(loss, [score])
    assert_close(-total, expected, rtol=0, atol=0.02)
    assert float(decoder.baseline) == pytest.approx(0.9 * -1.0 + 0.1 * float(reward[places].mean()), abs=1e-5)


def test_a_hard_decoder_draws_one_place_in_about_every_second_row_of_training_and_takes_the_likeliest_after():
    task, given = make("hard", {}), batch()
    state = task.begin(given)
    with torch.no_grad():
        one, looked = task.decoder.look(state)
    assert torch.equal(one.argmax(-1), looked["weights"].argmax(-1))
    assert torch.equal(one.sum(-1), torch.ones(3))
    assert set(one.unique().tolist()) == {0.0, 1.0}
    task.train()
    grid = torch.randn(400, 4, SIZE)
    drawn, looked = task.decoder.look(task.decoder.begin(grid))
    hard = (drawn == 1).any(-1)
    assert 120 < int(hard.sum()) < 280
    assert_close(drawn[~hard], looked["weights"][~hard])
