"""Translation: encoder, attention and decoder equal the equations of the papers, and no step depends on its target."""

import math

import numpy as np
import pytest
import sacrebleu
import torch
from numpy.testing import assert_allclose
from torch.testing import assert_close

import specs
from elman.data.rows import padded
from elman.data.windows import IGNORED
from elman.decode.sampling import Sampling
from elman.decode.search import Search
from elman.tasks.conditional_generation import shifted
from elman.tasks.loss import Context
from elman.tasks.translate import Translate, TranslateOptions
from oracles import ORACLES, weights

ATTENTIONS = ("general", "dot", "scaled", "none", "additive")
VARIANTS = [*((attention, False) for attention in ATTENTIONS), ("general", True), ("dot", True)]
variants = pytest.mark.parametrize(("attention", "feeding"), VARIANTS)
SOURCES, TARGETS = 7, 5  # tokens; of the targets token 5 starts and ends a text
END = TARGETS


def make(attention="general", feeding=False, seed=1, **options):
    """A translator with large random weights."""
    spec = specs.translate(SOURCES, TARGETS, attention=attention, input_feeding=feeding, max_length=40, **options)
    return specs.randomize(specs.build("translate", spec, seed), 0.8, 0.2)


def batch(batch_size=4, seed=0):
    """Rows of different lengths; each target has its end."""
    rng = np.random.default_rng(seed)
    sources = [rng.integers(0, SOURCES, size) for size in rng.permutation(batch_size) + 1]
    targets = [np.append(rng.integers(0, TARGETS, size), END) for size in rng.permutation(batch_size)]
    source, lengths = padded(sources)
    return {"source": source, "source_lengths": lengths, "target": padded(targets, IGNORED)[0],
            "row": torch.arange(batch_size)}  # fmt: skip


def one(source):
    """A batch of one source (S,)."""
    return {"source": torch.as_tensor(source)[None], "source_lengths": torch.tensor([len(source)]),
            "row": torch.arange(1)}  # fmt: skip


def inputs(target):
    """The input tokens of the decoder for targets."""
    return torch.cat((torch.full_like(target[:, :1], END), target[:, :-1].clamp(min=0)), 1)


def predict(model, texts, log=print, **decoding):
    return list(Translate().predict(model, specs.rows(source=texts), log, **decoding))


# the equations


def by_the_papers(model, source, tokens):
    """One source (S,) and the input tokens (T,): logits (T, V) and attention weights (T, S), of a model with two layers
    of Elman's cell. Bahdanau 2015: the state before the step is the query, and the context enters the step. Luong 2015:
    the state after the step is the query, h~ = tanh(W [h; c]), and h~ may be fed to the next step."""
    p = {name: value.detach().double().numpy() for name, value in model.state_dict().items()}

    def linear(name, x):
        return p[f"{name}.weight"] @ x + p.get(f"{name}.bias", 0)

    def run(cell, xs):
        h, out = np.zeros(8), []
        for x in xs:
            h = ORACLES["rnn"](weights(cell), x, h)["h"]
            out.append(h)
        return out

    memory, states = [p["source_embedding.weight"][token] for token in source], []
    for layer in range(2):
        forwards = run(model.encoder.cells[2 * layer], memory)
        backwards = run(model.encoder.cells[2 * layer + 1], memory[::-1])[::-1]
        states.append(np.tanh(linear(f"bridge.{layer}", np.concatenate((forwards[-1], backwards[0])))))
        memory = [np.concatenate(both) for both in zip(forwards, backwards, strict=True)]
    kind, feeding = model.spec.options.attention, model.spec.options.input_feeding
    if kind == "dot":
        memory = [linear("memory", m) for m in memory]
    score = {
        "additive": lambda q, m: (
            p["attention.v.weight"][0] @ np.tanh(linear("attention.W", q) + linear("attention.U", m))
        ),
        "general": lambda q, m: q @ linear("attention.W", m),
        "dot": lambda q, m: q @ m,
        "scaled": lambda q, m: (
            linear("attention.W", q)
            @ linear("attention.U", (m - m.mean()) / np.sqrt(m.var() + 1e-5))
            / math.sqrt(len(linear("attention.W", q)))
        ),
        "none": lambda q, m: 0.0,
    }[kind]

    def attend(query):
        scores = np.array([math.exp(score(query, m)) for m in memory])
        alpha = scores / scores.sum()
        return sum(weight * m for weight, m in zip(alpha, memory, strict=True)), alpha

    logits, alphas, attentional = [], [], np.zeros(6)
    for token in tokens:
        x = p["head.weight"][token]
        context, alpha = attend(states[-1])
        if kind == "additive":
            x = np.concatenate((x, context))
        elif feeding:
            x = np.concatenate((x, attentional))
        for layer, cell in enumerate(model.decoder.cells):
            states[layer] = x = ORACLES["rnn"](weights(cell), x, states[layer])["h"]
        if kind != "additive":
            context, alpha = attend(x)
        attentional = np.tanh(linear("join", x if kind == "none" else np.concatenate((x, context))))
        logits.append(linear("head", attentional))
        alphas.append(alpha)
    return np.array(logits), np.array(alphas)


