"""The equations of the papers in plain NumPy: what the cells must compute, in an independent form.

Each oracle is one step of one sequence, vectors and no batch, one line a gate as the paper prints it. It returns every
value that the equation names, the new states among them. Nothing here depends on how a cell computes.

A cell's own weights reach an oracle through `weights`, where each gate has its own:

    W[gate] (H, I)     U[matrix, gate] (H, H)     b[gate] (H,)     p[name] (H,)

H is the size of that gate, matrix or vector where a cell has several.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy import exp, log, maximum, tanh

Values = dict[str, np.ndarray]


def weights(cell: Any) -> dict[str, dict]:
    """The parameters of a cell as NumPy arrays, gate by gate."""

    def rows(gates, parameter, sizes=None):
        array = parameter.detach().numpy()
        sizes = [len(array) // len(gates)] * len(gates) if sizes is None else sizes
        assert len(array) == sum(sizes)
        ends = np.cumsum(sizes)
        return {gate: array[end - size : end] for gate, size, end in zip(gates, sizes, ends, strict=True)}

    products = {}
    for title, matrix in cell.matrices().items():
        name, *gates = title.split("_")
        for gate, block in rows(gates, matrix).items():
            assert (name, gate) not in products, "two matrices for one gate would hide one another"
            products[name, gate] = block
    vectors = {name.removeprefix("p_"): vector.detach().numpy() for name, vector in cell.vectors().items()}
    W = rows(cell.gates, cell.W, cell.gate_sizes) if cell.gates else {}
    b = rows(cell.biased, cell.b, [cell.size_of(gate) for gate in cell.biased]) if cell.biased else {}
    return {"W": W, "b": b, "U": products, "p": vectors}


def sigmoid(v):
    return 1 / (1 + exp(-v))


def layer_norm(v):
    mean = v.sum() / v.size
    variance = ((v - mean) ** 2).sum() / v.size
    return (v - mean) / np.sqrt(variance + 1e-5)


def rnn(weights, x, h, activation="tanh") -> Values:
    """Elman 1990."""
    W, U, b = weights["W"], weights["U"], weights["b"]
    a = W["h"] @ x + U["U", "h"] @ h + b["h"]
    if activation == "tanh":
        return {"h": tanh(a)}
    if activation == "sigmoid":
        return {"h": sigmoid(a)}
    if activation == "relu":
        return {"h": np.where(a > 0, a, 0)}
    assert activation == "linear"
    return {"h": a}


def irnn(weights, x, h, activation="relu") -> Values:
    """Le, Jaitly & Hinton 2015: the vanilla recurrence with rectified linear units."""
    return rnn(weights, x, h, activation)


def lstm(weights, x, h, c) -> Values:
    """Zaremba et al. 2014: without peepholes, the block input is called g."""
    W, U, b = weights["W"], weights["U"], weights["b"]
    i = sigmoid(W["i"] @ x + U["U", "i"] @ h + b["i"])
    f = sigmoid(W["f"] @ x + U["U", "f"] @ h + b["f"])
    o = sigmoid(W["o"] @ x + U["U", "o"] @ h + b["o"])
    g = tanh(W["g"] @ x + U["U", "g"] @ h + b["g"])
    c_new = f * c + i * g
    h_new = o * tanh(c_new)
    return {"i": i, "f": f, "o": o, "g": g, "c": c_new, "h": h_new}


def layer_norm_lstm(weights, x, h, c) -> Values:
    """Ba, Kiros & Hinton 2016, equations 20 to 22, the statistics of each gate by itself. Gains ix (input projection)
    and iu (recurrent projection), bias i; cc and c are gain and bias of the cell state."""
    W, U, b, p = weights["W"], weights["U"], weights["b"], weights["p"]
    i = sigmoid(p["iu"] * layer_norm(U["U", "i"] @ h) + p["ix"] * layer_norm(W["i"] @ x + b["i"]) + p["i"])
    f = sigmoid(p["fu"] * layer_norm(U["U", "f"] @ h) + p["fx"] * layer_norm(W["f"] @ x + b["f"]) + p["f"])
    o = sigmoid(p["ou"] * layer_norm(U["U", "o"] @ h) + p["ox"] * layer_norm(W["o"] @ x + b["o"]) + p["o"])
    g = tanh(p["gu"] * layer_norm(U["U", "g"] @ h) + p["gx"] * layer_norm(W["g"] @ x + b["g"]) + p["g"])
    c_new = f * c + i * g
    h_new = o * tanh(p["cc"] * layer_norm(c_new) + p["c"])
    return {"i": i, "f": f, "o": o, "g": g, "c": c_new, "h": h_new}


def multiplicative_lstm(weights, x, h, c) -> Values:
    """Krause et al. 2016: the LSTM with m = (W_m x) (U_m h) in place of h. Here W_m x has a bias."""
    W, U, b = weights["W"], weights["U"], weights["b"]
    m = (W["m"] @ x + b["m"]) * (U["U", "m"] @ h)
    i = sigmoid(W["i"] @ x + U["U", "i"] @ m + b["i"])
    f = sigmoid(W["f"] @ x + U["U", "f"] @ m + b["f"])
    o = sigmoid(W["o"] @ x + U["U", "o"] @ m + b["o"])
    g = tanh(W["g"] @ x + U["U", "g"] @ m + b["g"])
    c_new = f * c + i * g
    h_new = o * tanh(c_new)
    return {"m": m, "i": i, "f": f, "o": o, "g": g, "c": c_new, "h": h_new}


# Greff et al. 2017. The paper's R is U here and its y is h; through their peepholes the input and forget gate depend on
# the old cell state, the output gate on the new one.


def peephole_lstm(weights, x, h, c) -> Values:
    W, R, b, p = weights["W"], weights["U"], weights["b"], weights["p"]
    z = tanh(W["z"] @ x + R["U", "z"] @ h + b["z"])
    i = sigmoid(W["i"] @ x + R["U", "i"] @ h + p["i"] * c + b["i"])
    f = sigmoid(W["f"] @ x + R["U", "f"] @ h + p["f"] * c + b["f"])
    c_new = z * i + c * f
    o = sigmoid(W["o"] @ x + R["U", "o"] @ h + p["o"] * c_new + b["o"])
    return {"z": z, "i": i, "f": f, "o": o, "c": c_new, "h": tanh(c_new) * o}


def nig(weights, x, h, c) -> Values:
    """i = 1."""
    W, R, b, p = weights["W"], weights["U"], weights["b"], weights["p"]
    z = tanh(W["z"] @ x + R["U", "z"] @ h + b["z"])
    i = np.ones_like(c)
    f = sigmoid(W["f"] @ x + R["U", "f"] @ h + p["f"] * c + b["f"])
    c_new = z * i + c * f
    o = sigmoid(W["o"] @ x + R["U", "o"] @ h + p["o"] * c_new + b["o"])
    return {"z": z, "f": f, "o": o, "c": c_new, "h": tanh(c_new) * o}


def nfg(weights, x, h, c) -> Values:
    """f = 1."""
    W, R, b, p = weights["W"], weights["U"], weights["b"], weights["p"]
    z = tanh(W["z"] @ x + R["U", "z"] @ h + b["z"])
    i = sigmoid(W["i"] @ x + R["U", "i"] @ h + p["i"] * c + b["i"])
    f = np.ones_like(c)
    c_new = z * i + c * f
    o = sigmoid(W["o"] @ x + R["U", "o"] @ h + p["o"] * c_new + b["o"])
    return {"z": z, "i": i, "o": o, "c": c_new, "h": tanh(c_new) * o}


def nog(weights, x, h, c) -> Values:
    """o = 1."""
    W, R, b, p = weights["W"], weights["U"], weights["b"], weights["p"]
    z = tanh(W["z"] @ x + R["U", "z"] @ h + b["z"])
    i = sigmoid(W["i"] @ x + R["U", "i"] @ h + p["i"] * c + b["i"])
    f = sigmoid(W["f"] @ x + R["U", "f"] @ h + p["f"] * c + b["f"])
    c_new = z * i + c * f
    o = np.ones_like(c)
    return {"z": z, "i": i, "f": f, "c": c_new, "h": tanh(c_new) * o}


def niaf(weights, x, h, c) -> Values:
    """g(x) = x."""
    W, R, b, p = weights["W"], weights["U"], weights["b"], weights["p"]
    z = W["z"] @ x + R["U", "z"] @ h + b["z"]
    i = sigmoid(W["i"] @ x + R["U", "i"] @ h + p["i"] * c + b["i"])
    f = sigmoid(W["f"] @ x + R["U", "f"] @ h + p["f"] * c + b["f"])
    c_new = z * i + c * f
    o = sigmoid(W["o"] @ x + R["U", "o"] @ h + p["o"] * c_new + b["o"])
    return {"z": z, "i": i, "f": f, "o": o, "c": c_new, "h": tanh(c_new) * o}


def noaf(weights, x, h, c) -> Values:
    """h(x) = x."""
    W, R, b, p = weights["W"], weights["U"], weights["b"], weights["p"]
    z = tanh(W["z"] @ x + R["U", "z"] @ h + b["z"])
    i = sigmoid(W["i"] @ x + R["U", "i"] @ h + p["i"] * c + b["i"])
    f = sigmoid(W["f"] @ x + R["U", "f"] @ h + p["f"] * c + b["f"])
    c_new = z * i + c * f
    o = sigmoid(W["o"] @ x + R["U", "o"] @ h + p["o"] * c_new + b["o"])
    return {"z": z, "i": i, "f": f, "o": o, "c": c_new, "h": c_new * o}


def cifg(weights, x, h, c) -> Values:
    """f = 1 - i."""
    W, R, b, p = weights["W"], weights["U"], weights["b"], weights["p"]
    z = tanh(W["z"] @ x + R["U", "z"] @ h + b["z"])
    i = sigmoid(W["i"] @ x + R["U", "i"] @ h + p["i"] * c + b["i"])
    f = 1 - i
    c_new = z * i + c * f
    o = sigmoid(W["o"] @ x + R["U", "o"] @ h + p["o"] * c_new + b["o"])
    return {"z": z, "i": i, "o": o, "c": c_new, "h": tanh(c_new) * o}


def np_(weights, x, h, c) -> Values:
    """p_i = p_f = p_o = 0."""
    W, R, b = weights["W"], weights["U"], weights["b"]
    z = tanh(W["z"] @ x + R["U", "z"] @ h + b["z"])
    i = sigmoid(W["i"] @ x + R["U", "i"] @ h + b["i"])
    f = sigmoid(W["f"] @ x + R["U", "f"] @ h + b["f"])
    c_new = z * i + c * f
    o = sigmoid(W["o"] @ x + R["U", "o"] @ h + b["o"])
    return {"z": z, "i": i, "f": f, "o": o, "c": c_new, "h": tanh(c_new) * o}


def fgr(weights, x, h, c, i, f, o) -> Values:
    """The paper's R_if, from gate i to gate f, is block f of the matrix Ri. All gates are those of the step before."""
    W, R, b, p = weights["W"], weights["U"], weights["b"], weights["p"]
    z_new = tanh(W["z"] @ x + R["U", "z"] @ h + b["z"])
    i_bar = W["i"] @ x + R["U", "i"] @ h + p["i"] * c + b["i"]
    i_bar = i_bar + R["Ri", "i"] @ i + R["Rf", "i"] @ f + R["Ro", "i"] @ o
    f_bar = W["f"] @ x + R["U", "f"] @ h + p["f"] * c + b["f"]
    f_bar = f_bar + R["Ri", "f"] @ i + R["Rf", "f"] @ f + R["Ro", "f"] @ o
    i_new, f_new = sigmoid(i_bar), sigmoid(f_bar)
    c_new = z_new * i_new + c * f_new
    o_bar = W["o"] @ x + R["U", "o"] @ h + p["o"] * c_new + b["o"]
    o_bar = o_bar + R["Ri", "o"] @ i + R["Rf", "o"] @ f + R["Ro", "o"] @ o
    o_new = sigmoid(o_bar)
    return {"z": z_new, "i": i_new, "f": f_new, "o": o_new, "c": c_new, "h": tanh(c_new) * o_new}


