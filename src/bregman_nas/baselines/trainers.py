"""Training a given architecture by Adam: the readable way, and the fast one with the same result.

The fast one computes with the rows that exist alone: small dense matrices, states stored
[features, batch], gradients written out by hand. The tests hold the two together.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.optim import Adam

from bregman_nas.baselines.architectures import Architecture
from bregman_nas.networks import ResidualMLP
from bregman_nas.search.core.textbook import AutogradTrainer
from bregman_nas.search.core.trainer import FusedTrainer, with_moments

#: Images at a time where nothing is trained.
BATCH = 128

#: Called after each step with the weights, the skips if there are any, and the learning rate.
AfterStep = Callable[[list[Tensor], Tensor | None, float], None]


class ReferenceTrainer(AutogradTrainer):
    """The full module, autograd, and torch's Adam. Rows that do not exist are zero, and stay so.

    Args:
        network: at its start, see `architectures.start_`; changed in place.
        architecture: of the network.
        adam: of its parameters.
        after_step: acts on the parameters after each step.
    """

    network: ResidualMLP

    def __init__(
        self, network: ResidualMLP, architecture: Architecture, adam: Adam, after_step: AfterStep
    ) -> None:
        super().__init__(network, adam, functional.mse_loss)
        if network.skips is not None and architecture.skips is not None:
            allowed = architecture.skips.to(network.skips.device)
            network.skips.register_hook(lambda gradient: gradient * allowed)
        weights = [layer.weight.detach() for layer in network.layers]
        skips = None if network.skips is None else network.skips.detach()
        adam.register_step_post_hook(
            lambda *_: after_step(weights, skips, adam.param_groups[0]["lr"])
        )

    @torch.no_grad()
    def look(self, inputs: Tensor) -> tuple[Tensor, list[int]]:
        """The outputs [n, width]; for each layer the rows whose ReLU is positive for some image."""
        states, rectified = self.network.states(inputs)
        return states[-1], [int((y > 0).any(0).sum()) for y in rectified]

    @torch.no_grad()
    def restrict(self, architecture: Architecture) -> None:
        """Take all other rows out, and go on with the rest where it stands; skips stay allowed."""
        masks = zip(architecture.rows, architecture.carrying(), strict=True)
        for (rows, columns), layer in zip(masks, self.network.layers, strict=True):
            for parameter in (layer.weight, layer.bias):
                state = self.optimizer.state[parameter]
                for values in (parameter, state["exp_avg"], state["exp_avg_sq"]):
                    values[~rows] = 0
                    if values.ndim == 2:
                        values[:, ~columns] = 0


class FastTrainer(FusedTrainer):
    """The same with small matrices; the arguments are those of `ReferenceTrainer`.

    With skips each layer reads states of full width, for the skips bring something to every place.
    Without, it reads the rows of the layer before alone. The last state has full width in any case:
    it is the output. Entries of a state that nothing reaches are 0, and so are the weights' entries
    that would read them. There is no penalty in a step, so that v is the parameter itself.
    """

    _state = ("rows", "steps", "variables")

    def __init__(
        self, network: ResidualMLP, architecture: Architecture, adam: Adam, after_step: AfterStep
    ) -> None:
        super().__init__(network, adam.defaults)
        self.after_step = after_step
        self.depth, self.width = architecture.rows.shape
        weights = [with_moments(layer.weight.detach()) for layer in network.layers]
        biases = [with_moments(layer.bias.detach()) for layer in network.layers]
        self._has_skips = network.skips is not None
        skips = weights[0].new_zeros(self.depth, self.depth)
        if network.skips is not None:
            skips += network.skips.detach()
        self.allowed = None if architecture.skips is None else architecture.skips.to(skips)
        self._use(architecture, [*weights, *biases, with_moments(skips)])

    def _use(self, architecture: Architecture, full: list[Tensor]) -> None:
        """Go on with the rows that exist, of full weights and biases, and with the skips."""
        self.rows = [rows.nonzero()[:, 0].to(full[0].device) for rows in architecture.rows]
        #: Weights, biases and skips, each [3, ...] with its moments.
        self.variables = [
            torch.stack([part[places] for part in stack])
            for stack, places in zip(full, self._places(), strict=True)
        ]
        self._prepare()

    def _prepare(self) -> None:
        self._train(self.variables)

    def _move(self, learning_rate: float) -> None:
        super()._move(learning_rate)
        skips = self._v[-1] if self._has_skips else None
        self.after_step(self._v[: self.depth], skips, learning_rate)

    @torch.no_grad()
    def look(self, inputs: Tensor) -> tuple[Tensor, list[int]]:
        outputs = torch.empty_like(inputs)
        fires = [torch.zeros_like(rows, dtype=torch.bool) for rows in self.rows]
        for images, out in zip(inputs.split(BATCH), outputs.split(BATCH), strict=True):
            states, _, relu = self._forward(((images - self.input_mean) / self.input_std).T)
            out.copy_(states[-1].T)
            for seen, y in zip(fires, relu, strict=True):
                seen |= (y > 0).any(1)
        return outputs, [int(rows.sum()) for rows in fires]

    def _forward(self, x: Tensor) -> tuple[Tensor, list[Tensor], list[Tensor]]:
        """All states, what each layer reads of them, and its ReLU before skips.

        Of standardised inputs x, [width, batch]: x(0) ... x(depth), [depth + 1, width, batch], of
        which without skips only the first and the last are used; for each layer [columns, batch],
        and [rows, batch].
        """
        states, _ = self._memory(x)
        flat, tau = states.flatten(1), self._v[-1]
        states[0] = x
        read: list[Tensor] = []
        relu: list[Tensor] = []
        for l in range(self.depth):
            read.append(states[l] if self._has_skips or l == 0 else relu[-1])
            bias = self._v[self.depth + l][:, None]
            relu.append(torch.addmm(bias, self._v[l], read[l]).relu_())
            if self._has_skips:
                torch.mv(flat[: l + 1].T, tau[l, : l + 1], out=flat[l + 1])
                states[l + 1].index_add_(0, self.rows[l], relu[l])
        if not self._has_skips:
            states[-1].zero_().index_add_(0, self.rows[-1], relu[-1])
        return states, read, relu

    def _loss_and_gradients(self, x: Tensor, targets: Tensor) -> Tensor:
        states, read, relu = self._forward(x.T)
        # outer[l] is the gradient of x(l), inner that before the ReLU of the layer above.
        _, outer = self._memory(x.T)
        flat_states, flat_outer = states.flatten(1), outer.flatten(1)
        weights, tau, gradients = self._v, self._v[-1], self._gradients
        difference = torch.sub(states[-1], targets.T, out=outer[-1])
        loss = difference.square().mean()
        difference.mul_(2 / difference.numel())
        inner = difference[:0]
        for l in range(self.depth - 1, -1, -1):
            if self._has_skips and l < self.depth - 1:
                torch.mv(flat_outer[l + 2 :].T, tau[l + 1 :, l + 1], out=flat_outer[l + 1])
                outer[l + 1].addmm_(weights[l + 1].T, inner)
            if self._has_skips:
                torch.mv(flat_states[: l + 1], flat_outer[l + 1], out=gradients[-1][l, : l + 1])
            if self._has_skips or l == self.depth - 1:
                gradient = outer[l + 1].index_select(0, self.rows[l])
            else:
                gradient = torch.mm(weights[l + 1].T, inner)
            inner = torch.ops.aten.threshold_backward(gradient, relu[l], 0)
            torch.mm(inner, read[l].T, out=gradients[l])
            torch.sum(inner, dim=1, out=gradients[self.depth + l])
        if self.allowed is not None:
            gradients[-1].mul_(self.allowed)
        return loss

    def _places(self) -> list[tuple[Any, ...]]:
        """Where the weights, biases and skips that exist are among all."""
        every = torch.arange(self.width, device=self.rows[0].device)
        columns = [every, *([every] * self.depth if self._has_skips else self.rows)]
        weights = [(..., rows[:, None], c) for rows, c in zip(self.rows, columns, strict=False)]
        return [*weights, *((..., rows) for rows in self.rows), (...,)]

    def _full(self) -> list[Tensor]:
        """Weights, biases and skips with their moments, zero where no row exists."""
        *narrow, skips = self.variables
        full = [stack.new_zeros(3, *[self.width] * (stack.ndim - 1)) for stack in narrow]
        for wide, places, stack in zip(full, self._places(), narrow, strict=False):
            wide[places] = stack
        return [*full, skips]

    def full_parameters(self) -> dict[str, Tensor]:
        *values, skips = (stack[0] for stack in self._full())
        full = {"skips": skips} if self._has_skips else {}
        for l in range(self.depth):
            full[f"layers.{l}.weight"] = values[l]
            full[f"layers.{l}.bias"] = values[self.depth + l]
        return full

    def restrict(self, architecture: Architecture) -> None:
        full = self._full()
        for weight, columns in zip(full, architecture.carrying(), strict=False):
            weight[:, :, ~columns] = 0
        self._use(architecture, full)
