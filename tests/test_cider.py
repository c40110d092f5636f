"""CIDEr-D against its definition, written with matrices (Vedantam et al. 2015, section 5; sigma 6, n from 1 to 4)."""

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings
from pycocoevalcap.cider.cider import Cider as Reference

from elman.metrics.cider import Cider

some = settings(deadline=None, derandomize=True, database=None, max_examples=60)
texts = st.lists(st.sampled_from("abcde"), min_size=1, max_size=8).map(" ".join)
images = st.lists(st.lists(texts, min_size=1, max_size=4), min_size=1, max_size=5)


def grams(text, n):
    words = text.split()
    return [" ".join(words[at : at + n]) for at in range(len(words) - n + 1)]


def cider_d(known, number, caption):
    """As coco-caption's cider_scorer: counts that are not divided by length, the logarithm of the share of images
    with an n-gram, the smaller of two weights, a Gaussian of the difference of the numbers of words."""
    scores = np.zeros((4, len(known[number])))
    for n in range(1, 5):
        columns = sorted({gram for text in [caption, *sum(known, [])] for gram in grams(text, n)})
        if not columns:
            continue

        def counts(text, n=n, columns=columns):
            return np.array([grams(text, n).count(gram) for gram in columns], float)

        frequency = sum(np.any([counts(text) > 0 for text in references], axis=0).astype(int) for references in known)
        rare = np.log(len(known)) - np.log(np.maximum(frequency, 1))
        ours = counts(caption) * rare
        for column, text in enumerate(known[number]):
            theirs = counts(text) * rare
            size = np.linalg.norm(ours) * np.linalg.norm(theirs)
            far = len(caption.split()) - len(text.split())
            if size:
                scores[n - 1, column] = np.minimum(ours, theirs) @ theirs / size * np.exp(-(far**2) / (2 * 6**2))
    return 10 * scores.mean()


def scorer(known):
    return Cider({str(number): references for number, references in enumerate(known)})


@some
@given(images, texts, st.data())
def test_it_is_the_score_of_its_definition(known, caption, data):
    number = data.draw(st.integers(0, len(known) - 1))
    found = scorer(known).score(str(number), caption)
    assert found == pytest.approx(cider_d(known, number, caption), abs=1e-9)
    assert 0 <= found <= 10 + 1e-9


@some
@given(images, texts, st.data())
def test_it_is_the_score_of_pycocoevalcap(known, caption, data):
    index = data.draw(st.integers(0, len(known) - 1))
    references = dict(enumerate(known))
    predictions = {each: [caption if each == index else "z"] for each in references}
    _, scores = Reference().compute_score(references, predictions)
    assert scorer(known).score(str(index), caption) == pytest.approx(scores[index], abs=1e-6)


@some
@given(st.lists(st.sampled_from("vwxyz"), min_size=4, max_size=9), images)
def test_a_caption_that_is_its_image_s_only_reference_has_the_highest_score(words, others):
    """Whose words occur with no other image."""
    text = " ".join(words)
    assert scorer([[text], *others]).score("0", text) == pytest.approx(10)


@some
@given(images)
def test_without_a_word_in_common_it_is_0(known):
    assert scorer(known).score("0", "v w x y z") == 0
    assert scorer(known).score("0", "") == 0


@some
@given(images, texts, st.randoms())
def test_the_order_of_references_and_of_images_does_not_matter(known, caption, random):
    score = scorer(known).score("0", caption)
    turned = [random.sample(references, len(references)) for references in known]
    assert scorer(turned).score("0", caption) == pytest.approx(score)
    names = {str(number): references for number, references in enumerate(known)}
    assert Cider(dict(reversed(names.items()))).score("0", caption) == pytest.approx(score)


def test_what_occurs_with_every_image_does_not_count():
    known = [["a photo of a cat"], ["a photo of a dog"], ["a photo of a bird"]]
    assert scorer(known).score("0", "a photo of a") == 0
    assert scorer(known).score("0", "cat") > 0


def test_a_repeated_word_does_not_count_again():
    known = [["red cat here now"], ["blue dog there then"]]
    once, often = (scorer(known).score("0", text) for text in ("cat", "cat cat cat"))
    assert often < once  # the same is common, and there is more that is not


def test_capitals_and_marks_do_not_matter():
    known = [["A man's red hat, on a table."], ["two dogs"]]
    assert scorer(known).score("0", "a man's red hat on a TABLE") == pytest.approx(10)
