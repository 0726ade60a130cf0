"""Triton kernels of the masked LSTM of a population: what `recurrence.py` computes, all days in one launch.

A program follows some sequences of one network through all days, hidden state and cell in registers; the
weights stay in shared memory where they fit, else every day brings them from the caches. Products are of
bfloat16 halves, x = high + low, high high + high low + low high on tensor cores: over 63 days the gradient is
1e-5 off that of float64, against 5e-4 with one product of TF32, at half the instructions of three of those.

For the way back, cells and gates are stored in float32, 20 H bytes a sequence and day. Computing the gates
again would repeat the products of the way there to save 16 of them, and half precision loses 1 - g of an open
gate. The way back follows the days in reverse and stores the slopes of the gates. That of the weights is no
recurrence but a product over sequences and days, in a kernel of its own: its sums need no registers of the
other, and days go side by side. It leaves a few parts that are summed in a fixed order. Nothing is added by
atomics, and no number depends on how many members there are: one seed, the same bytes.

The one module that imports Triton, which PyTorch's wheels for CUDA bring along.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.autograd.function import once_differentiable

from qn_env.autograd import Context

# The interpreter multiplies no bfloat16: there each half is a float32 of as few bits.
INTERPRETED = tl.constexpr(triton.knobs.runtime.interpret)
# The slope of the weights: days in one part of the sum, rows of its tiles, sequences in one product.
CHUNK, ROWS, SEQUENCES = 16, 128, 32


def recurrence(
    inputs: Tensor, weights: Tensor, mask: Tensor, hidden: Tensor, cell: Tensor
) -> tuple[Tensor, Tensor]:
    """Arguments and what comes back are those of `agents.lstm.recurrence.recurrence`; float32 alone."""
    states, last = _Fused.apply(inputs, weights, mask, hidden, cell)
    return states, last


def tiles(width: int) -> tuple[int, int]:
    """Powers of two, at least 16, that hold `width` units: one, or two where these are fewer units together.

    >>> tiles(20), tiles(40), tiles(80), tiles(160)
    ((32, 0), (32, 16), (64, 16), (128, 32))
    """
    whole = max(triton.next_power_of_2(width), 16)
    head = whole // 2
    tail = max(triton.next_power_of_2(max(width - head, 1)), 16)
    return (head, tail) if head >= 16 and head + tail < whole else (whole, 0)


class _Fused(torch.autograd.Function):
    """Allocates and launches; sizes alone decide what: a CUDA graph can hold it once it is compiled."""

    @staticmethod
    def forward(
        ctx: Context, inputs: Tensor, weights: Tensor, mask: Tensor, hidden: Tensor, cell: Tensor
    ) -> tuple[Tensor, Tensor]:
        L, K, F, B = inputs.shape
        H = mask.shape[1]
        inputs, mask, hidden, cell = (part.contiguous() for part in (inputs, mask, hidden, cell))
        padded, sizes = _pad(weights, H, F), _sizes(H, F)
        states, cells = (inputs.new_empty(L + 1, K, H, B) for _ in range(2))
        gates = inputs.new_empty(L, K, 4 * H, B)
        grid = (triton.cdiv(B, sizes["BLOCK"]), K)
        _forward[grid](inputs, padded, mask, hidden, cell, states, cells, gates, L, K, B, H, F, **sizes)
        ctx.save_for_backward(inputs, weights, padded, mask, states, cells, gates)
        last = cells[L].clone()
        ctx.mark_non_differentiable(last)
        return states[1:], last

    @staticmethod
    @once_differentiable
    def backward(ctx: Context, gradient: Tensor, _last: Tensor) -> tuple[Tensor | None, ...]:
        inputs, weights, padded, mask, states, cells, gates = ctx.saved_tensors
        L, K, F, B = inputs.shape
        H = mask.shape[1]
        sizes, d_gates = _sizes(H, F), torch.empty_like(gates)
        grid = (triton.cdiv(B, sizes["BLOCK"]), K)
        _backward[grid](gradient.contiguous(), padded, mask, cells, gates, d_gates, L, K, B, H, **sizes)
        d_inputs, d_weights = None, None
        if ctx.needs_input_grad[0]:
            to_inputs = weights[:, :, H:-1].mT
            d_inputs = torch.empty_like(inputs)
            for t in range(L):
                torch.bmm(to_inputs, d_gates[t], out=d_inputs[t])
        if ctx.needs_input_grad[1]:
            chunks, width = triton.cdiv(L, CHUNK), H + F + 1
            columns = 32 if width <= 32 else 64
            parts = inputs.new_empty(chunks, K, 4 * H, width)
            around = (triton.cdiv(4 * H, ROWS) * triton.cdiv(width, columns), K, chunks)
            sizes = {"CHUNK": CHUNK, "ROWS": ROWS, "COLUMNS": columns, "SEQUENCES": SEQUENCES}
            _slope_of_weights[around](
                d_gates,
                states,
                mask,
                inputs,
                parts,
                L,
                K,
                B,
                H,
                F,
                **sizes,
                num_warps=4,
                enable_fp_fusion=True,
            )
            d_weights = parts.sum(0)
        return d_inputs, d_weights, None, None, None


def _sizes(H: int, F: int) -> dict[str, int]:
    """What the kernels of both ways are compiled for: tiles of units and inputs, sequences, warps."""
    head, tail = tiles(H)
    units = head + tail
    return {
        "HEAD": head,
        "TAIL": tail,
        "INPUTS": max(triton.next_power_of_2(F + 1), 16),
        "BLOCK": 16 if units <= 32 else 32,
        "KEPT": units <= 48,  # weights in shared memory: 54 KB with up to 15 inputs, room for more programs
        "num_warps": 2 if units <= 32 else 4 if units <= 96 else 8,
        "num_stages": 1,
        "enable_fp_fusion": True,  # what Triton does by itself changes with its version
    }


def _pad(weights: Tensor, H: int, F: int) -> Tensor:
    """[K, 2, 4, units, units + inputs] halves, zeros around: no masks, and addresses for wide loads."""
    sizes = _sizes(H, F)
    units = sizes["HEAD"] + sizes["TAIL"]
    gates = weights.unflatten(1, (4, H))
    padded = weights.new_zeros(len(weights), 2, 4, units, units + sizes["INPUTS"], dtype=torch.bfloat16)
    for half in padded.unbind(1):
        half[:, :, :H, :H] = gates[..., :H]
        half[:, :, :H, units : units + F + 1] = gates[..., H:]
        gates = gates - gates.bfloat16()
    return padded


@triton.jit
def _forward(
    inputs,
    weights,
    mask,
    hidden,
    cell,
    states,
    cells,
    gates,
    L,
    K,
    B,
    H: tl.constexpr,
    F: tl.constexpr,
    HEAD: tl.constexpr,
    TAIL: tl.constexpr,
    INPUTS: tl.constexpr,
    BLOCK: tl.constexpr,
    KEPT: tl.constexpr,
):
    """Fill states and cells [L + 1, K, H, B], the first day's too, and gates [L, K, 4 H, B]."""
    UNITS: tl.constexpr = HEAD + TAIL
    WIDTH: tl.constexpr = UNITS + INPUTS
    k = tl.cast(tl.program_id(1), tl.int64)
    b = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    of_gate = H * B
    mine, of_day = k * of_gate, tl.cast(K, tl.int64) * of_gate
    weights += k * (8 * UNITS * WIDTH)
    inputs += k * (F * B)
    gates += 4 * mine
    states += mine
    cells += mine

    head_at, head_there = _units(0, HEAD, b, B, H)
    head_mask = tl.load(mask + mine + head_at, mask=head_there, other=0.0)
    head = tl.load(hidden + mine + head_at, mask=head_there, other=0.0)
    head_cell = tl.load(cell + mine + head_at, mask=head_there, other=0.0)
    tl.store(states + head_at, head, mask=head_there)
    tl.store(cells + head_at, head_cell, mask=head_there)
    if TAIL > 0:
        tail_at, tail_there = _units(HEAD, TAIL, b, B, H)
        tail_mask = tl.load(mask + mine + tail_at, mask=tail_there, other=0.0)
        tail = tl.load(hidden + mine + tail_at, mask=tail_there, other=0.0)
        tail_cell = tl.load(cell + mine + tail_at, mask=tail_there, other=0.0)
        tl.store(states + tail_at, tail, mask=tail_there)
        tl.store(cells + tail_at, tail_cell, mask=tail_there)
    head_of_inputs = _four(weights, 0, UNITS, HEAD, INPUTS, UNITS, WIDTH, KEPT)
    head_of_head = _four(weights, 0, 0, HEAD, HEAD, UNITS, WIDTH, KEPT)
    if TAIL > 0:
        head_of_tail = _four(weights, 0, HEAD, HEAD, TAIL, UNITS, WIDTH, KEPT)
        tail_of_inputs = _four(weights, HEAD, UNITS, TAIL, INPUTS, UNITS, WIDTH, KEPT)
        tail_of_head = _four(weights, HEAD, 0, TAIL, HEAD, UNITS, WIDTH, KEPT)
        tail_of_tail = _four(weights, HEAD, HEAD, TAIL, TAIL, UNITS, WIDTH, KEPT)

    following = _inputs(inputs, b, B, F, INPUTS)
    for t in range(L):
        x = _halves(following)
        tomorrow = tl.cast(tl.minimum(t + 1, L - 1), tl.int64) * K * (F * B)
        following = _inputs(inputs + tomorrow, b, B, F, INPUTS)  # on their way while the day is computed
        states += of_day
        cells += of_day
        seen = _halves(head * head_mask)
        a, i, f, o = _four_dots(head_of_inputs, x, None, None, None, None, HEAD, INPUTS, UNITS, WIDTH, KEPT)
        a, i, f, o = _four_dots(head_of_head, seen, a, i, f, o, HEAD, HEAD, UNITS, WIDTH, KEPT)
        if TAIL > 0:
            seen_tail = _halves(tail * tail_mask)
            a, i, f, o = _four_dots(head_of_tail, seen_tail, a, i, f, o, HEAD, TAIL, UNITS, WIDTH, KEPT)
        head, head_cell = _live(a, i, f, o, head_cell, gates, states, cells, head_at, head_there, of_gate)
        if TAIL > 0:
            a, i, f, o = _four_dots(
                tail_of_inputs, x, None, None, None, None, TAIL, INPUTS, UNITS, WIDTH, KEPT
            )
            a, i, f, o = _four_dots(tail_of_head, seen, a, i, f, o, TAIL, HEAD, UNITS, WIDTH, KEPT)
            a, i, f, o = _four_dots(tail_of_tail, seen_tail, a, i, f, o, TAIL, TAIL, UNITS, WIDTH, KEPT)
            tail, tail_cell = _live(a, i, f, o, tail_cell, gates, states, cells, tail_at, tail_there, of_gate)
        gates += 4 * of_day