@variants
def test_logits_equal_the_equations_of_the_papers(attention, feeding):
    model = make(attention, feeding, cell="rnn", layers=2)
    source, tokens = torch.tensor([3, 0, 6, 2]), torch.tensor([END, 1, 4, 0])
    logits, alphas = by_the_papers(model, source.tolist(), tokens.tolist())
    with torch.no_grad():
        hidden, _ = model.decode(tokens[None], model.begin(one(source)), Context())
    assert_allclose(model.head(hidden)[0].detach(), logits, rtol=1e-4, atol=1e-5)
    assert attention == "none" or np.abs(alphas - alphas[0]).max() > 0.05


@variants
@pytest.mark.parametrize("decoding", [
    {"search": Search(max_length=6)},
    {"search": Search(beam=4, n_best=2, max_length=6)},
    {"search": Search(max_length=6), "drawn": True},
    {"search": Search(n_best=2, max_length=6), "drawn": True},
], ids=["greedy", "beams", "sample", "samples"])  # fmt: skip
def test_the_attention_of_an_answer_is_that_of_a_second_pass_over_its_text(attention, feeding, decoding):
    """As the equations of the papers give it for the generated tokens and their end, whatever the rest of the batch."""
    model = make(attention, feeding, cell="rnn", layers=2)
    model.head.bias.data[END] = 2.0
    texts = ["a", "cab", "gfedcba", "fa", "dddd", "bc"]
    ends = set()
    for text, answer in zip(texts, predict(model, texts, **decoding), strict=True):
        if attention == "none":
            assert answer.attention is None
            continue
        ids = ["vwxyz".index(char) for char in answer["translation"]]
        ended = "truncated" not in answer.values
        ends.add(ended)
        source = ["abcdefg".index(char) for char in text]
        _, alphas = by_the_papers(model, source, [END, *ids][: len(ids) + ended])
        assert answer.attention.queries == (*answer["translation"], *[""] * ended)
        assert answer.attention.keys == tuple(text)
        assert answer.attention.weights.shape == (len(ids) + ended, len(text))
        assert_allclose(answer.attention.weights, alphas, rtol=1e-3, atol=1e-4)
        assert_allclose(answer.attention.weights.sum(1), 1, atol=1e-5)
        assert not answer.attention.hard
    assert attention == "none" or True in ends


def test_the_attention_of_a_reversed_source_is_in_the_order_of_its_text():
    model, turned = make(), make(reverse=True)
    [backwards], [forwards] = predict(turned, ["abcd"]), predict(model, ["dcba"])
    assert backwards["translation"] == forwards["translation"]
    assert backwards.attention.keys == tuple("abcd")
    assert_allclose(backwards.attention.weights[:, ::-1], forwards.attention.weights, atol=1e-6)


@pytest.mark.parametrize("attention", ["general", "dot", "none"])
@pytest.mark.parametrize(
    "options", [{}, {"cell": "gru", "layers": 2, "residual": True, "backend": "auto"}, {"bidirectional": False}]
)
def test_a_whole_target_gives_what_single_steps_give(attention, options):
    model, each = make(attention, **options), batch()
    tokens, state = shifted(each["target"], END), model.begin(each)
    assert torch.equal(tokens, inputs(each["target"]))
    with torch.no_grad():
        whole, layer = model.decode(tokens, state, Context())[0], model.decoder.stepper()
        for time, token in enumerate(tokens.unbind(1)):
            hidden, state = model.advance(layer, token, state)
            assert_close(hidden, whole[:, time], rtol=0, atol=1e-5)


# padding


