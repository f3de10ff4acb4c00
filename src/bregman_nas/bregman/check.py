"""The check that what is off can switch on: whether it has a gradient."""

import warnings
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.optimizer import Optimizer

from bregman_nas.bregman.groups import Rule, governed
from bregman_nas.bregman.regularizers import Zero


@torch.no_grad()
def stuck_groups(network: nn.Module, rule: Rule) -> dict[str, Tensor]:
    """Which groups are off and have no gradient now, after `backward`: their v does not move.

    One batch says it for a row before a ReLU, whose output is the same for every input. Otherwise
    ask after several: `warn_of_stuck_groups` does.

    Args:
        network: any module; a parameter without `grad` counts as one without gradient.
        rule: as for `parameter_groups`.

    Returns:
        For each sparse parameter, by name, what `architecture` has: boolean tensors.
    """
    return {
        name: ~regularizer.active(parameter)
        if parameter.grad is None
        else ~(regularizer.active(parameter) | regularizer.active(parameter.grad))
        for name, _, parameter, regularizer in governed(network, rule)
        if parameter.requires_grad and not isinstance(regularizer, Zero)
    }


def warn_of_stuck_groups(
    optimizer: Optimizer, network: nn.Module, rule: Rule, *, steps: int = 20
) -> None:
    """Warn once, after some steps, of groups that are off and have had no gradient in any of them.

    Args:
        optimizer: of the network; its next steps are watched.
        network: any module.
        rule: as for `parameter_groups`.
        steps: how many.

    Warns:
        UserWarning: with the number of such groups of each parameter, and what to do. Later, in
            the optimizer's step number `steps`.
    """
    stuck: dict[str, Tensor] = {}
    made = 0

    def watch(*_: Any) -> None:
        nonlocal made
        made += 1
        for name, now in stuck_groups(network, rule).items():
            stuck[name] = stuck[name] & now if name in stuck else now
        if made == steps:
            handle.remove()
            counts = [
                f"{name}: {int(groups.sum())} of {groups.numel()}"
                for name, groups in stuck.items()
                if groups.any()
            ]
            if counts:
                warnings.warn(
                    f"in {steps} steps these groups were off and had no gradient, so that they "
                    f"cannot switch on: {'; '.join(counts)}. {_ADVICE}",
                    stacklevel=2,
                )

    handle = optimizer.register_step_post_hook(watch)


_ADVICE = (
    "Before a ReLU the bias of a layer, and that of a batch norm between, must be positive: "
    "start_sparsely_ makes them so, if nothing initialises them afterwards. If they are, nothing "
    "that is on reads these groups: raise the density, or use channels in place of kernels; or "
    "they are not part of the loss."
)