@triton.jit
def _backward(
    gradient,
    weights,
    mask,
    cells,
    gates,
    d_gates,
    L,
    K,
    B,
    H: tl.constexpr,
    HEAD: tl.constexpr,
    TAIL: tl.constexpr,
    INPUTS: tl.constexpr,
    BLOCK: tl.constexpr,
    KEPT: tl.constexpr,
):
    """Fill the slopes of the gates [L, K, 4 H, B] before their functions, from that of the states."""
    UNITS: tl.constexpr = HEAD + TAIL
    WIDTH: tl.constexpr = UNITS + INPUTS
    k = tl.cast(tl.program_id(1), tl.int64)
    b = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    of_gate = H * B
    mine, of_day = k * of_gate, tl.cast(K, tl.int64) * of_gate
    weights += k * (8 * UNITS * WIDTH)
    gradient += mine + L * of_day
    cells += mine + L * of_day
    gates += 4 * (mine + L * of_day)
    d_gates += 4 * (mine + L * of_day)

    head_at, head_there = _units(0, HEAD, b, B, H)
    head_mask = tl.load(mask + mine + head_at, mask=head_there, other=0.0)
    head_cell = tl.load(cells + head_at, mask=head_there, other=0.0)
    d_head = tl.zeros([HEAD, BLOCK], tl.float32)
    d_head_cell = tl.zeros([HEAD, BLOCK], tl.float32)
    if TAIL > 0:
        tail_at, tail_there = _units(HEAD, TAIL, b, B, H)
        tail_mask = tl.load(mask + mine + tail_at, mask=tail_there, other=0.0)
        tail_cell = tl.load(cells + tail_at, mask=tail_there, other=0.0)
        d_tail = tl.zeros([TAIL, BLOCK], tl.float32)
        d_tail_cell = tl.zeros([TAIL, BLOCK], tl.float32)
    head_of_head = _four(weights, 0, 0, HEAD, HEAD, UNITS, WIDTH, KEPT)
    if TAIL > 0:
        head_of_tail = _four(weights, 0, HEAD, HEAD, TAIL, UNITS, WIDTH, KEPT)
        tail_of_head = _four(weights, HEAD, 0, TAIL, HEAD, UNITS, WIDTH, KEPT)
        tail_of_tail = _four(weights, HEAD, HEAD, TAIL, TAIL, UNITS, WIDTH, KEPT)

    for _ in range(L):
        gradient -= of_day
        cells -= of_day
        gates -= 4 * of_day
        d_gates -= 4 * of_day
        a, i, f, o, d_head_cell, head_cell = _slopes(
            d_head, d_head_cell, head_cell, gradient, gates, cells, d_gates, head_at, head_there, of_gate
        )
        d_head = _earlier(head_of_head, a, i, f, o, None, HEAD, HEAD, UNITS, WIDTH, KEPT)
        if TAIL > 0:
            by_head = _earlier(head_of_tail, a, i, f, o, None, HEAD, TAIL, UNITS, WIDTH, KEPT)
            a, i, f, o, d_tail_cell, tail_cell = _slopes(
                d_tail, d_tail_cell, tail_cell, gradient, gates, cells, d_gates, tail_at, tail_there, of_gate
            )
            d_head = _earlier(tail_of_head, a, i, f, o, d_head, TAIL, HEAD, UNITS, WIDTH, KEPT)
            d_tail = _earlier(tail_of_tail, a, i, f, o, by_head, TAIL, TAIL, UNITS, WIDTH, KEPT) * tail_mask
        d_head *= head_mask