def gru(weights, x, h) -> Values:
    """Cho et al. 2014 as cuDNN computes it: the reset gate acts after the product, which has a bias p_n of its own;
    z keeps the old state."""
    W, U, b, p = weights["W"], weights["U"], weights["b"], weights["p"]
    r = sigmoid(W["r"] @ x + U["U", "r"] @ h + b["r"])
    z = sigmoid(W["z"] @ x + U["U", "z"] @ h + b["z"])
    n = tanh(W["n"] @ x + b["n"] + r * (U["U", "n"] @ h + p["n"]))
    return {"r": r, "z": z, "n": n, "h": (1 - z) * n + z * h}


def gru_before(weights, x, h) -> Values:
    """Cho et al. 2014, equations 5 to 8: the reset gate acts on h before the product."""
    W, U, b = weights["W"], weights["U"], weights["b"]
    r = sigmoid(W["r"] @ x + U["U", "r"] @ h + b["r"])
    z = sigmoid(W["z"] @ x + U["U", "z"] @ h + b["z"])
    n = tanh(W["n"] @ x + U["U", "n"] @ (r * h) + b["n"])
    return {"r": r, "z": z, "n": n, "h": z * h + (1 - z) * n}


def mgu(weights, x, h) -> Values:
    """Zhou et al. 2016, equations 8 to 10."""
    W, U, b = weights["W"], weights["U"], weights["b"]
    f = sigmoid(W["f"] @ x + U["U", "f"] @ h + b["f"])
    n = tanh(W["n"] @ x + U["U", "n"] @ (f * h) + b["n"])
    return {"f": f, "n": n, "h": (1 - f) * h + f * n}


