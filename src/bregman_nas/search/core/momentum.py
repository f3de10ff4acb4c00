"""When the momentum of Adam has run out, and which rows are dead.

Once a parameter's gradient is exactly 0 for good, its moments only decay, and so do its steps.
From some step on none of them is large enough to change a bit of v.
"""

import math

import torch
from torch import Tensor


def is_at_rest(
    stack: Tensor, learning_rate: float, betas: tuple[float, float], eps: float, steps: int
) -> Tensor:
    """Boolean: the entries of v that no later step will change if all gradients are exactly 0.

    After j more steps with gradient 0 the moments are beta1^j m1 and beta2^j m2, and the step is
    at most

        lr |m1| beta1^j / (1 - beta1^k) / max(sqrt(m2) beta2^(j/2), eps).

    The sum over j > 0 of either bound is a geometric series. An entry is at rest if adding twice
    the smaller sum does not change its floating-point value.

    Args:
        stack: v, m1 and m2, [3, ...].
        learning_rate: the current one; it must never rise later.
        betas: decay of the moments.
        eps: added to the denominator.
        steps: k, the number of steps made so far.
    """
    (v, exp_avg, exp_avg_sq), (beta1, beta2) = stack.unbind(), betas
    if steps == 0:
        return exp_avg == 0
    if beta1 == 0:
        return torch.ones_like(v, dtype=torch.bool)  # no momentum at all
    ratio = beta1 / math.sqrt(beta2) if beta2 > 0 else math.inf
    by_moment = exp_avg_sq.sqrt() * ((1 - ratio) / ratio if ratio < 1 else 0.0)
    by_eps = eps * (1 - beta1) / beta1
    slowest = torch.clamp_min(by_moment, by_eps)
    bound = exp_avg.abs() * (2 * learning_rate / (1 - beta1**steps)) / slowest
    bound = bound.nan_to_num(nan=0.0)  # 0 / 0: no momentum and no denominator
    return (v + bound == v) & (v - bound == v)


def dead_rows(active: Tensor, bias: Tensor, at_rest: Tensor) -> Tensor:
    """Boolean [rows]: off for good, with no positive bias, and no momentum in v or the bias.

    The pre-activation of such a row is its bias, the same for every image and at most zero: ReLU
    makes 0 of it, with derivative 0, so that neither its weights nor its bias ever have a gradient
    again.

    Args:
        active: boolean [rows], whether the row of W is not zero.
        bias: [rows].
        at_rest: boolean [rows], whether the row's entries of v and its bias all are.
    """
    return ~active & (bias <= 0) & at_rest
