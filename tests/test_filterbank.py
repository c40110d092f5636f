"""The window of DRAW against the equations of the paper in NumPy: one filter, one pixel at a time, counted from 1."""

import hypothesis.strategies as st
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from torch.autograd import gradcheck

from elman.nets.filterbank import GaussianFilterbank

some = settings(deadline=None, derandomize=True, database=None, max_examples=40)
HEIGHT, WIDTH, SIZE = 6, 9, 4


def paper(parameters, size, height, width):
    """F_X (N, A), F_Y (N, B) and gamma by equations 19 to 26; A is the width, B the height, i and a from 1."""
    g_x, g_y, log_variance, log_delta, log_gamma = map(float, parameters)
    centre_x, centre_y = (width + 1) / 2 * (g_x + 1), (height + 1) / 2 * (g_y + 1)
    delta = (max(width, height) - 1) / (size - 1) * np.exp(log_delta)
    filters = []
    for centre, pixels in ((centre_x, width), (centre_y, height)):
        bank = np.zeros((size, pixels))
        for i in range(1, size + 1):
            mean = centre + (i - size / 2 - 0.5) * delta
            for a in range(1, pixels + 1):
                bank[i - 1, a - 1] = np.exp(-((a - mean) ** 2) / (2 * np.exp(log_variance)))
            bank[i - 1] /= bank[i - 1].sum()
        filters.append(bank)
    return *filters, np.exp(log_gamma)


@pytest.fixture
def bank():
    return GaussianFilterbank(3, SIZE, HEIGHT, WIDTH).double()


@pytest.fixture
def parameters():
    generator = torch.Generator().manual_seed(1)
    return 0.7 * torch.randn(3, 5, generator=generator, dtype=torch.float64)


def test_filters_read_and_write_as_in_the_paper(bank, parameters):
    torch.manual_seed(0)
    image, patch = torch.rand(3, 2, HEIGHT, WIDTH).double(), torch.rand(3, 2, SIZE, SIZE).double()
    window = bank.window(parameters)
    read, written = window.read(image), window.write(patch)
    for row in range(3):
        f_x, f_y, gamma = paper(parameters[row], SIZE, HEIGHT, WIDTH)
        np.testing.assert_allclose(window.x[row], f_x, atol=1e-12)
        np.testing.assert_allclose(window.y[row], f_y, atol=1e-12)
        for channel in range(2):
            np.testing.assert_allclose(read[row, channel], gamma * f_y @ image[row, channel].numpy() @ f_x.T)
            np.testing.assert_allclose(written[row, channel], f_y.T @ patch[row, channel].numpy() @ f_x / gamma)


def test_the_parameters_are_a_linear_function_of_the_output(bank):
    output = torch.randn(3, 3, dtype=torch.float64)
    by_hand = output @ bank.of_output.weight.T + bank.of_output.bias
    torch.testing.assert_close(bank(output).x, bank.window(by_hand).x)


def test_centre_stride_and_deviation_are_those_of_the_filters(bank):
    window = bank.window(torch.tensor([[0.0, 0.2, np.log(0.1), np.log(0.5), 0.0]], dtype=torch.float64))
    positions = window.x[0] @ torch.arange(WIDTH, dtype=torch.float64)
    assert float(positions.mean()) == pytest.approx(float(window.centre[0, 0]), abs=1e-2)
    assert float(window.stride) == pytest.approx(8 / 3 / 2)
    assert float(window.centre[0, 1]) == pytest.approx(7 / 2 * 1.2 - 1)
    assert float(window.deviation) == pytest.approx(0.1**0.5)


@pytest.mark.parametrize("size", [1, 2, 7, 8])
def test_a_window_of_full_width_and_unit_stride_reads_and_writes_the_image_itself(size):
    bank = GaussianFilterbank(2, size, size, size)
    window = bank.window(torch.tensor([[0.0, 0.0, -20.0, 0.0, 0.0]]))
    image = torch.rand(1, 3, size, size)
    torch.testing.assert_close(window.read(image), image)
    torch.testing.assert_close(window.write(image), image)
    assert window.stride.tolist() == [float(size > 1)]


@some
@given(st.lists(st.floats(-1e4, 1e4, width=32), min_size=5, max_size=5), st.integers(1, 6))
def test_every_filter_sums_to_one_however_far_outside_it_is(parameters, size):
    given_ = torch.tensor([parameters]).requires_grad_()
    window = GaussianFilterbank(2, size, 5, 8).window(given_)
    for filters in (window.x, window.y):
        torch.testing.assert_close(filters.sum(-1), torch.ones(1, size))
    window.read(torch.rand(1, 1, 5, 8)).sum().backward()
    assert given_.grad is not None
    assert torch.isfinite(given_.grad).all()


def test_gradients_of_reading_and_writing(bank, parameters):
    image, patch = torch.rand(3, 1, HEIGHT, WIDTH).double(), torch.rand(3, 1, SIZE, SIZE).double()
    inputs = [value.requires_grad_() for value in (parameters, image, patch)]

    def both(parameters, image, patch):
        window = bank.window(parameters)
        return window.read(image), window.write(patch)

    assert gradcheck(both, inputs)


def test_bfloat16_outputs_do_not_move_the_window(bank):
    bank = bank.float()
    output = torch.randn(3, 3)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(bank(output).x, bank(output).x.float())
    torch.testing.assert_close(bank(output).centre, bank(output.bfloat16()).centre, atol=0.1, rtol=0.1)
    with torch.autocast("cpu", torch.bfloat16):
        narrow = bank(output).centre
    torch.testing.assert_close(narrow, bank(output).centre)