@variants
@pytest.mark.parametrize("bidirectional", [False, True])
def test_padding_changes_neither_loss_nor_gradient(attention, feeding, bidirectional):
    model, each = make(attention, feeding, layers=2, bidirectional=bidirectional), batch()
    other = dict(each)
    padding = torch.arange(each["source"].shape[1]) >= each["source_lengths"][:, None]
    other["source"] = torch.cat((each["source"].masked_fill(padding, 6), torch.full((4, 3), 6)), 1)
    other["target"] = torch.cat((each["target"], torch.full((4, 2), IGNORED)), 1)
    ours, theirs = model.loss(each), model.loss(other)
    assert_close(ours.mean, theirs.mean, rtol=0, atol=1e-6)
    assert int(ours.count) == int(theirs.count) == int((each["target"] >= 0).sum())
    gradients = [torch.autograd.grad(loss.mean, list(model.parameters()), allow_unused=True) for loss in (ours, theirs)]
    assert_close(*map(list, gradients), rtol=1e-4, atol=1e-6)


@variants
@pytest.mark.parametrize("bidirectional", [False, True])
def test_the_answer_to_a_row_does_not_depend_on_the_others(attention, feeding, bidirectional):
    model, search = make(attention, feeding, layers=2, bidirectional=bidirectional), Search(3, 3, max_length=7)
    texts = ["a", "cab", "gfedcba", "fa", "dddd"]
    together = predict(model, texts, search=search)
    for text, ours in zip(texts, together, strict=True):
        [theirs] = predict(model, [text], search=search)
        assert [each["translation"] for each in ours["candidates"]] == [
            each["translation"] for each in theirs["candidates"]
        ]
        assert ours["score"] == pytest.approx(theirs["score"], abs=1e-4)
    assert [answer.row for answer in together] == list(range(5))
    assert len({round(answer["score"], 2) for answer in together}) > 1


# the loss


@variants
def test_the_loss_is_that_of_single_steps_over_the_target_and_its_end(attention, feeding):
    model, each = make(attention, feeding), batch()
    stepper, nats, count = model.stepper(), 0.0, 0
    with torch.no_grad():
        for row in range(4):
            state = stepper.begin(one(each["source"][row, : int(each["source_lengths"][row])]))
            token = END
            for target in [int(token) for token in each["target"][row] if token != IGNORED]:
                logits, state = stepper.step(torch.tensor([token]), state)
                nats -= float(logits[0, target] - logits[0].exp().sum().log())
                token, count = target, count + 1
            assert token == END
    loss = model.loss(each)
    assert loss.state is None
    assert int(loss.count) == count
    assert float(loss.sums["loss"].detach()) == pytest.approx(nats, rel=1e-5)
    assert float(loss.mean.detach()) == pytest.approx(nats / count, rel=1e-5)


def test_label_smoothing_acts_in_training_only_and_is_not_logged():
    model, each = make(label_smoothing=0.3), batch()
    model.head.bias.data[END] = 4.0  # so that the distribution is far from uniform
    with torch.no_grad():
        logits = model.head(model.decode(inputs(each["target"]), model.begin(each), Context())[0])
    mask = each["target"] != IGNORED
    probabilities, target = logits[mask].double().softmax(-1).numpy(), each["target"][mask]
    goal = np.full_like(probabilities, 0.3 / (TARGETS + 1))  # Szegedy 2016: the rest is spread over all
    goal[np.arange(len(target)), target.numpy()] += 0.7
    smooth = -(goal * np.log(probabilities)).sum(1).mean()
    plain = -np.log(probabilities[np.arange(len(target)), target]).mean()
    for training, expected in ((True, smooth), (False, plain)):
        loss = model.train(training).loss(each, None, Context(progress=0.5))
        assert float(loss.mean.detach()) == pytest.approx(expected, rel=1e-5)
        assert float((loss.sums["loss"] / loss.count).detach()) == pytest.approx(plain, rel=1e-5)
    assert abs(smooth - plain) > 0.05


def test_a_tied_embedding_has_the_gradient_of_input_and_of_output():
    model, each = make(), batch()
    (gradient,) = torch.autograd.grad(model.loss(each).mean, [model.head.weight])
    weight, step = model.head.weight.detach().clone(), 1e-2
    numeric = torch.zeros_like(weight)
    for index in np.ndindex(*weight.shape):
        for side in (step, -step):
            model.head.weight.data = weight.clone()
            model.head.weight.data[index] += side
            numeric[index] += model.loss(each).mean.detach() / (2 * side)
    assert_close(gradient, numeric, rtol=0.02, atol=1e-3)