# Jozefowicz et al. 2015, section 3.2: z multiplies the candidate. The paper's bare x is W x + b here; MUT1 has the
# paper's b_h, outside the inner tanh.


def mut1(weights, x, h) -> Values:
    W, U, b, p = weights["W"], weights["U"], weights["b"], weights["p"]
    z = sigmoid(W["z"] @ x + b["z"])
    r = sigmoid(W["r"] @ x + U["U", "r"] @ h + b["r"])
    n = tanh(U["U", "n"] @ (r * h) + tanh(W["n"] @ x + b["n"]) + p["n"])
    return {"z": z, "r": r, "n": n, "h": n * z + h * (1 - z)}


def mut2(weights, x, h) -> Values:
    W, U, b = weights["W"], weights["U"], weights["b"]
    z = sigmoid(W["z"] @ x + U["U", "z"] @ h + b["z"])
    r = sigmoid(W["r"] @ x + U["U", "r"] @ h + b["r"])
    n = tanh(U["U", "n"] @ (r * h) + W["n"] @ x + b["n"])
    return {"z": z, "r": r, "n": n, "h": n * z + h * (1 - z)}


def mut3(weights, x, h) -> Values:
    W, U, b = weights["W"], weights["U"], weights["b"]
    z = sigmoid(W["z"] @ x + U["U", "z"] @ tanh(h) + b["z"])
    r = sigmoid(W["r"] @ x + U["U", "r"] @ h + b["r"])
    n = tanh(U["U", "n"] @ (r * h) + W["n"] @ x + b["n"])
    return {"z": z, "r": r, "n": n, "h": n * z + h * (1 - z)}


