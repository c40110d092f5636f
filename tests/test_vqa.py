"""Questions about images: the fusions equal the equations of the papers, what one input predicts alone does not train
the model, and answers that cannot be predicted do not count."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from torch.autograd import gradcheck
from torch.nn import functional as F
from torch.testing import assert_close

import specs
from elman.cells.tap import record
from elman.data.rows import padded
from elman.data.scenes.image import SceneImage
from elman.data.windows import IGNORED
from elman.nets.fusion import FUSIONS
from elman.recurrent.layer import Recurrent
from elman.tasks.vqa import Vqa, VqaOptions
from oracles import ORACLES, weights

WORDS, ANSWERS = 7, 4
fusions = pytest.mark.parametrize("fusion", FUSIONS)


def make(fusion="stacked", seed=1, **options):
    """A model with large random weights, those of its encoder excepted."""
    spec = specs.vqa(WORDS, ANSWERS, fusion=fusion, **options)
    return specs.randomize(specs.build("vqa", spec, seed), 0.5, 0.2)


def batch(batch_size=4, seed=0):
    rng = np.random.default_rng(seed)
    question, lengths = padded([rng.integers(0, WORDS, size) for size in rng.permutation(batch_size) + 1])
    image = torch.from_numpy(rng.integers(0, 256, (batch_size, 3, 32, 32)).astype(np.uint8))
    target = torch.from_numpy(rng.integers(0, ANSWERS, batch_size))
    return {"image": image, "image_of": torch.arange(batch_size), "question": question, "question_lengths": lengths,
            "target": target, "row": torch.arange(batch_size)}  # fmt: skip


# the equations


def softmax(scores):
    exponentials = np.exp(scores - scores.max())
    return exponentials / exponentials.sum()


def layer_norm(x):
    return (x - x.mean()) / np.sqrt(x.var() + 1e-5)


def mean(alpha, values):
    return sum(weight * value for weight, value in zip(alpha, values, strict=True))


def concatenated(p, linear, grid, words, outputs):
    return np.maximum(0, linear("fusion.join", np.concatenate((sum(grid) / len(grid), outputs[-1]))))


def product(p, linear, grid, words, outputs):
    """Antol et al. 2015: both through a layer with tanh, multiplied element by element."""
    return np.tanh(linear("fusion.image", sum(grid) / len(grid))) * np.tanh(linear("fusion.question", outputs[-1]))


def stacked(p, linear, grid, words, outputs):
    """A word attends by scaled products (Vaswani et al. 2017), and a second rnn reads it and its context. Then Yang et
    al. 2016, u + the context of softmax(w . h_i), h_i being a position modulated by u, as in Perez et al. 2018; and a
    product of the words and of the coordinates to which they attended."""
    alphas, next_words, s = [], [], np.zeros(8)
    keys = [linear("fusion.attention.U", layer_norm(v)) for v in grid]
    for word, output in zip(words, outputs, strict=True):
        query = linear("fusion.attention.W", np.concatenate((layer_norm(word), layer_norm(output))))
        alphas.append(softmax(np.array([query @ key / np.sqrt(len(key)) for key in keys])))
        context = mean(alphas[-1], grid)
        s = ORACLES["rnn"](p, np.concatenate((layer_norm(word), context)), s)["h"]
        next_words.append(
            np.tanh(layer_norm(word) + linear("fusion.of_state", s) + linear("fusion.of_context", context))
        )
    bag = layer_norm(sum(layer_norm(word) for word in words))
    u = layer_norm(linear("fusion.question", np.concatenate((layer_norm(outputs[-1]), bag))))
    gain, shift = linear("fusion.gain", u), linear("fusion.shift", u)
    h = [np.maximum(0, (1 + gain) * linear("fusion.positions", v) + shift) for v in grid]
    scores = np.array([linear("fusion.score", each) for each in h])
    one, two = softmax(scores[:, 0]), softmax(scores[:, 1])
    read = linear("fusion.read", np.concatenate((mean(one, h), mean(two, h))))
    found = linear("fusion.found", np.concatenate((layer_norm(s), mean(one, grid), mean(two, grid))))
    modulated = (1 + linear("fusion.found_gain", u)) * found + linear("fusion.found_shift", u)
    roles = np.array([linear("fusion.role", layer_norm(output)) for output in outputs])
    coordinates = [mean(alpha, grid)[-2:] for alpha in alphas]
    attended = linear("fusion.coordinates", np.concatenate([mean(softmax(role), coordinates) for role in roles.T]))
    relation = linear("fusion.relation", linear("fusion.bag", bag) * attended)
    return u + np.maximum(0, read) + np.maximum(0, modulated) + relation, [*alphas, one, two], next_words


def by_the_papers(model, questions):
    """For each row of a batch: what is fused, the output of the question, the mean of the grid, and for stacked the
    attention weights (T + 2, L) and what each next word is predicted from (T, E)."""
    p = {name: value.detach().double().numpy() for name, value in model.state_dict().items()}
    fusion = model.spec.options.fusion

    def linear(name, x):
        return p[f"{name}.weight"] @ x + p.get(f"{name}.bias", 0)

    with torch.no_grad():
        grids = model.encoder(questions["image"]).double().numpy()
    for row, grid in enumerate(grids):
        h, words, outputs = np.zeros(8), [], []
        for word in questions["question"][row, : int(questions["question_lengths"][row])]:
            h = ORACLES["rnn"](weights(model.recurrent.cells[0]), p["embedding.weight"][word], h)["h"]
            words.append(p["embedding.weight"][word])
            outputs.append(h)
        second = weights(model.fusion.recurrent.cells[0]) if fusion == "stacked" else {}
        found = {"concatenated": concatenated, "product": product, "stacked": stacked}[fusion](
            second, linear, grid, words, outputs
        )
        fused, alphas, next_words = found if fusion == "stacked" else (found, None, None)
        yield fused, h, grid.mean(0), alphas, next_words


@fusions
def test_logits_and_attention_equal_the_equations_of_the_papers(fusion):
    model, questions = make(fusion), batch()
    p = {name: value.detach().double().numpy() for name, value in model.state_dict().items()}

    def head(name, x):
        hidden = np.maximum(0, p[f"{name}.0.weight"] @ x + p[f"{name}.0.bias"])
        return p[f"{name}.2.weight"] @ hidden + p[f"{name}.2.bias"]

    with torch.no_grad(), record() as recorded:
        logits, next_words, attention = model.logits(questions)
    for row, (fused, question, image, alphas, ahead) in enumerate(by_the_papers(model, questions)):
        length = int(questions["question_lengths"][row])
        if fusion == "stacked":
            assert_allclose(next_words[row, :length], ahead, atol=1e-5)
            for found in (recorded["attention"][row], attention[row]):
                assert_allclose(found[[*range(length), -2, -1]], alphas, atol=1e-5)
                assert not found[length:-2].any()
        assert_allclose(logits["both"][row], head("head", fused), atol=1e-4)
        assert_allclose(logits["question"][row], head("alone.question", question), atol=1e-4)
        assert_allclose(logits["image"][row], head("alone.image", image), atol=1e-4)
    if fusion != "stacked":
        assert attention is next_words is None


@fusions
def test_answers_carry_the_attention_of_their_own_question(fusion):
    model, questions = make(fusion), batch()
    with torch.no_grad():
        answers, logits = Vqa().answer(model, questions), model.logits(questions)[0]
    for row, (answer, (_, _, _, alphas, _)) in enumerate(zip(answers, by_the_papers(model, questions), strict=True)):
        probabilities = logits["both"][row].softmax(-1).tolist()
        assert answer.row == row
        assert answer["probabilities"] == pytest.approx(dict(zip("abcd", probabilities, strict=True)))
        assert answer["answer"] == "abcd"[int(np.argmax(probabilities))]
        assert answer["probability"] == pytest.approx(max(probabilities))
        assert answer["question_only"] == "abcd"[int(logits["question"][row].argmax())]
        assert answer["image_only"] == "abcd"[int(logits["image"][row].argmax())]
        if fusion != "stacked":
            assert answer.attention is None
            continue
        assert_allclose(answer.attention.weights, alphas, atol=1e-5)
        tokens = questions["question"][row, : int(questions["question_lengths"][row])].tolist()
        assert answer.attention.queries[:-2] == tuple(model.spec.tokenizer.vocabulary[token] for token in tokens)
        assert len(answer.attention.queries) == len(tokens) + 2


@fusions
def test_answers_are_in_the_order_of_the_rows_and_attend_to_their_own_image(fusion):
    """Although the rows of one image are batched together."""
    scenes = [SceneImage(f"scene: small red circle {x},40") for x in (12, 30, 50)]
    images, texts = [scenes[row * 5 % 3] for row in range(9)], ["a", "b c", "a d e", "c"] * 2 + ["f"]
    model, rows = make(fusion), specs.rows(image=images, question=texts)
    together = list(Vqa().predict(model, rows, print))
    assert [answer.row for answer in together] == list(range(9))
    for row, answer in enumerate(together):
        [alone] = Vqa().predict(model, rows.take([row]), print)
        assert answer["probabilities"] == pytest.approx(alone["probabilities"], abs=1e-5)
        if fusion == "stacked":
            assert answer.attention.keys == images[row]
            assert_allclose(answer.attention.weights, alone.attention.weights, atol=1e-5)


@fusions
def test_the_gradient_is_correct(fusion):
    torch.manual_seed(0)
    module = FUSIONS[fusion](5, 2, 3, lambda size: Recurrent(size, 3, "rnn", backend="loop")).double()
    sizes, lengths = ((2, 6, 5), (2, 4, 2), (2, 4, 3), (2, 3)), torch.tensor([4, 2])
    given = [torch.randn(size).double().requires_grad_() for size in sizes]
    inputs = [*given, *module.parameters()]

    def fused(grid, words, outputs, question, *_):
        return tuple(each for each in module(grid, words, outputs, lengths, question) if each is not None)

    assert gradcheck(fused, inputs, fast_mode=fusion == "stacked")


# the loss


@fusions
def test_padding_changes_neither_loss_nor_gradient(fusion):
    model, questions = make(fusion).double(), batch()
    model.encoder.float().register_forward_hook(lambda module, pixels, grid: grid.double())
    padding = torch.arange(questions["question"].shape[1]) >= questions["question_lengths"][:, None]
    other = questions | {
        "question": torch.cat((questions["question"].masked_fill(padding, 6), torch.full((4, 3), 6)), 1)
    }
    losses = [model.loss(each).mean for each in (questions, other)]
    assert_close(*losses, rtol=0, atol=1e-6)
    gradients = [torch.autograd.grad(loss, list(model.parameters())) for loss in losses]
    assert_close(*map(list, gradients), rtol=1e-4, atol=1e-6)


@fusions
def test_what_one_input_predicts_alone_does_not_train_the_model(fusion):
    model, questions = make(fusion).train(), batch()
    shared = [weight for name, weight in model.named_parameters() if not name.startswith("alone")]
    ours = torch.autograd.grad(model.loss(questions).mean, shared)
    plain = torch.autograd.grad(F.cross_entropy(model.logits(questions)[0]["both"], questions["target"]), shared,
                                materialize_grads=True)  # fmt: skip
    assert_close(list(ours), list(plain), rtol=1e-4, atol=1e-7)
    alone = torch.autograd.grad(model.loss(questions).mean, list(model.alone.parameters()))
    assert all(gradient.abs().max() > 0 for gradient in alone)


def test_the_next_word_of_a_question_counts_in_the_loss_and_not_in_the_sums():
    without, questions = make().train(), batch()
    next_words, words = without.logits(questions)[1].detach(), without.embedding.weight.detach()
    log_probabilities, found = (next_words @ words.T).log_softmax(-1), []
    for row, length in enumerate(questions["question_lengths"].tolist()):
        found += [-float(log_probabilities[row, t, questions["question"][row, t + 1]]) for t in range(length - 1)]
    assert len(found) == 6
    loss, plain = make(next_word=0.7).train().loss(questions), without.loss(questions)
    assert float((loss.mean - plain.mean).detach()) == pytest.approx(0.7 * sum(found) / 6, rel=1e-4)
    assert loss.sums == plain.sums
    one = {name: value[:, :1] if name == "question" else value for name, value in questions.items()}
    one["question_lengths"] = torch.ones(4, dtype=torch.int64)  # there is no next word
    assert_close(make(next_word=0.7).train().loss(one).mean, without.loss(one).mean)


def test_answers_that_cannot_be_predicted_do_not_count_in_the_loss():
    model, questions = make(), batch()
    some = questions | {"target": torch.tensor([2, IGNORED, 0, IGNORED])}
    log_probabilities = model.logits(questions)[0]["both"].log_softmax(-1)
    loss = model.loss(some)
    nats = -float((log_probabilities[0, 2] + log_probabilities[2, 0]).detach())
    assert float(loss.sums["loss"].detach()) == pytest.approx(nats, rel=1e-5)
    assert int(loss.count) == 2
    correct = sum(int(log_probabilities[row].argmax() == target) for row, target in ((0, 2), (2, 0)))
    assert int(loss.sums["correct"]) == correct
    few = {name: value if name == "image" else value[[0, 2]] for name, value in some.items()}
    assert_close(model.loss(few).mean, loss.mean)


def test_a_batch_without_an_answer_that_can_be_predicted_changes_nothing():
    model, questions = make(), batch() | {"target": torch.full((4,), IGNORED)}
    loss = model.loss(questions)
    loss.mean.backward()
    assert float(loss.mean.detach()) == float(loss.sums["loss"].detach()) == int(loss.count) == 0
    assert all(not weight.grad.any() for weight in model.parameters())


# what is learned from the data


def table(*entries):
    image, question, answer, kind = map(list, zip(*entries, strict=True))
    return specs.rows(image=image, question=question, answer=answer, kind=kind)


P = SceneImage("scene: small red circle 12,40")
TRAINED = table(*[(P, "is it?", "yes", "is"), (P, "is it?", "no", "is"), (P, "is it?", "no", "is"),
                  (P, "how many?", "2", "count"), (P, "how many?", "2", "count"), (P, "how?", "so", "how"),
                  (P, "how many?", "2", "count"), (P, "how many?", "2", "count")])  # fmt: skip


def specify(**options):
    return Vqa().specify({"train": TRAINED}, {"options": VqaOptions(**options), "columns": {}}, None)


def test_the_most_frequent_answers_can_be_predicted():
    spec, lines = specify(answers=2), []
    assert spec.answers.labels == ("2", "no")
    assert spec.priors == {"": "2", "is": "no", "count": "2", "how": "so"}
    assert spec.example == "is it?"
    target = Vqa().encode_targets(TRAINED, spec, lines.append)["target"]
    assert target.tolist() == [IGNORED, 1, 1, 0, 0, IGNORED, 0, 0]
    assert lines == ["2 of 8 answers are not among the 2 most frequent: they are not trained on, and count as wrong"]
    assert Vqa().encode_targets(TRAINED, specify(), lines.append)["target"].min() == 0
    assert len(lines) == 1


@pytest.mark.parametrize("tokens", ["word", "char", "byte", "bpe"])
def test_questions_are_lowercased_where_their_tokens_can_be(tokens):
    """By default."""
    spec = specify(tokens=tokens, **({"vocab_size": 260} if tokens == "bpe" else {}))
    upper, lower = (spec.tokenizer.encode(text, "replace") for text in ("IS IT?", "is it?"))
    assert (upper == lower) == (tokens != "byte")


METRICS = ("answer", "question_only", "image_only")


def test_metrics_by_hand():
    """Of two kinds; `so` cannot be predicted, so it counts as wrong whatever is predicted."""
    rows = table(("p", "is it?", "no", "is"), ("q", "is it?", "yes", "is"), ("p", "how many?", "2", "count"),
                 ("q", "how many?", "so", "count"))  # fmt: skip
    spec = replace(specs.vqa(), priors={"": "2", "is": "no", "count": "2"})
    predicted = [("no", "no", "2"), ("no", "yes", "2"), ("2", "2", "2"), ("2", "no", "no")]
    answers = {row: specs.answer(row, **dict(zip(METRICS, each, strict=True))) for row, each in enumerate(predicted)}
    metrics = Vqa().metrics(rows, answers, spec)
    by_kind = metrics.pop("by_kind")
    assert metrics == {"accuracy": 0.5, "question_only": 0.75, "image_only": 0.25, "prior": 0.25}
    assert by_kind == {
        "is": {"accuracy": 0.5, "question_only": 1.0, "image_only": 0.0, "prior": 0.5},
        "count": {"accuracy": 0.5, "question_only": 0.5, "image_only": 0.5, "prior": 0.5},
    }
    del answers[0], answers[1]  # those that were not measured
    assert Vqa().metrics(rows, answers, spec)["accuracy"] == 0.5


def test_the_metrics_of_each_pair_are_given_by_kind():
    rows = table(("p", "is it?", "no", "is"), ("q", "is it?", "yes", "is"), ("p", "how many?", "2", "count"),
                 ("q", "how many?", "3", "count"))  # fmt: skip
    rows = replace(rows, columns=rows.columns | {"pair": ["known", "new", "known", "new"]})
    answers = {
        row: specs.answer(row, **dict.fromkeys(METRICS, each)) for row, each in enumerate(("no", "no", "2", "3"))
    }
    spec = replace(specs.vqa(), priors={"": "2", "is": "yes", "count": "3"})
    metrics = Vqa().metrics(rows, answers, spec)
    pairs = {pair: {kind: (each["accuracy"], each["prior"]) for kind, each in of["by_kind"].items()}
             for pair, of in metrics["by_pair"].items()}  # fmt: skip
    assert pairs == {"known": {"is": (1.0, 0.0), "count": (1.0, 0.0)}, "new": {"is": (0.0, 1.0), "count": (1.0, 1.0)}}
    assert {pair: of["accuracy"] for pair, of in metrics["by_pair"].items()} == {"known": 1.0, "new": 0.5}
