"""Batches of rows: every row once an epoch, in a different order, padded to the longest of its batch."""

from itertools import groupby

import hypothesis.strategies as st
import numpy as np
import pytest
import torch
from hypothesis import given, settings

from elman.data.image import to_pixels
from elman.data.pixels import Pixels
from elman.data.rows import POOL, Ragged, Rows, padded
from elman.data.scenes.image import SceneImage
from elman.data.table import Table

some = settings(deadline=None, derandomize=True, database=None, max_examples=50)
lengths = st.lists(st.integers(0, 9), min_size=1, max_size=40)
batches = st.integers(1, 12)


def source(sizes, rows, seed=0, pad=0):
    """Row n holds the numbers 1000 n, 1000 n + 1, ... and has the target -n."""
    values = [1000 * number + np.arange(size) for number, size in enumerate(sizes)]
    fields = {"x": Ragged(values, pad), "target": -np.arange(len(sizes))}
    table = Table("t.csv", {"text": list(map(str, sizes))}, list(range(1, len(sizes) + 1)))
    return Rows(table, fields, rows, "x", seed)


def epoch(rows, number):
    return [rows.batch(number, index) for index in range(len(rows))]


def order(rows, number):
    return torch.cat([batch["row"] for batch in epoch(rows, number)]).tolist()