def none(weights, x, h) -> Values:
    """A layer with rectified linear units; the state before is not used."""
    a = weights["W"]["n"] @ x + weights["b"]["n"]
    return {"h": np.where(a > 0, a, 0)}


def min_gru(weights, x, h) -> Values:
    """Feng et al. 2024."""
    W, b = weights["W"], weights["b"]
    z = sigmoid(W["z"] @ x + b["z"])
    candidate = W["n"] @ x + b["n"]
    return {"z": z, "h": (1 - z) * h + z * candidate}


def min_lstm(weights, x, h) -> Values:
    """Feng et al. 2024: the two gates are scaled to sum to 1."""
    W, b = weights["W"], weights["b"]
    f = sigmoid(W["f"] @ x + b["f"])
    i = sigmoid(W["i"] @ x + b["i"])
    candidate = W["n"] @ x + b["n"]
    f_scaled = f / (f + i)
    i_scaled = i / (f + i)
    return {"f": f, "i": i, "h": f_scaled * h + i_scaled * candidate}


def rhn(weights, x, h, depth=3) -> Values:
    """Zilly et al. 2017, equations 6 to 9 with the carry gate 1 - t: the input enters the first layer only. n is the
    paper's h, h its s; the biases of the later layers are vectors."""
    W, R, b, p = weights["W"], weights["U"], weights["b"], weights["p"]
    named = {}
    s = h
    for layer in range(1, depth + 1):
        if layer == 1:
            n = tanh(W["n"] @ x + R["U1", "n"] @ s + b["n"])
            t = sigmoid(W["t"] @ x + R["U1", "t"] @ s + b["t"])
        else:
            n = tanh(R[f"U{layer}", "n"] @ s + p[f"n{layer}"])
            t = sigmoid(R[f"U{layer}", "t"] @ s + p[f"t{layer}"])
        s = n * t + s * (1 - t)
        named |= {f"n{layer}": n, f"t{layer}": t}
    return {**named, "h": s}


