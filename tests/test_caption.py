"""Captions: the decoders equal the equations of the papers, and no step depends on its target."""

import itertools

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from torch.autograd import gradcheck
from torch.testing import assert_close

import specs
from elman.cells.tap import record
from elman.data.windows import IGNORED
from elman.decode.sampling import Sampling
from elman.decode.search import Search
from elman.nets.attention_decoder import HardDecoder, SoftDecoder
from elman.nets.pooled_decoder import PooledDecoder
from elman.recurrent.layer import Recurrent
from elman.tasks.caption import Caption, CaptionOptions
from elman.tasks.loss import Context
from oracles import ORACLES, weights

TOKENS, POSITIONS, FEATURES = 5, 64, 130  # words; of the grid of an image of 64 by 64 pixels
END = TOKENS
LETTERS = "vwxyz"
DECODERS = [("soft", {}), ("hard", {}), *(("plain", {"image_enters": way}) for way in ("add", "state", "first"))]
decoders = pytest.mark.parametrize(("decoder", "options"), DECODERS)


def make(decoder, options=None, seed=1, **more):
    """A captioner with large random weights, those of its encoder excepted."""
    spec = specs.caption(TOKENS, decoder=decoder, **(options or {}), **more)
    return specs.randomize(specs.build("caption", spec, seed), 0.5, 0.2)


def batch(batch_size=3, seed=0):
    rng = np.random.default_rng(seed)
    image = torch.from_numpy(rng.integers(0, 256, (batch_size, 3, 64, 64)).astype(np.uint8))
    target = torch.full((batch_size, batch_size + 2), IGNORED)
    for row in range(batch_size):
        words = torch.from_numpy(rng.integers(0, TOKENS, row + 2))
        target[row, : row + 2], target[row, row + 2 :][:1] = words, END
    return {"image": image, "image_of": torch.arange(batch_size), "target": target, "row": torch.arange(batch_size)}


def alone(images, row, times=1):
    """One image of a batch, for so many rows."""
    return {"image": images["image"][row : row + 1], "image_of": torch.zeros(times, dtype=torch.int64),
            "row": torch.arange(row, row + times)}  # fmt: skip


def answers(model, images, **decoding):
    return Caption().answer(model, images, **decoding)


def values(found):
    return [answer.values for answer in found]


def decode(model, tokens, images):
    return model.decode(tokens, model.begin(images), Context())


# the equations


def by_the_papers(model, grid, tokens):
    """One grid (L, D) and the input tokens (T,): logits (T, V) and attention weights (T, L). Xu et al. 2015 for a
    decoder with attention, tanh(Wxh x + Whh h + Wih v) for one without."""
    p = {name: value.detach().double().numpy() for name, value in model.state_dict().items()}
    kind, enters = model.spec.options.decoder, model.spec.options.image_enters
    cell = model.decoder.recurrent.cells[0]

    def linear(name, x):
        return p[f"{name}.weight"] @ x + p.get(f"{name}.bias", 0)

    def step(x, h):
        return ORACLES["rnn"](weights(cell), x, h)["h"]

    mean, h, logits, alphas = grid.mean(0), np.zeros(8), [], []
    if kind == "plain":
        image = np.tanh(linear("decoder.image", mean))
        if enters == "state":
            h = image
        if enters == "first":
            h = step(image, h)
    else:
        h = np.tanh(linear("decoder.first", mean))
    for token in tokens:
        x = p["head.weight"][token]
        if kind == "plain":
            h = step(np.concatenate((x, image)) if enters == "add" else x, h)
            out = np.tanh(linear("decoder.out", h))
        else:
            query, deviation = linear("decoder.attention.W", np.concatenate((h, x))), np.sqrt(grid.var(1) + 1e-5)
            normal = (grid - grid.mean(1, keepdims=True)) / deviation[:, None]
            keys = [linear("decoder.attention.U", position) for position in normal]
            scores = np.array([query @ key / np.sqrt(len(key)) for key in keys])
            alpha = np.exp(scores - scores.max()) / np.exp(scores - scores.max()).sum()
            beta = 1 / (1 + np.exp(-linear("decoder.gate", h)))
            context = beta * (grid[scores.argmax()] if kind == "hard" else alpha @ grid)
            h = step(np.concatenate((x, context)), h)
            out = np.tanh(x + linear("decoder.of_state", h) + linear("decoder.of_context", context))
            alphas.append(alpha)
        logits.append(linear("head", out))
    return np.array(logits), np.array(alphas)