@variants
def test_no_step_depends_on_its_target_or_a_later_one(attention, feeding):
    model, source = make(attention, feeding), one([1, 2, 3])
    target = torch.tensor([[0, 1, 2, 3, END]])
    plain = specs.target_logits(model, source | {"target": target})
    for time in range(5):
        changed = target.clone()
        changed[0, time] = 4
        other = specs.target_logits(model, source | {"target": changed})
        assert_close(other[: time + 1], plain[: time + 1], rtol=0, atol=1e-6)
        assert time == 4 or (other[time + 1] - plain[time + 1]).abs().max() > 1e-3


# scheduled sampling


def inputs_in_training(model, each, progress):
    """The input tokens (B, T) of the decoder while the loss is computed."""
    found, advance = [], model.advance
    model.advance = lambda layer, token, state: found.append(token) or advance(layer, token, state)
    model.train().loss(each, None, Context(progress=progress))
    return torch.stack(found, 1)


@pytest.mark.parametrize(("progress", "fraction"), [(0.5, 0.65), (1.0, 0.3)])
def test_the_fraction_of_true_input_tokens_falls_linearly(progress, fraction):
    model = make(teacher_forcing=0.3)
    model.head.bias.data[4] = 100.0  # it always predicts 4, which no target has
    each = batch() | {"target": torch.randint(0, 4, (4, 500))}
    tokens = inputs_in_training(model, each, progress)
    true = tokens == inputs(each["target"])
    assert true[:, 0].all()
    assert (tokens[~true] == 4).all()
    assert float(true[:, 1:].float().mean()) == pytest.approx(fraction, abs=0.05)  # 4.9 deviations of 1,996 draws


def test_predicted_input_tokens_are_the_most_probable_of_the_step_before():
    model, each = make("additive", teacher_forcing=1e-9), batch() | {"target": torch.randint(0, TARGETS, (4, 6))}
    torch.manual_seed(0)
    predicted = inputs_in_training(model, each, 1.0)
    stepper = model.eval().stepper()
    with torch.no_grad():
        state = stepper.begin(each)
        for time in range(5):
            logits, state = stepper.step(predicted[:, time], state)
            assert predicted[:, time + 1].tolist() == logits.argmax(-1).tolist()


@pytest.mark.parametrize("attention", ["general", "none"])
def test_input_tokens_are_true_at_the_beginning_of_training_and_in_evaluation(attention):
    model, each = make(attention, teacher_forcing=0.3), batch()
    forced = make(attention, teacher_forcing=1.0).train().loss(each, None, Context(progress=1.0)).mean
    assert_close(model.train().loss(each, None, Context(progress=0.0)).mean, forced)
    assert_close(model.eval().loss(each, None, Context(progress=1.0)).mean, forced)
    torch.manual_seed(0)
    assert (model.train().loss(each, None, Context(progress=1.0)).mean - forced).abs() > 1e-3


# what it predicts


def test_reverse_reverses_the_source_and_nothing_else():
    rows, task = specs.rows(source=["abc", "de"], target=["vw", "x"]), Translate()
    turned, plain = (specs.translate(reverse=reverse) for reverse in (True, False))
    ids = [task.encode_inputs(rows, spec, print)["source"].values for spec in (turned, plain)]
    assert [each.tolist() for each in ids[0]] == [[2, 1, 0], [4, 3]] == [each[::-1].tolist() for each in ids[1]]
    targets = [task.encode_targets(rows, spec, print)["target"].values for spec in (turned, plain)]
    assert [[each.tolist() for each in side] for side in targets] == [[[0, 1, 5], [2, 5]]] * 2
    backwards, forwards = predict(make(reverse=True), ["abc", "de"]), predict(make(), ["cba", "ed"])
    assert [answer.values for answer in backwards] == [answer.values for answer in forwards]


@variants
def test_without_beams_each_token_is_the_most_probable(attention, feeding):
    model = make(attention, feeding, seed=3)
    for text in ("abc", "gg", "fedcba"):
        state = model.begin(one(["abcdefg".index(char) for char in text]))
        token, found, score = END, "", 0.0
        layer = model.decoder.stepper()
        with torch.no_grad():
            while len(found) < 9:
                hidden, state = model.advance(layer, torch.tensor([token]), state)
                log_probabilities = model.head(hidden)[0].log_softmax(-1)
                token = int(log_probabilities.argmax())
                score += float(log_probabilities[token])
                if token == END:
                    break
                found += "vwxyz"[token]
        [answer] = predict(model, [text], search=Search(max_length=9))
        assert answer["translation"] == found
        assert answer["score"] == pytest.approx(score / min(9, len(found) + 1), rel=1e-4)
        assert answer.values.get("truncated", False) == (token != END)