def slstm(weights, x, h, c, n, m) -> Values:
    """Beck et al. 2024, equations 8 to 17, f a sigmoid: i and f are the stabilised gates."""
    W, R, b = weights["W"], weights["U"], weights["b"]
    z = tanh(W["z"] @ x + R["U", "z"] @ h + b["z"])
    o = sigmoid(W["o"] @ x + R["U", "o"] @ h + b["o"])
    i_bar = W["i"] @ x + R["U", "i"] @ h + b["i"]
    f_bar = W["f"] @ x + R["U", "f"] @ h + b["f"]
    m_new = maximum(log(sigmoid(f_bar)) + m, i_bar)
    i = exp(i_bar - m_new)
    f = exp(log(sigmoid(f_bar)) + m - m_new)
    c_new = f * c + i * z
    n_new = f * n + i
    return {"z": z, "o": o, "i": i, "f": f, "c": c_new, "n": n_new, "m": m_new, "h": o * (c_new / n_new)}


def slstm_unstabilised(weights, x, h, c, n) -> Values:
    """The same cell before the paper adds the stabiliser state, equations 8 to 14: it overflows for large inputs, but
    its h is what the stabilised one must compute. Its c and n are exp(m) times those."""
    W, R, b = weights["W"], weights["U"], weights["b"]
    z = tanh(W["z"] @ x + R["U", "z"] @ h + b["z"])
    o = sigmoid(W["o"] @ x + R["U", "o"] @ h + b["o"])
    i = exp(W["i"] @ x + R["U", "i"] @ h + b["i"])
    f = sigmoid(W["f"] @ x + R["U", "f"] @ h + b["f"])
    c_new = f * c + i * z
    n_new = f * n + i
    return {"c": c_new, "n": n_new, "h": o * (c_new / n_new)}


def indrnn(weights, x, h) -> Values:
    """Li et al. 2018, equation 2: the recurrent weights are a vector u."""
    a = weights["W"]["h"] @ x + weights["p"]["u"] * h + weights["b"]["h"]
    return {"h": np.where(a > 0, a, 0)}


def ugrnn(weights, x, h) -> Values:
    """Collins et al. 2017, section 1.1."""
    W, U, b = weights["W"], weights["U"], weights["b"]
    c = tanh(U["U", "c"] @ h + W["c"] @ x + b["c"])
    g = sigmoid(U["U", "g"] @ h + W["g"] @ x + b["g"])
    return {"c": c, "g": g, "h": g * h + (1 - g) * c}


def cfn(weights, x, h) -> Values:
    """Laurent & von Brecht 2017: theta is t, eta is e, the paper's bare W is that of z."""
    W, U, b = weights["W"], weights["U"], weights["b"]
    theta = sigmoid(U["U", "t"] @ h + W["t"] @ x + b["t"])
    eta = sigmoid(U["U", "e"] @ h + W["e"] @ x + b["e"])
    return {"t": theta, "e": eta, "h": theta * tanh(h) + eta * tanh(W["z"] @ x)}


def li_gru(weights, x, h) -> Values:
    """Ravanelli et al. 2018, equations 8 and 9, each row normalised over its units; gains g and biases b of that."""
    W, U, p = weights["W"], weights["U"], weights["p"]
    z = sigmoid(p["gz"] * layer_norm(W["z"] @ x) + p["bz"] + U["U", "z"] @ h)
    a = p["gc"] * layer_norm(W["c"] @ x) + p["bc"] + U["U", "c"] @ h
    c = np.where(a > 0, a, 0)
    return {"z": z, "c": c, "h": z * h + (1 - z) * c}


