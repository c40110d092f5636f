"""The equations of the papers in plain NumPy: what the cells must compute, in an independent form.

Each oracle is one step of one sequence, vectors and no batch, one line a gate as the paper prints it. It returns every
value that the equation names, the new states among them. Nothing here depends on how a cell computes.

A cell's own weights reach an oracle through `weights`, where each gate has its own:

    W[gate] (H, I)     U[matrix, gate] (H, H)     b[gate] (H,)     p[name] (H,)
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy import exp, log, maximum, tanh

Values = dict[str, np.ndarray]


def weights(cell: Any) -> dict[str, dict]:
    """The parameters of a cell as NumPy arrays, gate by gate."""
    size = cell.hidden_size

    def rows(gates, parameter):
        array = parameter.detach().numpy()
        assert array.shape[0] == len(gates) * size
        return {gate: array[k * size : (k + 1) * size] for k, gate in enumerate(gates)}

    products = {}
    for title, matrix in cell.matrices().items():
        name, *gates = title.split("_")
        for gate, block in rows(gates, matrix).items():
            assert (name, gate) not in products, "two matrices for one gate would hide one another"
            products[name, gate] = block
    vectors = {name.removeprefix("p_"): vector.detach().numpy() for name, vector in cell.vectors().items()}
    return {"W": rows(cell.gates, cell.W), "b": rows(cell.gates, cell.b), "U": products, "p": vectors}


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
}

# the options that change an equation; the oracle takes them under the same names
VARIANTS: dict[str, list[dict[str, Any]]] = {
    "irnn": [{"activation": "tanh"}, {"activation": "sigmoid"}, {"activation": "relu"}, {"activation": "linear"}],
    "rhn": [{"depth": 1}, {"depth": 2}, {"depth": 3}],
    "rnn": [{"activation": "tanh"}, {"activation": "sigmoid"}, {"activation": "relu"}, {"activation": "linear"}],
}