@some
@given(lengths, batches, st.integers(0, 3), st.integers(0, 5))
def test_every_row_comes_once_an_epoch_with_its_own_values(sizes, rows, seed, number):
    found = epoch(source(sizes, rows, seed, pad=-7), number)
    assert len(found) == -(-len(sizes) // rows)
    assert sorted(len(batch["row"]) for batch in found)[1:] == [rows] * (len(found) - 1)
    seen = []
    for batch in found:
        longest = max(1, max(sizes[row] for row in batch["row"]))
        assert batch["x"].shape == (len(batch["row"]), longest)
        for row, x, length, target in zip(*(batch[name] for name in ("row", "x", "x_lengths", "target")), strict=True):
            size = sizes[row]
            assert (length, target) == (size, -row)
            assert x.tolist() == [1000 * int(row) + step for step in range(size)] + [-7] * (longest - size)
            seen.append(int(row))
    assert sorted(seen) == list(range(len(sizes)))


@some
@given(lengths, batches, st.integers(0, 3), st.permutations(range(4)))
def test_the_order_depends_on_seed_and_epoch_only(sizes, rows, seed, numbers):
    again = source(sizes, rows, seed)
    found = {number: order(again, number) for number in numbers}  # whichever epoch is asked for first
    assert found == {number: order(source(sizes, rows, seed), number) for number in range(4)}


def test_another_epoch_and_another_seed_have_another_order():
    sizes = np.random.default_rng(0).integers(1, 30, 300).tolist()
    orders = [order(source(sizes, 8, seed), number) for seed in range(3) for number in range(3)]
    assert len({tuple(each) for each in orders}) == 9
    together = [{frozenset(batch["row"].tolist()) for batch in epoch(source(sizes, 8), number)} for number in range(2)]
    assert len(together[0] & together[1]) < 5  # other rows stand side by side, too


def test_rows_of_one_batch_are_of_like_length_and_short_batches_do_not_come_first():
    sizes = np.random.default_rng(1).permutation(400).tolist()
    rows = source(sizes, 8)
    assert len(sizes) <= POOL * 8  # all in one pool: sorted, a batch spans 8 lengths
    found = [batch["x_lengths"].numpy() for batch in epoch(rows, 0)]
    assert all(np.ptp(each) == 7 for each in found)
    means = [each.mean() for each in found]
    assert 0.3 < np.mean(np.diff(means) > 0) < 0.7


@pytest.mark.parametrize("number", range(5))
def test_any_few_batches_in_a_row_have_short_and_long_rows_in_their_share(number):
    means = [batch["x_lengths"].double().mean() for batch in epoch(source(list(range(400)), 8), number)]
    few = np.convolve(means, np.ones(5) / 5, "valid")
    assert np.abs(few - 199.5).max() < 60, "five that are drawn are beyond that once in ten times"


@pytest.mark.parametrize("names", [["target", "x"], ["x", "target"]])
def test_rows_of_one_length_are_sorted_by_their_other_lengths(names):
    draw = np.random.default_rng(2)
    sizes = {"x": draw.permutation(np.repeat([3, 20], 20)), "target": draw.permutation(40)}
    fields = {name: Ragged([np.zeros(size, int) for size in sizes[name]]) for name in names}
    rows = Rows(Table("t.csv", {"text": ["x"] * 40}, list(range(40))), fields, 4, "x")
    for batch in epoch(rows, 0):
        assert np.ptp(batch["x_lengths"].numpy()) == 0
    found = {size: np.sort(sizes["target"][sizes["x"] == size]).reshape(-1, 4) for size in (3, 20)}
    together = {tuple(sorted(batch["target_lengths"].tolist())) for batch in epoch(rows, 0)}
    assert together == {tuple(each) for rows_ in found.values() for each in rows_.tolist()}


def test_of_many_rows_only_a_pool_is_sorted():
    sizes = list(range(POOL * 2 * 4))
    first = [sorted(each["row"].tolist()) for each in epoch(source(sizes, 2), 0)]
    assert any(np.diff(each)[0] > 1 for each in first), "were all of them sorted, an epoch would always pair the same"


@some
@given(st.lists(st.integers(0, 5), min_size=1, max_size=6), st.integers(1, 3))
def test_arrays_are_padded_step_by_step(sizes, features):
    draw = np.random.default_rng(0)
    values = [draw.normal(size=(size, features)).astype(np.float32) for size in sizes]
    found, length = padded(values)
    assert found.dtype == torch.float32
    assert length.tolist() == sizes
    for row, value in zip(found.numpy(), values, strict=True):
        assert np.array_equal(row[: len(value)], value)
        assert not row[len(value) :].any()
    assert found.shape == (len(sizes), max(1, *sizes), features)


def test_a_source_describes_its_sizes_and_one_without_rows_has_no_batch():
    assert str(source([1] * 5, 2)) == "5 rows, 3 batches of 2 an epoch"
    assert str(source([1] * 5, 9)) == "5 rows, 1 batches of 5 an epoch"
    empty = Rows(Table("t", {"text": []}, []), {"x": Ragged([])}, 4, "x")
    assert len(empty) == 0


@pytest.mark.parametrize("chosen", [[2, 0], [1]])
def test_rows_can_be_taken_by_their_numbers(chosen):
    batch = source([3, 1, 2], 2).take(np.array(chosen))
    assert batch["row"].tolist() == chosen
    assert batch["x_lengths"].tolist() == [[3, 1, 2][row] for row in chosen]


def of_images(numbers, rows, by="image"):
    """Row n has the scene of its number, so some have the same."""
    scenes = [f"scene: small red circle 12,{10 + number}; large blue star 40,20" for number in numbers]
    images = Pixels(list(map(SceneImage, scenes)), 32, print)
    table = Table("t.csv", {"image": scenes}, list(range(1, len(scenes) + 1)))
    fields = {"image": images, "said": Ragged([np.arange(number) for number in numbers])}
    return Rows(table, fields, rows, by), scenes


@some
@given(st.lists(st.integers(0, 5), min_size=1, max_size=30), batches)
def test_an_image_is_in_a_batch_once_and_its_rows_are_consecutive(numbers, rows):
    source, scenes = of_images(numbers, rows)
    pairs = 0
    for found in epoch(source, 0):
        assert len(found["image"]) == len(found["image_of"].unique())
        for row, place in zip(found["row"].tolist(), found["image_of"].tolist(), strict=True):
            assert np.array_equal(found["image"][place], to_pixels(SceneImage(scenes[row]).image(), 32))
        pairs += len(found["image"])
    assert pairs < len(set(scenes)) + len(source), "an image is in two batches only where one ends and the next begins"
    assert sorted(order(source, 1)) == list(range(len(numbers)))
    assert len(numbers) < 10 or order(source, 0) != order(source, 1)


def test_rows_of_an_image_are_not_consecutive_where_another_field_decides():
    numbers = [number % 10 for number in range(200)]
    for by in ("said", None, "target"):  # the last is not there when a model is asked
        source, scenes = of_images(numbers, 4, by)
        names = [scenes[row] for row in order(source, 0)]
        if by == "said":
            assert all(len(each["said_lengths"].unique()) == 1 for each in epoch(source, 0))
        else:
            assert len([name for name, _ in groupby(names)]) > 100


def numbers_of(batch, name, row):
    """The values of a row of a ragged field."""
    return batch[name][row][: batch[f"{name}_lengths"][row]].tolist()


@some
@given(lengths, batches, st.integers(1, 5), st.integers(0, 2))
def test_the_shards_of_a_batch_are_its_rows(sizes, rows, world, number):
    whole = source(sizes, rows)
    shards = [whole.shard(rank, world) for rank in range(world)]
    assert {len(shard) for shard in shards} == {len(whole)}
    for index in range(len(whole)):
        batch, parts = whole.batch(number, index), [shard.batch(number, index) for shard in shards]
        assert torch.equal(torch.cat([part["row"] for part in parts]), batch["row"])
        assert torch.equal(torch.cat([part["target"] for part in parts]), batch["target"])
        assert torch.equal(torch.cat([part["x_lengths"] for part in parts]), batch["x_lengths"])
        found = [numbers_of(part, "x", row) for part in parts for row in range(len(part["row"]))]
        assert found == [numbers_of(batch, "x", row) for row in range(len(batch["row"]))]
        assert {part["x"].dtype for part in parts} == {batch["x"].dtype}
        counts = [len(part["row"]) for part in parts]
        assert max(counts) - min(counts) <= 1


@pytest.mark.parametrize("world", [1, 2, 3, 7])
def test_the_shards_of_a_batch_have_the_images_of_its_rows(world):
    whole, scenes = of_images([0, 1, 1, 2, 2, 2], 4)
    for index in range(len(whole)):
        rows = []
        for rank in range(world):
            part = whole.shard(rank, world).batch(0, index)
            assert part["image"].shape[1:] == (3, 32, 32)
            for row, image in zip(part["row"].tolist(), part["image_of"].tolist(), strict=True):
                assert np.array_equal(part["image"][image], to_pixels(SceneImage(scenes[row]).image(), 32))
                rows.append(row)
        assert rows == whole.batch(0, index)["row"].tolist()


def test_a_source_names_its_content():
    assert source([1], 1).key == ""
    assert Rows(Table("t", {"text": ["x"]}, [1]), {}, 1, None, key="a" * 32).key == "a" * 32