def nested_lstm(weights, x, h, c, n) -> Values:
    """Moniz & Krueger 2018, equations 7 to 14: V is the inner matrix of x~, Y that of h~; n is the paper's c~."""
    W, U, b, p = weights["W"], weights["U"], weights["b"], weights["p"]
    i = sigmoid(W["i"] @ x + U["U", "i"] @ h + b["i"])
    f = sigmoid(W["f"] @ x + U["U", "f"] @ h + b["f"])
    o = sigmoid(W["o"] @ x + U["U", "o"] @ h + b["o"])
    x_tilde = i * tanh(W["g"] @ x + U["U", "g"] @ h + b["g"])
    h_tilde = f * c
    i_tilde = sigmoid(U["V", "i"] @ x_tilde + U["Y", "i"] @ h_tilde + p["i"])
    f_tilde = sigmoid(U["V", "f"] @ x_tilde + U["Y", "f"] @ h_tilde + p["f"])
    o_tilde = sigmoid(U["V", "o"] @ x_tilde + U["Y", "o"] @ h_tilde + p["o"])
    n_new = f_tilde * n + i_tilde * tanh(U["V", "g"] @ x_tilde + U["Y", "g"] @ h_tilde + p["g"])
    c_new = o_tilde * tanh(n_new)
    inner = {"inner_x": x_tilde, "inner_h": h_tilde, "inner_i": i_tilde, "inner_f": f_tilde, "inner_o": o_tilde}
    return {"i": i, "f": f, "o": o, **inner, "n": n_new, "c": c_new, "h": o * tanh(c_new)}


def mogrifier_lstm(weights, x, h, c, rounds=5) -> Values:
    """Melis et al. 2020, equations 1 and 2: x^-1 is x, h^0 is h; the last of each enter the LSTM."""
    U, p = weights["U"], weights["p"]
    xs, hs = {-1: x}, {0: h}
    for k in range(1, rounds + 1):
        if k % 2 == 1:
            xs[k] = 2 * sigmoid(U[f"Q{k}", "q"] @ hs[k - 1]) * xs[k - 2]
        else:
            hs[k] = 2 * sigmoid(U[f"R{k}", "r"] @ xs[k - 1]) * hs[k - 2]
    x, h = xs[max(xs)], hs[max(hs)]
    i = sigmoid(U["W", "i"] @ x + U["U", "i"] @ h + p["i"])
    f = sigmoid(U["W", "f"] @ x + U["U", "f"] @ h + p["f"])
    g = tanh(U["W", "g"] @ x + U["U", "g"] @ h + p["g"])
    o = sigmoid(U["W", "o"] @ x + U["U", "o"] @ h + p["o"])
    c_new = f * c + i * g
    return {"i": i, "f": f, "g": g, "o": o, "c": c_new, "h": o * tanh(c_new)}


