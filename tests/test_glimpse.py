"""The recurrent attention model: the retina equals loops over pixels, the model the equations of the paper, and the
expected gradient of REINFORCE that of the expected reward, by quadrature."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from torch.nn import functional as F
from torch.testing import assert_close

import specs
from elman.nets.glimpse import Choice, HardAttention, Path
from elman.nets.retina import Retina
from elman.tasks.loss import Context
from oracles import ORACLES, weights


def make(attention="hard", seed=1, **options):
    """A model with large random weights."""
    model = specs.build("glimpse", specs.glimpse(attention=attention, **{"cell": "rnn", **options}), seed)
    return specs.randomize(model, 0.6, 0.3)


def batch(batch_size=4, size=9, channels=1, seed=0):
    rng = np.random.default_rng(seed)
    return {"image": torch.from_numpy(rng.integers(0, 256, (batch_size, channels, size, size)).astype(np.uint8)),
            "image_of": torch.from_numpy(rng.permutation(batch_size)),
            "target": torch.from_numpy(rng.integers(0, 3, batch_size)), "row": torch.arange(batch_size)}  # fmt: skip


# the retina


def patches(image, location, size, scales):
    """Patches (K, C, g, g) of an image (C, S, S), pixel by pixel."""
    channels, side = len(image), image.shape[-1]
    found = np.zeros((scales, channels, size, size))
    for scale in range(scales):
        block, width = 2**scale, size * 2**scale
        left, top = (np.floor((min(max(each, -1), 1) + 1) / 2 * side - width / 2 + 0.5) for each in location)
        for i, j, u, v in itertools.product(range(size), range(size), range(block), range(block)):
            y, x = int(top) + i * block + u, int(left) + j * block + v
            if 0 <= y < side and 0 <= x < side:
                found[scale, :, i, j] += image[:, y, x] / block**2
    return found


@given(
    st.integers(1, 5), st.integers(1, 3), st.integers(5, 9), st.integers(1, 3),
    st.lists(st.tuples(*[st.integers(-128, 128).map(lambda number: number / 64)] * 2), min_size=1, max_size=3),
)  # fmt: skip
def test_patches_equal_loops_over_pixels_also_beyond_the_border(size, scales, side, channels, locations):
    images = np.random.default_rng(0).random((2, channels, side, side))
    retina, of = Retina(size, scales, side), np.arange(len(locations)) % 2
    found = retina.glimpse(retina.prepare(torch.from_numpy(images)), torch.tensor(locations), torch.from_numpy(of))
    expected = [patches(images[k], place, size, scales).ravel() for k, place in zip(of, locations, strict=True)]
    assert_allclose(found.numpy(), expected, atol=1e-6)


def test_locations_are_x_first_from_the_top_left():
    image = torch.arange(36.0).view(1, 1, 6, 6)
    retina = Retina(2, 1, 6)
    levels, of = retina.prepare(image), torch.zeros(1, dtype=torch.int64)
    assert retina.glimpse(levels, torch.zeros(1, 2), of).tolist() == [[14, 15, 20, 21]]
    assert retina.glimpse(levels, torch.tensor([[2 / 3, -2 / 3]]), of).tolist() == [[4, 5, 10, 11]]


# the equations


def by_the_paper(model, image, locate):
    """The logits (T, K), locations (T, 2) and baselines (T,) of one image (C, S, S), one glimpse at a time; `locate`
    gives the location from the mean."""
    p = {name: value.detach().double().numpy() for name, value in model.state_dict().items()}
    options, cell = model.spec.options, weights(model.core.cells[0])

    def linear(name, x):
        return p[f"{name}.weight"] @ x + p[f"{name}.bias"]

    h, logits, places, baselines = np.zeros(model.spec.hidden), [], [], []
    for step in range(options.glimpses):
        place = locate(step, np.tanh(linear("attention.location", h)))
        baselines.append(linear("attention.baseline", h)[0])
        rho = patches(image / 255, place, options.glimpse_size, options.scales).ravel()
        what = np.maximum(0, linear("attention.network.patches", rho))
        where = np.maximum(0, linear("attention.network.location", np.clip(place, -1, 1)))
        g = np.maximum(0, linear("attention.network.of_patches", what) + linear("attention.network.of_location", where))
        h = ORACLES["rnn"](cell, g, h)["h"]
        logits.append(linear("head", h))
        places.append(place)
    return np.array(logits), np.array(places), np.array(baselines)


@pytest.mark.parametrize(("scales", "channels"), [(1, 1), (2, 3)])
def test_mean_locations_and_logits_equal_the_equations_of_the_paper(scales, channels):
    model, images = make(scales=scales, channels=channels), batch(channels=channels)
    with torch.no_grad():
        path = model.read(images, Choice(images["image_of"], sampled=False))
    for row, of in enumerate(images["image_of"].tolist()):
        logits, places, _ = by_the_paper(model, images["image"][of].numpy(), lambda step, mean: mean)
        assert_allclose(path.location[row], places, atol=1e-5)
        assert_allclose(model.logits(path.output)[row].detach(), logits, atol=1e-4)
        assert np.abs(np.diff(places, axis=0)).max() > 0.05
    assert path.width[0].tolist() == [[3.0, 6.0][:scales]] * 3


def test_the_loss_is_that_of_the_last_glimpse_with_baseline_and_surrogate():
    """Over the sampled locations themselves, several runs of each image."""
    model, images = make(location_std=0.4, num_samples=3, reinforce_weight=0.7).train(), batch(seed=4)
    torch.manual_seed(5)
    loss = model.loss(images)
    torch.manual_seed(5)
    noise = torch.stack([torch.randn(12, 2) for _ in range(3)], 1).double().numpy()
    nats, right, errors, surrogates = [], [], [], []
    for run, row in enumerate(np.repeat(np.arange(4), 3)):
        image, means = images["image"][images["image_of"][row]].numpy(), []

        def locate(step, mean, run=run, means=means):
            means.append(mean)
            return mean + 0.4 * noise[run, step]

        logits, places, baselines = by_the_paper(model, image, locate)
        target = int(images["target"][row])
        nats.append(np.log(np.exp(logits[-1]).sum()) - logits[-1, target])
        right.append(float(logits[-1].argmax() == target))
        errors.append(((baselines - right[-1]) ** 2).mean())
        log_probability = -((places - np.array(means)) ** 2).sum(1) / (2 * 0.4**2)
        surrogates.append(((right[-1] - baselines) * log_probability).mean())
    expected = np.mean(nats) + np.mean(errors) - 0.7 * np.mean(surrogates)
    assert loss.mean.item() == pytest.approx(expected, rel=1e-4)
    assert int(loss.count) == 4
    sums = {name: value.item() for name, value in loss.sums.items()}
    assert sums == pytest.approx({"loss": np.sum(nats) / 3, "correct": sum(right) / 3, "baseline": sum(errors) / 3},
                                 rel=1e-4)  # fmt: skip
    assert 0 < sum(right) < 12


def test_a_gradient_reaches_only_what_the_paper_trains_by_it():
    model, images = make(location_std=0.4).train(), batch()
    torch.manual_seed(0)
    path = model.read(images, Choice(images["image_of"]))
    nats = F.cross_entropy(model.logits(path.output[:, -1]), images["target"])
    penalty, _ = model.attention.penalty(path, torch.tensor([1.0, 0.0, 1.0, 1.0]))
    policy = {"attention.location.weight", "attention.location.bias", "attention.baseline.weight",
              "attention.baseline.bias"}  # fmt: skip
    for part, reached in ((nats, dict(model.named_parameters()).keys() - policy), (penalty, policy)):
        names, values = zip(*model.named_parameters(), strict=True)
        gradients = torch.autograd.grad(part, values, retain_graph=True, allow_unused=True)
        found = {n for n, gradient in zip(names, gradients, strict=True) if gradient is not None and gradient.any()}
        assert found == set(reached)


def test_the_first_location_is_learned_too():
    model, images = make(cell="lstm").train(), batch()
    before = model.read(images, Choice(images["image_of"], sampled=False)).before
    assert not before[:, 0].any()
    assert before[:, 1].any()


def test_the_expected_gradient_of_two_glimpses_is_that_of_the_expected_reward():
    """The second location depends on the first through the state; the expectation over both is a sum over nodes of
    Gauss-Hermite quadrature."""
    deviation, size = 0.3, 3
    options = specs.glimpse(location_std=deviation, reinforce_weight=1.0, glimpses=2).options
    torch.manual_seed(2)
    attention = HardAttention(options, 1, 9, size, size).double()
    specs.randomize(attention, 0.5)
    nodes, masses = np.polynomial.hermite_e.hermegauss(9)
    noise = torch.tensor(list(itertools.product(nodes, repeat=4))).view(-1, 2, 2)
    mass = torch.tensor(list(itertools.product(masses / masses.sum(), repeat=4))).prod(1)
    first, change = torch.randn(size).double(), torch.randn(size, 2).double()

    def states(location):
        return torch.stack((first.expand(len(location), -1), first + location @ change.T), 1)

    def reward(location):
        return torch.tanh(location[:, 0, 0] - 2 * location[:, 1, 1] * location[:, 0, 1]) + location[:, 1, 0]

    # the exact gradient, through the locations themselves
    one = attention.mean(first) + deviation * noise[:, 0]
    two = attention.mean(states(one)[:, 1]) + deviation * noise[:, 1]
    places = torch.stack((one, two), 1)
    weights_ = [attention.location.weight, attention.location.bias]
    expected = torch.autograd.grad((mass * reward(places)).sum(), weights_)
    places = places.detach()

    before = states(places[:, 0])
    empty = torch.zeros(len(places), 2, 1)
    path = Path(empty, empty, before, places, empty)
    # the surrogate is a mean over runs and glimpses: each run is weighted by its mass through its advantage
    distance = (path.location - attention.mean(before)) / deviation
    baseline = attention.baseline(before).squeeze(-1).detach()
    advantage = reward(places)[:, None] - baseline
    exact = (mass[:, None] * advantage * -distance.square().sum(-1) / 2).sum()
    assert_close(torch.autograd.grad(exact, weights_), expected, rtol=1e-3, atol=1e-4)

    # and `penalty` of a few runs is their mean
    few = torch.arange(0, len(places), 997)
    part = Path(*(getattr(path, name)[few] for name in ("vector", "output", "before", "location", "width")))
    penalty, _ = attention.penalty(part, reward(part.location))
    found = torch.autograd.grad(penalty, weights_)
    again = (part.location - attention.mean(part.before)) / deviation
    mean = (advantage[few] * again.square().sum(-1) / 2).mean()
    assert_close(found, torch.autograd.grad(mean, weights_))


# the variants


@pytest.mark.parametrize("attention", ["hard", "soft", "random"])
@pytest.mark.parametrize("cell", ["rnn:activation=relu", "lstm", "gru"])
def test_both_passes_agree(attention, cell):
    """With a gradient all glimpses are encoded in one call; without one, in the order of the glimpses."""
    model, images = make(attention, cell=cell), batch()
    choice = [Choice(images["image_of"], True, torch.Generator().manual_seed(3)) for _ in range(2)]
    with torch.no_grad():
        alone = model.read(images, choice[0])
    path = model.read(images, choice[1])
    assert path.output.requires_grad
    for name in ("vector", "output", "before", "location", "width"):
        assert_close(getattr(path, name), getattr(alone, name), rtol=1e-4, atol=1e-5)


def test_random_locations_are_uniform_and_those_of_the_generator():
    model, images = make("random", glimpses=50), batch(200)
    places = [model.read(images, Choice(images["image_of"], False, torch.Generator().manual_seed(7))).location
              for _ in range(2)]  # fmt: skip
    assert_close(places[0], places[1])
    assert places[0].min() < -0.98
    assert places[0].max() > 0.98
    assert_allclose(places[0].flatten(0, 1).std(0), [3**-0.5] * 2, atol=0.02)


def test_soft_attention_reads_the_window_and_learns_it_by_back_propagation():
    model, images = make("soft", glimpse_size=4).train(), batch()
    path = model.read(images, Choice(images["image_of"]))
    window = model.attention.window(path.before[:, 1])
    x = images["image"][images["image_of"]].float() / 255
    patch = window.read(x).flatten(1)
    centre = (window.centre + 0.5) / 9 * 2 - 1  # the first pixel is at 0, its left edge at -1
    assert_close(path.location[:, 1], centre)
    expected = model.attention.network(patch, torch.cat((centre, window.stride[:, None] / 9), 1))
    assert_close(path.vector[:, 1], expected)
    assert_close(path.width[:, 1, 0], 4 * window.stride)
    model.loss(images).mean.backward()
    assert all(weight.grad is not None and weight.grad.any() for weight in model.parameters())


def test_validation_is_the_same_every_time_and_draws_no_number_of_training():
    images = batch(32)
    for attention in ("hard", "random"):
        model, before = make(attention), torch.get_rng_state()
        found = [model.loss(images, context=Context(generator=torch.Generator().manual_seed(0))).mean.item()
                 for _ in range(2)]  # fmt: skip
        assert found[0] == found[1]
        assert torch.equal(before, torch.get_rng_state())


def test_sampled_answers_average_the_probabilities_of_runs():
    model, images, task = make(location_std=0.5), batch(), specs.find("glimpse")
    with torch.inference_mode():
        answers = task.answer(model, images, samples=3)
        generator = torch.Generator().manual_seed(0)
        runs = [model.logits(model.read(images, Choice(images["image_of"], True, generator)).output[:, -1])
                for _ in range(3)]  # fmt: skip
    expected = torch.stack([run.softmax(-1) for run in runs]).mean(0)
    found = [list(answer["probabilities"].values()) for answer in answers]
    assert_allclose(found, expected, atol=1e-6)
    assert (runs[0] - runs[1]).abs().max() > 0.01
