"""Choose mu: a few hundred steps at several, and what each has switched on by then."""

import copy
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from bregman_nas.bregman.groups import Rule, architecture, parameter_groups
from bregman_nas.bregman.optimizers import AdaBreg
from bregman_nas.bregman.start import start_sparsely_


class Trial(NamedTuple):
    """What some steps at one mu have led to."""

    mu: float
    groups: int  # all there are
    start: int  # on at the start
    on: int  # on at the end
    loss: float  # mean over the last tenth of the steps


def try_mus(
    network: nn.Module,
    rule: Callable[[float], Rule],
    loss: Callable[[nn.Module, int], Tensor],
    mus: Sequence[float],
    *,
    steps: int = 300,
    density: float = 0.1,
    optimizer: Callable[[list[dict[str, Any]]], torch.optim.Optimizer] = AdaBreg,
) -> list[Trial]:
    """Train copies of a network for some steps, one for each mu, all from the same groups.

    The choice of `mus` is explained in docs/own-network.md.

    Args:
        network: any module; it stays as it is.
        rule: makes the rule of `parameter_groups` from mu.
        loss: of a copy of the network at a step, counted from 0.
        mus: to try.
        steps: for each.
        density: see `start_sparsely_`.
        optimizer: makes it from parameter groups.

    Returns:
        One trial for each mu.
    """
    trials = []
    for mu in mus:
        trained, chosen = copy.deepcopy(network), rule(mu)
        same = torch.Generator().manual_seed(0)
        start_sparsely_(trained, chosen, density=density, generator=same)
        start = torch.cat([on.flatten() for on in architecture(trained, chosen).values()])
        training = optimizer(parameter_groups(trained, chosen))
        losses = []
        for step in range(steps):
            training.zero_grad()
            value = loss(trained, step)
            value.backward()
            training.step()
            losses.append(value.detach())
        end = sum(int(on.sum()) for on in architecture(trained, chosen).values())
        late = float(torch.stack(losses[-max(1, steps // 10) :]).mean())
        trials.append(Trial(mu, len(start), int(start.sum()), end, late))
    return trials