@triton.jit
def _slope_of_weights(
    d_gates,
    states,
    mask,
    inputs,
    parts,
    L,
    K,
    B,
    H: tl.constexpr,
    F: tl.constexpr,
    CHUNK: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
    SEQUENCES: tl.constexpr,
):
    """Fill parts [chunks, K, 4 H, H + F + 1]: sums over some days and all sequences, a tile each program."""
    ACROSS: tl.constexpr = (H + F + COLUMNS) // COLUMNS
    tile, k, chunk = tl.program_id(0), tl.cast(tl.program_id(1), tl.int64), tl.program_id(2)
    row = (tile // ACROSS) * ROWS + tl.arange(0, ROWS)
    column = (tile % ACROSS) * COLUMNS + tl.arange(0, COLUMNS)
    is_state, is_input = column < H, (column >= H) & (column < H + F)
    blocks = tl.cdiv(B, SEQUENCES)
    sums = tl.zeros([ROWS, COLUMNS], tl.float32)
    for n in range(chunk * CHUNK * blocks, min((chunk + 1) * CHUNK, L) * blocks):
        member = tl.cast(n // blocks, tl.int64) * K + k
        b = (n % blocks) * SEQUENCES + tl.arange(0, SEQUENCES)
        slope = tl.load(
            d_gates + member * (4 * H * B) + row[:, None] * B + b[None, :],
            mask=(row < 4 * H)[:, None] & (b < B)[None, :],
            other=0.0,
        )
        there, at = is_state[None, :] & (b < B)[:, None], column[None, :] * B + b[:, None]
        state = tl.load(states + member * (H * B) + at, mask=there, other=0.0)
        kept = tl.load(mask + k * (H * B) + at, mask=there, other=0.0)
        there = is_input[None, :] & (b < B)[:, None]
        given = tl.load(inputs + member * (F * B) + at - H * B, mask=there, other=0.0)
        known = tl.where((column == H + F)[None, :], 1.0, state * kept + given)
        sums = _dot(_halves(slope), _halves(known), sums)
    there = (row < 4 * H)[:, None] & (column <= H + F)[None, :]
    parts += (tl.cast(chunk, tl.int64) * K + k) * (4 * H * (H + F + 1))
    tl.store(parts + row[:, None] * (H + F + 1) + column[None, :], sums, mask=there)


@triton.jit
def _live(a, i, f, o, cell, gates, states, cells, at, there, of_gate):
    """Hidden state and cell after a day, stored with the gates that made them."""
    a, i, f, o = _tanh(a), _sigmoid(i), _sigmoid(f), _sigmoid(o)
    cell = f * cell + i * a
    state = o * _tanh(cell)
    tl.store(gates + at, a, mask=there)
    tl.store(gates + of_gate + at, i, mask=there)
    tl.store(gates + 2 * of_gate + at, f, mask=there)
    tl.store(gates + 3 * of_gate + at, o, mask=there)
    tl.store(cells + at, cell, mask=there)
    tl.store(states + at, state, mask=there)
    return state, cell


@triton.jit
def _slopes(d_state, d_cell, cell, gradient, gates, cells, d_gates, at, there, of_gate):
    """Slopes of a day's gates, in halves, those of the cell before it, and that cell."""
    a = tl.load(gates + at, mask=there, other=0.0)
    i = tl.load(gates + of_gate + at, mask=there, other=0.0)
    f = tl.load(gates + 2 * of_gate + at, mask=there, other=0.0)
    o = tl.load(gates + 3 * of_gate + at, mask=there, other=0.0)
    before = tl.load(cells + at, mask=there, other=0.0)
    d_state += tl.load(gradient + at, mask=there, other=0.0)
    tanh = _tanh(cell)
    d_cell += d_state * o * (1.0 - tanh * tanh)
    d_a = d_cell * i * (1.0 - a * a)
    d_i = d_cell * a * i * (1.0 - i)
    d_f = d_cell * before * f * (1.0 - f)
    d_o = d_state * tanh * o * (1.0 - o)
    tl.store(d_gates + at, d_a, mask=there)
    tl.store(d_gates + of_gate + at, d_i, mask=there)
    tl.store(d_gates + 2 * of_gate + at, d_f, mask=there)
    tl.store(d_gates + 3 * of_gate + at, d_o, mask=there)
    return _halves(d_a), _halves(d_i), _halves(d_f), _halves(d_o), d_cell * f, before


@triton.jit
def _four(
    weights,
    row: tl.constexpr,
    column: tl.constexpr,
    N: tl.constexpr,
    M: tl.constexpr,
    UNITS: tl.constexpr,
    WIDTH: tl.constexpr,
    KEPT: tl.constexpr,
):
    """[N, M] of the weights of every gate, from a row and a column on; where they lie, if not kept."""
    weights += row * WIDTH + column
    a, i, f, o = weights, weights + UNITS * WIDTH, weights + 2 * UNITS * WIDTH, weights + 3 * UNITS * WIDTH
    if KEPT:
        kept = (
            _tile(a, N, M, UNITS, WIDTH),
            _tile(i, N, M, UNITS, WIDTH),
            _tile(f, N, M, UNITS, WIDTH),
            _tile(o, N, M, UNITS, WIDTH),
        )
    else:
        kept = a, i, f, o
    return kept


@triton.jit
def _at_hand(
    kept, N: tl.constexpr, M: tl.constexpr, UNITS: tl.constexpr, WIDTH: tl.constexpr, KEPT: tl.constexpr
):
    return kept if KEPT else _tile(kept, N, M, UNITS, WIDTH)


@triton.jit
def _tile(weights, N: tl.constexpr, M: tl.constexpr, UNITS: tl.constexpr, WIDTH: tl.constexpr):
    """[N, M] of weights, in halves."""
    at = tl.arange(0, N)[:, None] * WIDTH + tl.arange(0, M)[None, :]
    return _as_operand(tl.load(weights + at)), _as_operand(tl.load(weights + 4 * UNITS * WIDTH + at))


@triton.jit
def _four_dots(
    four,
    x,
    a,
    i,
    f,
    o,
    N: tl.constexpr,
    M: tl.constexpr,
    UNITS: tl.constexpr,
    WIDTH: tl.constexpr,
    KEPT: tl.constexpr,
):
    """What x [M, BLOCK] adds to the four gates [N, BLOCK]."""
    a = _dot(_at_hand(four[0], N, M, UNITS, WIDTH, KEPT), x, a)
    i = _dot(_at_hand(four[1], N, M, UNITS, WIDTH, KEPT), x, i)
    f = _dot(_at_hand(four[2], N, M, UNITS, WIDTH, KEPT), x, f)
    o = _dot(_at_hand(four[3], N, M, UNITS, WIDTH, KEPT), x, o)
    return a, i, f, o


@triton.jit
def _earlier(
    four,
    a,
    i,
    f,
    o,
    added,
    N: tl.constexpr,
    M: tl.constexpr,
    UNITS: tl.constexpr,
    WIDTH: tl.constexpr,
    KEPT: tl.constexpr,
):
    """What the slopes of four gates [N, BLOCK] add to that of the state before them [M, BLOCK]."""
    added = _dot(_turned(_at_hand(four[0], N, M, UNITS, WIDTH, KEPT)), a, added)
    added = _dot(_turned(_at_hand(four[1], N, M, UNITS, WIDTH, KEPT)), i, added)
    added = _dot(_turned(_at_hand(four[2], N, M, UNITS, WIDTH, KEPT)), f, added)
    return _dot(_turned(_at_hand(four[3], N, M, UNITS, WIDTH, KEPT)), o, added)


@triton.jit
def _turned(halves):
    return tl.trans(halves[0]), tl.trans(halves[1])


@triton.jit
def _inputs(inputs, b, B, F: tl.constexpr, INPUTS: tl.constexpr):
    """[INPUTS, BLOCK] a day's, and a one for the bias."""
    row = tl.arange(0, INPUTS)
    there = (row < F)[:, None] & (b < B)[None, :]
    x = tl.load(inputs + row[:, None] * B + b[None, :], mask=there, other=0.0)
    return tl.where((row == F)[:, None], 1.0, x)


@triton.jit
def _units(first: tl.constexpr, N: tl.constexpr, b, B, H: tl.constexpr):
    """Where N units of the sequences b lie in [H, B], and which of them there are."""
    unit = first + tl.arange(0, N)
    return unit[:, None] * B + b[None, :], (unit < H)[:, None] & (b < B)[None, :]


@triton.jit
def _halves(x):
    """The 8 leading bits of every number, and 8 of what they leave."""
    high = x.to(tl.bfloat16)
    return _as_operand(high), _as_operand((x - high.to(tl.float32)).to(tl.bfloat16))


@triton.jit
def _as_operand(half):
    return half.to(tl.float32) if INTERPRETED else half  # the interpreter multiplies no bfloat16


@triton.jit
def _dot(a, b, added):
    """The product of two matrices in halves, added to another; smallest first."""
    added = tl.dot(a[1], b[0], added, input_precision="ieee")
    added = tl.dot(a[0], b[1], added, input_precision="ieee")
    return tl.dot(a[0], b[0], added, input_precision="ieee")


@triton.jit
def _sigmoid(x):
    return 1.0 / (1.0 + tl.exp(-x))


@triton.jit
def _tanh(x):
    return 2.0 * _sigmoid(2.0 * x) - 1.0  # right to an absolute 1e-7, as in `masked.py`
