"""Exact minima over the simplex: the shortest convex combination of vectors, and CAGrad's dual.

    Wolfe. Finding the Nearest Point in a Polytope. Mathematical Programming 11, 1976.

Both objectives are convex, and depend on K vectors g_k = d_k u_k, ‖u_k‖ = 1, by C = UUᵀ and the lengths d alone:

    MGDA      ½ ‖g_w‖²                     g_w = Σ w_k g_k,  w ≥ 0,  Σ w = 1                       (1)
    CAGrad    ⟨g_w, g_0⟩ + ρ ‖g_w‖          g_0 = Σ p_k g_k,  ρ = c ‖g_0‖                          (2)

A minimum lies within some face S of the simplex, where only k ∈ S have weight and the slopes by them are equal. With
M = (⟨g_k, g_l⟩) of the face, a = M⁻¹ 1, A = 1ᵀa, b = M⁻¹ (⟨g_k, g_0⟩), b' = b − (1ᵀb / A) a, q = b'ᵀ M b':

    MGDA      w = a / A                                                                           (3)
    CAGrad    w = a / A − b' / √(A (ρ² − q))     where ρ² > q; else F falls along −b' for ever     (4)

Up to ``ENUMERATED`` vectors all 2^K − 1 faces are solved at once and the best w wins; with more, Wolfe's way is taken
from face to face, each step lowering the objective. Both have a static course, safe under ``torch.vmap``, unless
``eager`` lets the way end where it arrives. A multiple of 11ᵀ is added to M in (3), which changes the objective by a
constant and makes M regular where the face's plane holds 0. Lengths are taken out first, so that vectors of 1e-12 and
1e12 may stand side by side.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

ENUMERATED = 8
"""Vectors up to which all faces are solved: 255 systems at once."""

RIDGE = 1e-13
"""Added to the diagonal of C: vectors that are equal share their weight, and an angle between two of 3e-7 or more is
resolved. What is lost is at most √RIDGE / 2 of the longest vector."""

CANCELLED = 3e-8
"""A combination this short, in parts of the longest vector, has no direction: C is known to 1e-16."""


STEPS = 4
"""Steps from face to face, in parts of K: about twice what random problems of up to 80 vectors need."""


class Hull(NamedTuple):
    """K vectors, by their inner products in float64."""

    angles: Tensor
    """C [K, K]; rows and columns of a zero vector are 0."""
    lengths: Tensor
    """d [K], the longest being 1."""
    longest: Tensor
    """The unit, a scalar."""


Face = Callable[[Tensor], tuple[Tensor, Tensor]]
"""(mask [F, K] of faces, 1 inside) -> affine minima [F, K], and whether there are any, bool [F]; where there is none,
the direction in which the objective falls for ever."""


def hull(rows: Tensor) -> Hull:
    """Make it from vectors [K, d]; each is scaled by its largest number first, so that no square is lost."""
    wide = rows.double()
    largest = wide.abs().amax(1)
    wide = wide / torch.where(largest > 0, largest, 1.0)[:, None]
    norm = wide.square().sum(1).sqrt()
    unit = wide / torch.where(norm > 0, norm, 1.0)[:, None]
    lengths = largest * norm
    longest = lengths.amax()
    return Hull(unit @ unit.mT, lengths / torch.where(longest > 0, longest, 1.0), longest)


def shortest(rows: Tensor) -> Tensor:
    """(1): w [K], float64. Zero vectors share all the weight, if there are any."""
    angles, lengths, _ = hull(rows)
    zero = lengths == 0
    short = torch.where(zero, torch.inf, lengths).amin()
    part = torch.where(zero, 0.0, short / lengths)  # 1 for the shortest

    def face(mask: Tensor) -> tuple[Tensor, Tensor]:
        (x,) = _solved(angles + part[:, None] * part, mask, part)
        x = x * part
        return x / x.sum(-1, keepdim=True), torch.ones_like(x[:, 0], dtype=torch.bool)

    longs = torch.where(zero, 0.0, lengths / short)

    def value(w: Tensor) -> Tensor:
        return ((w * longs @ angles) * (w * longs)).sum(-1)

    def slope(w: Tensor) -> Tensor:
        return longs * (angles @ (longs * w))

    found = _minimum(face, value, slope, zero)
    return torch.where(zero.any(), zero / zero.sum().clamp(min=1), found)


def conflict_averse(rows: Tensor, weights: Tensor, c: float, eager: bool = False) -> tuple[Tensor, Tensor]:
    """(2): the weight of each vector in g_0 + ρ g_w / ‖g_w‖, [K] float64, and w [K].

    Where the vectors cancel, ‖g_w‖ = 0, no direction helps all, and it is g_0.

    Args:
        rows: g [K, d].
        weights: p [K], Σ p = 1.
        c: c ≥ 0.
        eager: not lifted or recorded, so that numbers may decide how long it takes.
    """
    angles, lengths, _ = hull(rows)
    zero, p = lengths == 0, weights.double()
    safe = torch.where(zero, 1.0, lengths)
    inverse = torch.where(zero, 0.0, 1 / safe)
    pull = angles @ (lengths * p)  # ⟨u_k, g_0⟩
    alone = eager and len(lengths) > ENUMERATED
    radius = c * (lengths * p * pull).sum().clamp(min=0).sqrt()

    def face(mask: Tensor) -> tuple[Tensor, Tensor]:
        x, y = (_solved_alone if alone else _solved)(angles, mask, inverse, pull)
        a, b = x * inverse, y * inverse
        total = a.sum(-1, keepdim=True)
        a = a / total
        across = b - b.sum(-1, keepdim=True) * a
        q = (((across * lengths) @ angles) * across * lengths).sum(-1, keepdim=True)
        room = total * (radius**2 - q)
        exists = room > 0
        step = across / torch.where(exists, room, 1.0).sqrt()
        return torch.where(exists, a - step, -across), exists[:, 0]  # (4)

    def value(w: Tensor) -> Tensor:
        v = w * lengths
        return v @ pull + radius * ((v @ angles) * v).sum(-1).clamp(min=0).sqrt()

    def slope(w: Tensor) -> Tensor:
        v = w * lengths
        g = angles @ v
        return lengths * (pull + radius * g / (v @ g).clamp(min=CANCELLED**2).sqrt())

    w = _from_face_to_face(face, value, slope, zero, eager) if alone else _minimum(face, value, slope, zero)
    w = torch.where(zero.any() & ~(value(w) <= 0), zero / zero.sum().clamp(min=1), w)
    v = w * lengths
    norm = (v @ angles @ v).clamp(min=0).sqrt()
    factor = torch.where(norm > CANCELLED, radius / torch.where(norm > CANCELLED, norm, 1.0), 0.0)
    return p + factor * w, w


def _solved(matrix: Tensor, mask: Tensor, *sides: Tensor) -> list[Tensor]:
    """Solutions on each face, 0 outside, [F, K] for each right side [K]."""
    inside = mask[:, :, None] * mask[:, None, :]
    eye = torch.eye(len(matrix), dtype=matrix.dtype, device=matrix.device)
    system = inside * matrix + eye * (1 - mask + RIDGE)[:, None, :]
    right = torch.stack([mask * side for side in sides], dim=-1)
    return list(torch.linalg.solve_ex(system, right).result.unbind(-1))


def _solved_alone(matrix: Tensor, mask: Tensor, *sides: Tensor) -> list[Tensor]:
    """The same on one face, by its own numbers alone."""
    at = mask[0].nonzero()[:, 0]
    system = matrix[at[:, None], at] + RIDGE * torch.eye(len(at), dtype=matrix.dtype, device=matrix.device)
    found = torch.linalg.solve_ex(system, torch.stack([side[at] for side in sides], dim=-1)).result
    whole = matrix.new_zeros(1, len(matrix), len(sides))
    whole[0, at] = found
    return list(whole.unbind(-1))


def _minimum(face: Face, value: Callable[[Tensor], Tensor], slope: Callable[[Tensor], Tensor], zero: Tensor) -> Tensor:
    """w [K], without weight on zero vectors."""
    if len(zero) <= ENUMERATED:
        return _best_face(face, value, zero)
    return _from_face_to_face(face, value, slope, zero)


def _best_face(face: Face, value: Callable[[Tensor], Tensor], zero: Tensor) -> Tensor:
    """The best of all faces, of equally good ones the largest. A face's minimum outside the simplex is brought back to
    it, which makes it no minimum, but a feasible point that wins only if it is as good."""
    count = len(zero)
    faces = sorted(range(1, 2**count), key=lambda bits: (-bits.bit_count(), bits))
    table = np.array([[float(bits >> k & 1) for k in range(count)] for bits in faces])
    mask = torch.from_numpy(table).to(zero.device)  # torch.tensor with a device is refused inside a transform
    points, _ = face(mask)
    inside = torch.where((mask > 0) & ~zero, points, 0.0).clamp(min=0)
    total = inside.sum(-1, keepdim=True)
    usable = (total > 0) & (total < torch.inf)
    w = torch.where(usable, inside / torch.where(usable, total, 1.0), 0.0)
    values = torch.where(usable[:, 0], value(w), torch.inf)
    least = values.amin()
    good = values <= least + 1e-14 * least.abs()
    rank = torch.arange(len(faces), 0, -1, dtype=torch.float64, device=zero.device)
    return w.index_select(0, torch.where(good, rank, 0.0).argmax()[None])[0]


def _from_face_to_face(
    face: Face,
    value: Callable[[Tensor], Tensor],
    slope: Callable[[Tensor], Tensor],
    zero: Tensor,
    eager: bool = False,
) -> Tensor:
    """From the best corner: to the minimum of the face, or to where the way there leaves the simplex, which drops a
    vector; at the minimum, the vector of the steepest slope comes in."""
    count = len(zero)
    corners = torch.eye(count, dtype=torch.float64, device=zero.device)
    start = torch.where(zero, torch.inf, value(corners)).argmin()
    w = mask = corners.index_select(0, start[None])[0]
    for _ in range((10 if eager else 1) * STEPS * count):
        w, mask, changed = _step(face, slope, zero, w, mask)
        if eager and not changed:
            break
    return w


def _step(
    face: Face, slope: Callable[[Tensor], Tensor], zero: Tensor, w: Tensor, mask: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """The next w and mask, both [K], and whether a vector came in or was dropped."""
    numbers = torch.arange(len(w), device=w.device)
    (point,), (exists,) = face(mask[None])
    way = torch.where(exists, point - w, point) * mask
    length = torch.where((mask > 0) & (way < 0), w / torch.where(way < 0, -way, 1.0), torch.inf)
    first = length.amin()
    leaves = torch.where(exists, first < 1, first < torch.inf)
    w = w + torch.where(leaves, first, torch.where(exists, 1.0, 0.0)) * way
    dropped = leaves & (numbers == length.argmin())
    w = torch.where(dropped, 0.0, w).clamp(min=0)
    w = w / w.sum()
    rise = slope(w)
    level = (rise * w).sum()
    rise = torch.where((mask > 0) | zero, torch.inf, rise - level)
    enters = ~leaves & (rise.amin() < -1e-14 * level.abs()) & (numbers == rise.argmin())
    return w, torch.where(dropped, 0.0, torch.where(enters, 1.0, mask)), (dropped | enters).any()