@decoders
def test_logits_and_attention_equal_the_equations_of_the_papers(decoder, options):
    model, images = make(decoder, options), batch()
    tokens = torch.tensor([[END, 1, 3, 0]] * 3)
    with torch.no_grad():
        grid = model.encoder(images["image"])
        hidden, attended = decode(model, tokens, images)
        found = model.head(hidden)
    assert grid.shape == (3, POSITIONS, FEATURES)
    for row in range(3):
        logits, alphas = by_the_papers(model, grid[row].double().numpy(), tokens[row].tolist())
        assert_allclose(found[row], logits, atol=1e-4)
        if len(alphas):
            assert_allclose(attended["weights"][row], alphas, atol=1e-4)


@pytest.mark.parametrize("decoder", ["soft", "hard", "plain"])
@pytest.mark.parametrize("decoding", [
    {"search": Search(min_length=2, max_length=6)},
    {"search": Search(beam=4, n_best=2, min_length=2, max_length=6)},
    {"search": Search(n_best=2, min_length=2, max_length=6), "drawn": True},
], ids=["greedy", "beams", "samples"])  # fmt: skip
def test_the_attention_of_an_answer_is_that_of_a_second_pass_over_its_text(decoder, decoding):
    """As the equations of the paper give it for the generated tokens, whatever the rest of the batch."""
    model, images = make(decoder), batch(4)
    found = answers(model, images, **decoding)
    assert all(len(answer["caption"]) >= 2 for answer in found)
    with torch.no_grad():
        grids = model.encoder(images["image"]).double().numpy()
    for grid, answer in zip(grids, found, strict=True):
        if decoder == "plain":
            assert answer.attention is None
            continue
        ids = [LETTERS.index(letter) for letter in answer["caption"]]
        _, alphas = by_the_papers(model, grid, [END, *ids][: len(ids)])
        assert answer.attention.queries == tuple(answer["caption"])
        assert answer.attention.hard == (decoder == "hard")
        assert answer.attention.weights.shape == (len(ids), POSITIONS)
        assert_allclose(answer.attention.weights, alphas.reshape(-1, POSITIONS), atol=1e-4)


@decoders
def test_a_whole_caption_gives_what_single_steps_give(decoder, options):
    model, images = make(decoder, options), batch()
    tokens, state = images["target"].clamp(min=0), model.begin(images)
    with torch.no_grad():
        whole, layer = model.decode(tokens, state, Context())[0], model.generating.stepper()
        for time, token in enumerate(tokens.unbind(1)):
            hidden, state = model.advance(layer, token, state)
            assert_close(hidden, whole[:, time], rtol=0, atol=1e-5)


@decoders
def test_no_step_depends_on_its_target(decoder, options):
    model, images = make(decoder, options), batch(1)
    with torch.no_grad():
        for time in range(2):
            first, second = (
                decode(model, torch.tensor([[END, 1, 2]]).index_fill(1, torch.tensor([time + 1]), word), images)[0]
                for word in (0, 3)
            )
            assert_close(first[:, : time + 1], second[:, : time + 1], rtol=0, atol=0)
            assert (first[:, time + 1] - second[:, time + 1]).abs().max() > 1e-4


@decoders
def test_padding_changes_neither_loss_nor_gradient(decoder, options):
    model, images = make(decoder, options | ({"coverage": 1.0} if decoder == "soft" else {})), batch()
    wider = images | {"target": torch.cat((images["target"], torch.full((3, 2), IGNORED)), 1)}
    model.train()
    losses = []
    for each in (images, wider):
        torch.manual_seed(0)  # of the sampled positions
        if decoder == "hard":
            model.decoder.reinforce.baseline.zero_()
        losses.append(model.loss(each).mean)
    assert_close(*losses, rtol=0, atol=1e-6)
    gradients = [torch.autograd.grad(loss, list(model.parameters()), allow_unused=True) for loss in losses]
    assert_close(*map(list, gradients), rtol=1e-4, atol=1e-6)


