"""LSTM and GRU, step by step, with one product for all steps wherever possible.

LSTM, gates in the order i, f, g, o:                         GRU, gates in the order r, z, n:

    a_t = x_t W_ihᵀ + b_ih + b_hh + h_{t−1} W_hhᵀ                u_t = x_t W_ihᵀ + b_ih,   v_t = h_{t−1} W_hhᵀ + b_hh
    i, f, o = σ(a_t),   g = tanh(a_t)                            r, z = σ(u_t + v_t),   n = tanh(u_t + r·v_t)
    c_t = f·c_{t−1} + i·g,   h_t = o·tanh(c_t)     (1)           h_t = n + z·(h_{t−1} − n)     (2)

The backward pass stores h (and c) only and recomputes all gates at once; the loop over steps has only terms that
depend on the next step, and the weights' gradient is one product over all steps. torch's fused kernel has no rule for a
stack of clients, and its plain GRU writes in place, which a stack with a shared start does not allow.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.nn.functional import linear

from fedmtl.engines.kernels.packing import apply, aten


def lstm(
    x: Tensor,
    hx: list[Tensor],
    params: list[Tensor],
    has_biases: bool,
    num_layers: int,
    dropout: float,
    train: bool,
    bidirectional: bool,
    batch_first: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """Replace ``aten::lstm.input``."""
    per_cell = 4 if has_biases else 2
    if (dropout and train) or len(params) != per_cell * num_layers * (1 + bidirectional):  # or with projections
        return aten.lstm.input.decompose(
            x, hx, params, has_biases, num_layers, dropout, train, bidirectional, batch_first
        )

    def cell(a: Tensor, index: int, w_hh: Tensor, b_hh: Tensor | None) -> tuple[Tensor, ...]:
        a = a if b_hh is None else a + b_hh
        h, c = apply(_LSTM, a, hx[0][index], hx[1][index], w_hh)
        return h, h[-1], c[-1]

    return _stacked(cell, x, params, per_cell, bidirectional, batch_first)


def gru(
    x: Tensor,
    hx: Tensor,
    params: list[Tensor],
    has_biases: bool,
    num_layers: int,
    dropout: float,
    train: bool,
    bidirectional: bool,
    batch_first: bool,
) -> tuple[Tensor, Tensor]:
    """Replace ``aten::gru.input``."""
    if dropout and train:
        return aten.gru.input.decompose(
            x, hx, params, has_biases, num_layers, dropout, train, bidirectional, batch_first
        )

    def cell(u: Tensor, index: int, w_hh: Tensor, b_hh: Tensor | None) -> tuple[Tensor, ...]:
        h = apply(_GRU, u, hx[index], w_hh, w_hh.new_zeros(len(w_hh)) if b_hh is None else b_hh)
        return h, h[-1]

    return _stacked(cell, x, params, 4 if has_biases else 2, bidirectional, batch_first)


def _stacked(cell: Any, x: Tensor, params: list[Tensor], per_cell: int, both: bool, batch_first: bool) -> Any:
    """Return outputs and last states of stacked layers, each read forwards and, if ``both``, backwards."""
    x = x.transpose(0, 1) if batch_first else x
    last = []
    for start in range(0, len(params), per_cell * (1 + both)):
        outputs = []
        for backwards in range(1 + both):
            at = start + per_cell * backwards
            w_ih, w_hh, *biases = params[at : at + per_cell]
            b_ih, b_hh = biases or (None, None)
            read = linear(x.flip(0) if backwards else x, w_ih, b_ih)
            out, *state = cell(read, len(last), w_hh, b_hh)
            outputs.append(out.flip(0) if backwards else out)
            last.append(state)
        x = torch.cat(outputs, -1) if both else outputs[0]
    return x.transpose(0, 1) if batch_first else x, *(torch.stack(states) for states in zip(*last, strict=True))


class _LSTM(Function):
    """a without h's part [T, B, 4H], h_0 [B, H], c_0 [B, H], W_hh [4H, H] -> h, c of all steps [T, B, H]."""

    generate_vmap_rule = True

    @staticmethod
    def forward(read: Tensor, h: Tensor, c: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
        across, size, hs, cs = weight.t(), h.shape[-1], [], []
        for a in read.unbind():
            a = torch.addmm(a, h, across)
            i, f, _, o = a.sigmoid().split(size, -1)
            c = torch.addcmul(f * c, i, a[:, 2 * size : 3 * size].tanh())
            h = o * c.tanh()
            hs.append(h)
            cs.append(c)  # (1)
        return torch.stack(hs), torch.stack(cs)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        ctx.save_for_backward(*inputs, *output)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> Any:
        by_h, by_c = grad_outputs
        read, h_0, c_0, weight, h, c = ctx.saved_tensors
        h_before, c_before = torch.cat([h_0[None], h[:-1]]), torch.cat([c_0[None], c[:-1]])
        a = read + linear(h_before, weight)
        i, f, g, o = a.unflatten(-1, (4, -1)).unbind(-2)
        i, f, g, o, tanh_c = i.sigmoid(), f.sigmoid(), g.tanh(), o.sigmoid(), c.tanh()
        # ∂a = (∂c, ∂c, ∂c, ∂h)·slope, where slope does not depend on later steps.
        slope = torch.stack(
            [g * i * (1 - i), c_before * f * (1 - f), i * (1 - g * g), tanh_c * o * (1 - o)], -2
        ).flatten(-2)
        to_c = o * (1 - tanh_c * tanh_c)
        last, steps = len(read) - 1, []
        d_h, d_c = by_h[last], by_c[last]
        for t in range(last, -1, -1):
            d_c = torch.addcmul(d_c, d_h, to_c[t])
            d_a = torch.cat([d_c, d_c, d_c, d_h], -1) * slope[t]
            steps.append(d_a)
            d_h, d_c = torch.addmm(by_h[t - 1], d_a, weight) if t else d_a @ weight, d_c * f[t]
            d_c = d_c + by_c[t - 1] if t else d_c
        d_read = torch.stack(steps[::-1])
        return d_read, d_h, d_c, d_read.flatten(0, 1).t() @ h_before.flatten(0, 1)


class _GRU(Function):
    """u [T, B, 3H], h_0 [B, H], W_hh [3H, H], b_hh [3H] -> h of all steps [T, B, H]."""

    generate_vmap_rule = True

    @staticmethod
    def forward(read: Tensor, h: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        across, size, hs = weight.t(), h.shape[-1], []
        for u in read.unbind():
            v = torch.addmm(bias, h, across)
            r, z = (u[:, : 2 * size] + v[:, : 2 * size]).sigmoid().split(size, -1)
            n = torch.addcmul(u[:, 2 * size :], r, v[:, 2 * size :]).tanh()
            h = torch.addcmul(n, z, h - n)
            hs.append(h)  # (2)
        return torch.stack(hs)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        ctx.save_for_backward(*inputs, output)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> Any:
        (by_h,) = grad_outputs
        read, h_0, weight, bias, h = ctx.saved_tensors
        before = torch.cat([h_0[None], h[:-1]])
        v = linear(before, weight, bias)
        u_r, u_z, u_n = read.unflatten(-1, (3, -1)).unbind(-2)
        v_r, v_z, v_n = v.unflatten(-1, (3, -1)).unbind(-2)
        r, z = (u_r + v_r).sigmoid(), (u_z + v_z).sigmoid()
        n = torch.addcmul(u_n, r, v_n).tanh()
        # ∂v = ∂h·slope in each gate; ∂u differs from it in n only.
        to_n = (1 - z) * (1 - n * n)
        to_r, to_z = to_n * v_n * r * (1 - r), (before - n) * z * (1 - z)
        slope = torch.stack([to_r, to_z, to_n * r], -2)
        d_h, through = by_h[-1], []
        for t in range(len(read) - 1, -1, -1):
            through.append(d_h)
            d_v = (d_h.unsqueeze(-2) * slope[t]).flatten(-2)
            d_h = torch.addmm(d_h * z[t], d_v, weight)
            d_h = d_h + by_h[t - 1] if t else d_h
        d_h_all = torch.stack(through[::-1]).unsqueeze(-2)
        d_v = (d_h_all * slope).flatten(-2)
        d_u = (d_h_all * torch.stack([to_r, to_z, to_n], -2)).flatten(-2)
        return d_u, d_h, d_v.flatten(0, 1).t() @ before.flatten(0, 1), d_v.sum((0, 1))