def test_truncated_translations_are_marked_and_reported():
    model, lines = make(), []
    model.head.bias.data[END] = -100.0  # never ends
    assert [answer["truncated"] for answer in predict(model, ["a", "abc"], lines.append)] == [True, True]
    [line] = lines
    assert line.startswith("2 of 2 translations were truncated")
    model.head.bias.data[END] = 100.0
    answers = predict(model, ["a", "abc"], lines.append)
    assert [answer["translation"] for answer in answers] == ["", ""]
    assert not any("truncated" in answer.values for answer in answers)
    assert lines == [line]


def test_rows_of_different_batches_are_sampled_with_different_numbers():
    model = make()
    decoding = {"drawn": True, "search": Search(max_length=12, min_length=11), "sampling": Sampling(temperature=3.0)}
    first, again, other = (
        [answer["translation"] for answer in predict(model, ["abcd"] * 128, seed=seed, **decoding)]  # two batches
        for seed in (1, 1, 2)
    )
    assert len(set(first)) > 120
    assert first == again
    assert first != other


def test_metrics_are_those_of_sacrebleu_with_all_references_of_a_source():
    sources = ["eins", "zwei", "eins", "drei", "eins"]
    targets = ["the cat sat on the old mat .", "two dogs run in the park", "a cat sat on a mat .", "he saw it all day",
               "on the mat there sat a cat ."]  # fmt: skip
    outputs = {"eins": "a cat sat on the old mat .", "zwei": "two dogs run in the park", "drei": "he saw it"}
    answers = {row: specs.answer(row, translation=outputs[source]) for row, source in enumerate(sources)}
    metrics = Translate().metrics(specs.rows(source=sources, target=targets), answers, specs.translate())
    streams = [[targets[0], targets[1], targets[3]], [targets[2], None, None], [targets[4], None, None]]
    lines = [outputs["eins"], outputs["zwei"], outputs["drei"]]
    assert metrics["bleu"] == pytest.approx(sacrebleu.corpus_bleu(lines, streams).score)
    assert metrics["chrf"] == pytest.approx(sacrebleu.corpus_chrf(lines, streams).score)
    assert 1 < metrics["bleu"] < 99
    assert metrics["bleu"] > 1 + sacrebleu.corpus_bleu(lines, streams[:1]).score
    assert metrics["exact"] == pytest.approx(1 / 3)
    assert metrics["sources"] == 3
    assert "version" in " ".join(metrics["signatures"])


def test_metrics_compare_each_answer_with_its_own_row(tmp_path, monkeypatch):
    """Whatever the order of the batches; of the first rows where there is a limit."""
    (tmp_path / "t.tsv").write_text("source\ttarget\n" + "".join(f"{'ab' * (n % 9 + 1)}{n}\tx{n}\n" for n in range(30)))
    data = Translate().prepare([str(tmp_path / "t.tsv")], TranslateOptions(hidden=4, batch_size=4, valid="0", test="0"))
    model, table = specs.build("translate", data.spec), data.train.table
    echo = {row: specs.answer(row, translation=target) for row, target in enumerate(table.columns["target"])}
    monkeypatch.setattr(Translate, "answer", lambda self, model, batch: [echo[row] for row in batch["row"].tolist()])
    assert Translate().measure(model, data.train)["exact"] == 1.0
    assert Translate().measure(model, data.train, 10)["sources"] == 10


def test_tokens_are_bpe_where_targets_have_spaces_and_characters_otherwise(tmp_path):
    for targets, kind in ((["v w", "x y"], "bpe"), (["vw", "x"], "char")):
        rows = [f"{source}\t{target}\n" for source, target in zip(("ab", "cd"), targets, strict=True)]
        (tmp_path / "t.tsv").write_text("source\ttarget\n" + "".join(rows))
        spec = Translate().prepare([str(tmp_path / "t.tsv")], TranslateOptions(valid="0", test="0")).spec
        assert (spec.source.kind, spec.target.kind) == (kind, kind)
    assert spec.source.vocabulary == "abcd"