@decoders
def test_the_sums_are_without_penalties_and_label_smoothing(decoder, options):
    model, images = make(decoder, options, label_smoothing=0.3, entropy=1.0), batch()
    loss = model.train().loss(images)
    with torch.no_grad():
        mask = images["target"] != IGNORED
        # hard attention samples in training; its evaluation takes the most probable position
        plain = model.eval().loss(images)
        logits = model.head(decode(model, shifted(images["target"]), images)[0])[mask]
        nats = torch.nn.functional.cross_entropy(logits, images["target"][mask], reduction="sum")
    assert int(loss.count) == int(plain.count) == int(mask.sum())
    assert_close(plain.sums["loss"], nats)
    assert_close(plain.mean, nats / mask.sum())
    assert loss.state is None
    assert set(loss.sums) == {"loss"}
    assert abs(float((loss.mean - loss.sums["loss"] / loss.count).detach())) > 0.01


def shifted(target):
    return torch.cat((torch.full_like(target[:, :1], END), target[:, :-1].clamp(min=0)), 1)


# penalties


@pytest.mark.parametrize(("decoder", "kept"), [("soft", 0.1), ("hard", 0.3)])
def test_most_of_the_mean_is_dropped_before_the_initial_state_in_training(decoder, kept):
    module = make(decoder).decoder.train()
    grid = torch.rand(500, 4, FEATURES, requires_grad=True)
    (gradient,) = torch.autograd.grad(module.begin(grid)["layers"][0][0].square().sum(), [grid])
    assert float((gradient != 0).any(1).float().mean()) == pytest.approx(kept, abs=0.01)


def test_doubly_stochastic_attention_penalises_the_square_of_what_each_position_lacks():
    model, images = make("soft", {"coverage": 0.7}), batch()
    mask = images["target"] != IGNORED
    alpha = torch.rand(3, mask.shape[1], POSITIONS)
    expected = sum(
        (1 - alpha[row, : int(mask[row].sum()), position].sum()) ** 2
        for row in range(3)
        for position in range(POSITIONS)
    )
    attended = {"weights": alpha, "entropy": torch.rand(mask.shape)}
    found = model.decoder.penalty(attended, torch.zeros(mask.shape), mask)
    assert_close(found, 0.7 * expected / mask.sum(), rtol=1e-5, atol=0)


def no_attention(rows, tokens):
    """What `penalty` needs, all 0."""
    return {"weights": torch.zeros(rows, tokens, POSITIONS)} | dict.fromkeys(
        ("entropy", "log_probability"), torch.zeros(rows, tokens)
    )


def test_the_reward_of_a_position_is_the_discounted_mean_over_the_tokens_from_its_own_on():
    module = make("hard", {"reinforce_weight": 1.0}).decoder.train()
    nats, logs = torch.rand(2, 4), torch.randn(2, 4, requires_grad=True)
    lengths = [4, 2]
    mask = torch.arange(4) < torch.tensor(lengths)[:, None]
    module.reinforce.baseline.fill_(-0.3)
    loss = module.penalty(no_attention(2, 4) | {"log_probability": logs}, nats, mask)
    (gradient,) = torch.autograd.grad(loss, [logs])
    rewards = []
    for row, length in enumerate(lengths):
        for time in range(length):
            discounts = 0.5 ** np.arange(length - time)
            reward = -(discounts @ nats[row, time:length].numpy()) / discounts.sum()
            rewards.append(reward)
            assert float(gradient[row, time]) == pytest.approx(-(reward + 0.3) / sum(lengths), abs=1e-6)
        assert not gradient[row, length:].any()
    assert float(module.reinforce.baseline) == pytest.approx(0.9 * -0.3 + 0.1 * np.mean(rewards), abs=1e-6)