def lstmp(weights, x, h, c, projection=None) -> Values:
    """Sak et al. 2014, equations 7 to 13 without peepholes: h is the paper's r, U its W_r and P its W_rm."""
    W, U, b = weights["W"], weights["U"], weights["b"]
    i = sigmoid(W["i"] @ x + U["U", "i"] @ h + b["i"])
    f = sigmoid(W["f"] @ x + U["U", "f"] @ h + b["f"])
    o = sigmoid(W["o"] @ x + U["U", "o"] @ h + b["o"])
    g = tanh(W["g"] @ x + U["U", "g"] @ h + b["g"])
    c_new = f * c + i * g
    m = o * tanh(c_new)
    assert U["P", "h"].shape == (projection or len(c) // 2, len(c))
    return {"i": i, "f": f, "o": o, "g": g, "c": c_new, "m": m, "h": U["P", "h"] @ m}


def cumax(v):
    """cumsum(softmax(v)), unit by unit."""
    return np.array([exp(v[: k + 1]).sum() for k in range(v.size)]) / exp(v).sum()


def on_lstm(weights, x, h, c, chunk=1) -> Values:
    """Shen et al. 2019, equations 6 to 13: k and e are the master gates, f and i what is named with a hat."""
    W, U, b = weights["W"], weights["U"], weights["b"]
    f = sigmoid(W["f"] @ x + U["U", "f"] @ h + b["f"])
    i = sigmoid(W["i"] @ x + U["U", "i"] @ h + b["i"])
    o = sigmoid(W["o"] @ x + U["U", "o"] @ h + b["o"])
    g = tanh(W["g"] @ x + U["U", "g"] @ h + b["g"])
    owner = np.arange(c.size) // chunk  # the master unit of each unit
    master_f = cumax(W["k"] @ x + U["U", "k"] @ h + b["k"])[owner]
    master_i = (1 - cumax(W["e"] @ x + U["U", "e"] @ h + b["e"]))[owner]
    overlap = master_f * master_i
    f_hat = f * overlap + (master_f - overlap)
    i_hat = i * overlap + (master_i - overlap)
    c_new = f_hat * c + i_hat * g
    named = {"f": f_hat, "i": i_hat, "o": o, "g": g, "k": master_f, "e": master_i, "w": overlap}
    return {**named, "c": c_new, "h": o * tanh(c_new)}


def mlstm(weights, x, C, n, m, head_size=16) -> Values:
    """Beck et al. 2024, equations 19 to 27 with the stabiliser of 15 to 17, head by head, each normalised: C is the
    matrix of each head, row by row."""
    W, b = weights["W"], weights["b"]
    d, heads = head_size, len(m)
    q, v, k = (W[gate] @ x + b[gate] for gate in "qvk")
    o, i_bar, f_bar = sigmoid(W["o"] @ x + b["o"]), W["i"] @ x + b["i"], W["f"] @ x + b["f"]
    C_new, n_new, m_new, h = [], [], [], []
    for head in range(heads):
        part = slice(head * d, (head + 1) * d)
        key, before = k[part] / np.sqrt(d), C.reshape(heads, d, d)[head]
        m_new.append(max(log(sigmoid(f_bar[head])) + m[head], i_bar[head]))
        i, f = exp(i_bar[head] - m_new[-1]), exp(log(sigmoid(f_bar[head])) + m[head] - m_new[-1])
        C_new.append(f * before + i * np.outer(v[part], key))
        n_new.append(f * n[part] + i * key)
        read = (C_new[-1] @ q[part]) / max(abs(n_new[-1] @ q[part]), exp(-m_new[-1]))
        h.append(o[part] * weights["p"]["gain"][part] * layer_norm(read))
    joined = {"C": np.concatenate(C_new).ravel(), "n": np.concatenate(n_new), "m": np.array(m_new)}
    return {**joined, "h": np.concatenate(h)}


ORACLES: dict[str, Callable[..., Values]] = {
    "cifg": cifg,
    "fgr": fgr,
    "gru": gru,
    "gru_before": gru_before,
    "irnn": irnn,
    "layer_norm_lstm": layer_norm_lstm,
    "lstm": lstm,
    "mgu": mgu,
    "min_gru": min_gru,
    "min_lstm": min_lstm,
    "multiplicative_lstm": multiplicative_lstm,
    "mut1": mut1,
    "mut2": mut2,
    "mut3": mut3,
    "nfg": nfg,
    "niaf": niaf,
    "nig": nig,
    "noaf": noaf,
    "nog": nog,
    "none": none,
    "np": np_,
    "peephole_lstm": peephole_lstm,
    "rhn": rhn,
    "rnn": rnn,
    "slstm": slstm,
    "indrnn": indrnn,
    "ugrnn": ugrnn,
    "cfn": cfn,
    "li_gru": li_gru,
    "nested_lstm": nested_lstm,
    "mogrifier_lstm": mogrifier_lstm,
    "lstmp": lstmp,
    "on_lstm": on_lstm,
    "mlstm": mlstm,
}

# the options that change an equation; the oracle takes them under the same names
VARIANTS: dict[str, list[dict[str, Any]]] = {
    "irnn": [{"activation": "tanh"}, {"activation": "sigmoid"}, {"activation": "relu"}, {"activation": "linear"}],
    "lstmp": [{"projection": 1}, {"projection": 3}, {"projection": 9}],
    "mlstm": [{"head_size": 1}, {"head_size": 2}, {"head_size": 4}],
    "mogrifier_lstm": [{"rounds": rounds} for rounds in range(5)],
    "on_lstm": [{"chunk": 2}, {"chunk": 4}],
    "rhn": [{"depth": 1}, {"depth": 2}, {"depth": 3}],
    "rnn": [{"activation": "tanh"}, {"activation": "sigmoid"}, {"activation": "relu"}, {"activation": "linear"}],
}