def test_hard_attention_samples_a_position_in_a_fifth_of_the_rows_and_takes_the_most_probable_in_evaluation():
    model, images = make("hard"), batch()
    state = model.begin(images)
    with torch.no_grad():
        one, attended = model.decoder.attend(model.embed(torch.tensor([1, 0, 2])), state)
    assert torch.equal(one.argmax(-1), attended["weights"].argmax(-1))
    assert torch.equal(one.sum(-1), torch.ones(3))
    assert set(one.unique().tolist()) == {0.0, 1.0}
    model.train()
    grid = torch.randn(400, 4, FEATURES)
    state = model.decoder.begin(grid)
    one, attended = model.decoder.attend(torch.randn(400, 6), state)
    sampled = state["sampled"][:, 0]
    assert 50 < int(sampled.sum()) < 110
    assert torch.equal(one[sampled].max(-1).values, torch.ones(int(sampled.sum())))
    assert torch.equal(one[~sampled], attended["weights"][~sampled])


@pytest.mark.parametrize(("decoder", "options"), [("soft", {}), ("hard", {"reinforce_weight": 0.0})])
def test_entropy_is_rewarded(decoder, options):
    torch.manual_seed(0)
    scores = torch.randn(2, 3, POSITIONS, requires_grad=True)

    def entropy():
        return torch.distributions.Categorical(logits=scores).entropy()

    module = make(decoder, options, entropy=0.5).decoder.train()
    mask, nats = torch.tensor([[1, 1, 0], [1, 0, 0]]).bool(), torch.rand(2, 3)
    loss = module.penalty(no_attention(2, 3) | {"entropy": entropy()}, nats, mask)
    assert_close(loss, -0.5 * entropy()[mask].mean())
    (gradient,) = torch.autograd.grad(loss, [scores])
    before = entropy()
    scores.data -= gradient
    assert (entropy() > before)[mask].all()
    assert torch.equal(entropy()[~mask], before[~mask])


def test_rows_with_soft_attention_have_no_log_probability():
    model = make("hard", {"reinforce_weight": 1.0}).train()
    state = model.decoder.begin(torch.randn(6, POSITIONS, FEATURES)) | {"sampled": torch.tensor([[True], [False]] * 3)}
    _, attended = model.decoder.attend(torch.randn(6, 6), state)
    assert (attended["log_probability"][0::2] < 0).all()
    assert torch.equal(attended["log_probability"][1::2], torch.zeros(3))


# gradients


def decoder_of(kind, cell="rnn", layers=2, **options):
    """A decoder of grids with 3 features and tokens with 4, in float64."""

    def recurrence(size, /):
        return Recurrent(size, 5, cell, layers=layers, backend="loop")

    return kind(3, 4, recurrence, CaptionOptions(**options), 0.0).double().eval()


@pytest.mark.parametrize("kind", ["soft", "add", "state", "first"])
@pytest.mark.parametrize("cell", ["rnn", "lstm"])
def test_the_gradient_is_correct(kind, cell):
    torch.manual_seed(0)
    module = decoder_of(SoftDecoder, cell) if kind == "soft" else decoder_of(PooledDecoder, cell, image_enters=kind)
    grid, x = torch.randn(2, 6, 3).double().requires_grad_(), torch.randn(2, 3, 4).double().requires_grad_()
    mask = torch.tensor([[1, 1, 1], [1, 1, 0]]).bool()

    def run(grid, x, *_):
        hidden, attended = module.decode(x, module.begin(grid))
        return hidden, module.penalty(attended, hidden.sum(-1), mask)

    assert gradcheck(run, [grid, x, *module.parameters()], fast_mode=True)


def test_only_the_position_of_hard_attention_has_a_gradient():
    torch.manual_seed(0)
    module, grid = decoder_of(HardDecoder, layers=1), torch.randn(2, 6, 3).double().requires_grad_()
    state = module.begin(grid.detach()) | {"grid": grid}
    hidden, state = module.advance(module.recurrent.stepper(), torch.randn(2, 4).double(), state)
    (gradient,) = torch.autograd.grad(hidden.square().sum(), [grid])
    assert torch.equal((gradient != 0).any(-1).sum(-1), torch.tensor([1, 1]))


# what it predicts


def all_captions(model, images, row, limit, norm):
    """All captions of an image with fewer tokens than the limit, and the end; and all that are truncated there. Best
    first: their score by length, their text, whether they were truncated."""
    found = []
    for length in range(limit + 1):
        texts = torch.tensor(list(itertools.product(range(TOKENS), repeat=length)), dtype=torch.int64)
        ends = torch.full((len(texts), 1), END)
        target = torch.cat((texts, ends), 1) if length < limit else texts
        with torch.no_grad():
            hidden, _ = decode(model, torch.cat((ends, target[:, :-1]), 1), alone(images, row, len(texts)))
            log_probabilities = model.head(hidden).log_softmax(-1)
        scores = log_probabilities.gather(2, target[..., None])[..., 0].sum(1) / target.shape[1] ** norm
        texts = ["".join(LETTERS[token] for token in text) for text in texts.tolist()]
        found += [(score, text, length == limit) for score, text in zip(scores.tolist(), texts, strict=True)]
    return sorted(found, reverse=True)


@decoders
@pytest.mark.parametrize("norm", [0.0, 1.0])
def test_a_beam_as_large_as_all_captions_finds_the_best_of_them(decoder, options, norm):
    model, images = make(decoder, options), batch(2)
    found = answers(model, images, search=Search((TOKENS + 1) ** 3, 8, norm, 0, 3))
    for row, answer in enumerate(found):
        best = all_captions(model, images, row, 3, norm)[:8]
        assert [each["caption"] for each in answer["candidates"]] == [text for _, text, _ in best]
        assert_allclose([each["score"] for each in answer["candidates"]], [score for score, *_ in best], atol=1e-4)
        assert answer.values.get("truncated", False) == best[0][2]


@decoders
def test_without_beams_each_token_is_the_most_probable(decoder, options):
    model, images = make(decoder, options), batch(4, seed=7)
    for row, answer in enumerate(answers(model, images, search=Search(max_length=6))):
        tokens = []
        while len(tokens) < 6 and END not in tokens:
            with torch.no_grad():
                hidden, _ = decode(model, torch.tensor([[END, *tokens]]), alone(images, row))
            tokens.append(int(model.head(hidden[0, -1]).argmax()))
        assert answer["caption"] == "".join(LETTERS[token] for token in tokens if token != END)
        assert answer.values.get("truncated", False) == (END not in tokens)


@decoders
def test_the_answer_to_an_image_does_not_depend_on_the_rest_of_its_batch(decoder, options):
    model, images = make(decoder, options), batch(4)
    together = answers(model, images, search=Search(3, 3, max_length=6))
    for row, answer in enumerate(together):
        [other] = answers(model, alone(images, row), search=Search(3, 3, max_length=6))
        assert answer.row == other.row == row
        assert [each["caption"] for each in answer["candidates"]] == [each["caption"] for each in other["candidates"]]
        assert answer["score"] == pytest.approx(other["score"], abs=1e-4)


@decoders
def test_rows_of_one_image_share_it(decoder, options):
    model, images = make(decoder, options), batch(2)
    of = torch.tensor([1, 0, 1])
    shared = images | {"image_of": of, "row": torch.arange(3), "target": images["target"][of]}
    each = shared | {"image": images["image"][of], "image_of": torch.arange(3)}
    assert_close(model.loss(shared).mean, model.loss(each).mean)
    assert values(answers(model, shared)) == values(answers(model, each))


def test_samples_depend_on_the_seed_and_on_the_batch():
    model, images = make("soft"), batch(3)
    images["image"] = images["image"][:1].expand(3, -1, -1, -1)
    decoding = {"drawn": True, "search": Search(max_length=9, min_length=8), "sampling": Sampling(temperature=3.0)}
    first, again, other = (values(answers(model, images, seed=seed, **decoding)) for seed in (1, 1, 2))
    assert first == again != other
    assert len({each["caption"] for each in first}) == 3
    assert first != values(answers(model, images | {"row": images["row"] + 3}, seed=1, **decoding))


def test_the_attention_weights_of_each_token_are_recorded():
    model, images = make("soft"), batch(2)
    with record() as recorded, torch.no_grad():
        attended = decode(model, torch.tensor([[END, 1, 3]] * 2), images)[1]
    assert torch.equal(recorded["attention"], attended["weights"])
    assert recorded["attention"].shape == (2, 3, POSITIONS)
