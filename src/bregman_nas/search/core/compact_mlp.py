"""Training the multi-layer perceptron without its dead rows: fast, and the same result.

A dead row (see `momentum.dead_rows`) emits exactly 0 and never changes again. Here such rows are
taken out of the weights, biases and optimizer state. Columns that read nothing but zeros go too:
what they hold of v stays what it is, and enters the norm of each row as a constant. Without skips
these are the columns of the dead rows. With skips a dead row's place can carry what skips bring, so
that its columns go only while all skips into that layer are zero; they come back when one of them
switches on. Until then they still count in one place: the gradient of those skips.

Besides, only active rows are multiplied with, the gradients are written out by hand, v moves by one
fused kernel, and states are stored [features, batch], so that picking rows copies whole lines of
memory. The textbook version is `textbook.TextbookTrainer` with `ResidualMLP`; the tests hold the
two together.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from bregman_nas.bregman.optimizers import fused_adam_
from bregman_nas.bregman.regularizers import L1, GroupLasso
from bregman_nas.networks.residual_mlp import ResidualMLP, rectify
from bregman_nas.search.core.momentum import Adam, dead_rows
from bregman_nas.search.core.variable import Variable


@dataclass
class Layer:
    """What is left of one layer, and where the rest is kept.

    Attributes:
        rows: int64 [r], the numbers of the rows that are left.
        columns: int64 [c], the numbers of the columns that are left.
        weight: [r, c].
        bias: [r].
        removed_square: [r], the sum of v squared over the columns taken out.
        full_weight: [d, d], holds the rows and columns that were taken out.
        full_bias: [d], likewise.
        removed_at: int64 [d], the step after which a column was taken out.
    """

    rows: Tensor
    columns: Tensor
    weight: Variable
    bias: Variable
    removed_square: Tensor
    full_weight: Variable
    full_bias: Variable
    removed_at: Tensor

    def write_back(self) -> None:
        """Copy what is left to where the rest is kept."""
        self.weight.write(self.full_weight, (self.rows[:, None], self.columns[None, :]))
        self.bias.write(self.full_bias, (self.rows,))


class CompactMLP(ABC):
    """What both compact trainers share: state, shrinkage step, compaction, restoring.

    Args:
        network: at its start; it is not changed, and its device and type are those of training.
        row_regularizer: of the rows of all weights.
        skip_regularizer: of the skips, if the network has them.
        betas: decay of Adam's moments.
        eps: of Adam's denominator.
        delta: of J_delta.
        correct_first_moment: see `AdaBreg`.
        freeze_inactive_biases: keep the bias of a row as it is while the row is not active.
    """

    def __init__(
        self,
        network: ResidualMLP,
        row_regularizer: GroupLasso,
        skip_regularizer: L1 | None,
        *,
        betas: tuple[float, float],
        eps: float,
        delta: float,
        correct_first_moment: bool,
        freeze_inactive_biases: bool = False,
    ) -> None:
        self.depth = len(network.layers)
        self.width = network.layers[0].in_features
        self.input_mean, self.input_std = network.input_mean, network.input_std
        self.relu_slope = network.relu_slope
        self.freeze_inactive_biases = freeze_inactive_biases
        self.row_regularizer, self.skip_regularizer = row_regularizer, skip_regularizer
        self.betas, self.eps, self.delta = betas, eps, delta
        self.correct_first_moment = correct_first_moment
        self.steps = 0
        self.layers = [
            self._start(layer.weight.detach(), layer.bias.detach()) for layer in network.layers
        ]
        self.skips: Variable | None = None
        if network.skips is not None and skip_regularizer is not None:
            tau = network.skips.detach()
            self.skips = Variable.start(tau / delta + skip_regularizer.subgradient(tau))
        self._threshold = row_regularizer.threshold((self.width, self.width))
        self._prepare()

    def _start(self, weight: Tensor, bias: Tensor) -> Layer:
        v = weight / self.delta + self.row_regularizer.subgradient(weight)
        every = torch.arange(self.width, device=weight.device)
        return Layer(
            rows=every,
            columns=every,
            weight=Variable.start(v),
            bias=Variable.start(bias / self.delta),
            removed_square=v.new_zeros(self.width),
            full_weight=Variable.start(v.clone()),
            full_bias=Variable.start(bias / self.delta),
            removed_at=torch.zeros_like(every),
        )

    # ---------------------------------------------------------------- training

    @torch.no_grad()
    def train_batches(
        self, inputs: Tensor, targets: Tensor, batches: list[Tensor], learning_rate: float
    ) -> float:
        """Make one step for each batch.

        Args:
            inputs: [n, width], not yet standardised.
            targets: [n, width].
            batches: the numbers of the images of each batch, int64.
            learning_rate: eta; it never rises.

        Returns:
            The sum over the batches of their mean squared errors.
        """
        total = torch.zeros((), dtype=torch.float64, device=inputs.device)
        for batch in batches:
            x = inputs.index_select(0, batch).sub_(self.input_mean).div_(self.input_std)
            target = targets.index_select(0, batch)
            total += self._loss_and_gradients(x.T.contiguous(), target.T.contiguous())
            self._update(learning_rate)
        return float(total)

    @torch.no_grad()
    def restore(self, inputs: Tensor) -> Tensor:
        """The output [n, width] of the network as it is now."""
        return torch.cat(
            [
                self._output(((part - self.input_mean) / self.input_std).T.contiguous()).T
                for part in inputs.split(1_000)
            ]
        )

    @abstractmethod
    def _loss_and_gradients(self, x: Tensor, target: Tensor) -> Tensor:
        """Write the gradients; return the mean squared error. All [width, batch]."""

    @abstractmethod
    def _output(self, x: Tensor) -> Tensor:
        """The output [width, n] for standardised inputs [width, n]."""

    def _update(self, learning_rate: float) -> None:
        frozen = self._inactive_biases() if self.freeze_inactive_biases else []
        fused_adam_(
            [variable.v for variable in self._variables],
            self._gradients,
            [variable.exp_avg for variable in self._variables],
            [variable.exp_avg_sq for variable in self._variables],
            self._step_counters,
            lr=learning_rate,
            betas=self.betas,
            eps=self.eps,
            correct_first_moment=self.correct_first_moment,
        )
        for bias, rows, kept in frozen:
            for values, before in zip(bias.tensors(), kept.tensors(), strict=True):
                values[rows] = before
        self.steps += 1
        self._shrink()

    def _inactive_biases(self) -> list[tuple[Variable, Tensor, Variable]]:
        """For each layer its biases, the rows that are not active, and a copy of their biases."""
        frozen = []
        for layer, active in zip(self.layers, self.active, strict=True):
            rows = torch.ones_like(layer.rows, dtype=torch.bool)
            rows[active] = False
            index = rows.nonzero()[:, 0]
            frozen.append((layer.bias, index, layer.bias.select(0, index)))
        return frozen

    def _shrink(self) -> None:
        """The step theta = prox(delta v), for the active rows alone.

        A row of theta is a row of v times its scale. What is scaled are the products with v: they
        have fewer entries than theta.
        """
        self.active: list[Tensor] = []
        self.direction: list[Tensor] = []
        self.scale: list[Tensor] = []
        self.bias: list[Tensor] = []
        for layer in self.layers:
            v = layer.weight.v
            norms = torch.linalg.vector_norm(v, dim=1)
            if len(layer.columns) < self.width:
                norms = norms.square_().add_(layer.removed_square).sqrt_()
            norms.clamp_min_(torch.finfo(v.dtype).tiny)
            scale = self.delta * (1 - self._threshold / norms).clamp_min_(0)
            active = scale.nonzero()[:, 0]
            self.active.append(active)
            self.direction.append(_pick(v, active))
            self.scale.append(_pick(scale, active)[:, None])
            self.bias.append(self.delta * layer.bias.v)
        if self.skips is not None and self.skip_regularizer is not None:
            self.tau = self.skip_regularizer.prox(self.skips.v, self.delta)
            self.tau_values: list[list[float]] = self.tau.tolist()

    def _rectified(self, l: int, x: Tensor) -> Tensor:
        """ReLU(W x + b) of layer l for the state it reads: [columns, batch] to [rows, batch]."""
        bias, active = self.bias[l], self.active[l]
        z = torch.mm(self.direction[l], x)
        if len(active) == len(bias):
            return self._rectify(torch.addcmul(bias[:, None], z, self.scale[l]))
        # A row that is off puts out the same value for every image.
        y = rectify(bias, self.relu_slope)[:, None].repeat(1, x.shape[1])
        on = self._rectify(torch.addcmul(bias[active, None], z, self.scale[l]))
        return y.index_copy_(0, active, on)

    def _rectify(self, z: Tensor) -> Tensor:
        """The nonlinearity, in place."""
        return functional.leaky_relu_(z, self.relu_slope) if self.relu_slope else z.relu_()

    def _through_relu(self, gradient: Tensor, output: Tensor) -> Tensor:
        """The gradient before the nonlinearity, from that after it."""
        if self.relu_slope:
            return torch.where(output > 0, gradient, gradient * self.relu_slope)
        before: Tensor = torch.ops.aten.threshold_backward(gradient, output, 0)
        return before

    def _scaled(self, l: int, gradient: Tensor) -> Tensor:
        """The factor that, multiplied by `direction` transposed, gives W transposed gradient."""
        return _pick(gradient, self.active[l]) * self.scale[l]

    def _prepare(self) -> None:
        """Everything that follows from the state: lists for the kernel, theta."""
        self._variables = [layer.weight for layer in self.layers]
        self._variables += [layer.bias for layer in self.layers]
        self._variables += [self.skips] if self.skips is not None else []
        self._gradients = [torch.zeros_like(variable.v) for variable in self._variables]
        self._step_counters = [
            torch.tensor(float(self.steps), device=variable.v.device)
            for variable in self._variables
        ]
        self._shrink()

    # -------------------------------------------------------------- compaction

    def compact(self, learning_rate: float) -> None:
        """Take out the dead rows, and the columns that read nothing but zeros.

        Args:
            learning_rate: the largest that any later step will have.
        """
        keep = [~dead for dead in self.dead_rows(learning_rate)]
        if self.skips is None:
            # A row goes only together with its column, which must have come to rest too.
            for l in range(self.depth - 1):
                keep[l] |= ~self._columns_at_rest(l + 1, learning_rate)
        for layer, kept in zip(self.layers, keep, strict=True):
            if not kept.all():
                index = kept.nonzero()[:, 0]
                layer.write_back()
                layer.rows = layer.rows[index]
                layer.weight = layer.weight.select(0, index)
                layer.bias = layer.bias.select(0, index)
                layer.removed_square = layer.removed_square[index]
        for l in range(1, self.depth):
            if self.skips is None or not any(self.tau_values[l - 1]):
                self._remove_columns(l, learning_rate)
        self._prepare()

    def _columns_at_rest(self, l: int, learning_rate: float) -> Tensor:
        return self._adam(learning_rate).is_at_rest(*self.layers[l].weight.tensors()).all(0)

    def _remove_columns(self, l: int, learning_rate: float) -> None:
        """Take out the columns of layer l that are at rest and read no row that is left."""
        layer = self.layers[l]
        is_left = torch.zeros(self.width, dtype=torch.bool, device=layer.rows.device)
        is_left[self.layers[l - 1].rows] = True
        kept = is_left[layer.columns] | ~self._columns_at_rest(l, learning_rate)
        if kept.all():
            return
        layer.write_back()
        gone = (~kept).nonzero()[:, 0]
        layer.removed_square += layer.weight.v.index_select(1, gone).square().sum(1)
        layer.removed_at[layer.columns[gone]] = self.steps
        remaining = kept.nonzero()[:, 0]
        layer.weight = layer.weight.select(1, remaining)
        layer.columns = layer.columns[remaining]

    def _bring_columns_back(self, l: int) -> None:
        """Put all columns of layer l back in place."""
        layer = self.layers[l]
        layer.write_back()
        weight = layer.full_weight.select(0, layer.rows)
        absent = torch.ones(self.width, dtype=torch.bool, device=layer.rows.device)
        absent[layer.columns] = False
        # While they were out their gradient was 0: v at rest, the moments decaying.
        steps = torch.where(absent, self.steps - layer.removed_at, 0).to(weight.v.dtype)
        weight.exp_avg *= self.betas[0] ** steps
        weight.exp_avg_sq *= self.betas[1] ** steps
        layer.weight = weight
        layer.columns = torch.arange(self.width, device=layer.rows.device)
        layer.removed_square = torch.zeros_like(layer.removed_square)

    def dead_rows(self, learning_rate: float) -> list[Tensor]:
        """For each layer, of the rows that are left, boolean: is it dead?

        Args:
            learning_rate: the largest that any later step will have.
        """
        adam = self._adam(learning_rate)
        dead = []
        for layer, active, bias in zip(self.layers, self.active, self.bias, strict=True):
            on = torch.zeros_like(layer.rows, dtype=torch.bool)
            on[active] = True
            at_rest = adam.is_at_rest(*layer.weight.tensors()).all(1)
            at_rest &= adam.is_at_rest(*layer.bias.tensors())
            # With a slope every row has a gradient.
            dead.append(dead_rows(on, bias, at_rest & (self.relu_slope == 0)))
        return dead

    def _adam(self, learning_rate: float) -> Adam:
        return Adam(learning_rate, self.betas[0], self.betas[1], self.eps, self.steps)

    # --------------------------------------------------------------- observing

    def active_rows(self) -> Tensor:
        """Boolean [depth, width]: which rows are active."""
        mask = torch.zeros(self.depth, self.width, dtype=torch.bool)
        for l, (layer, active) in enumerate(zip(self.layers, self.active, strict=True)):
            mask[l, layer.rows[active].cpu()] = True
        return mask

    def living_rows(self, learning_rate: float) -> list[int]:
        """For each layer, how many rows are not dead."""
        return [int((~dead).sum()) for dead in self.dead_rows(learning_rate)]

    @torch.no_grad()
    def write_to(self, network: ResidualMLP) -> None:
        """Set the parameters of a full network to those of this one."""
        for layer, module in zip(self.layers, network.layers, strict=True):
            layer.write_back()
            module.weight.copy_(self.row_regularizer.prox(layer.full_weight.v, self.delta))
            module.bias.copy_(self.delta * layer.full_bias.v)
        if self.skips is not None and network.skips is not None:
            network.skips.copy_(self.tau)

    def subgradients(self) -> list[Tensor]:
        """v of the weights in full, each [width, width]."""
        for layer in self.layers:
            layer.write_back()
        return [layer.full_weight.v.clone() for layer in self.layers]

    # ------------------------------------------------------------- checkpoints

    _VARIABLES = ("weight", "bias", "full_weight", "full_bias")
    _TENSORS = ("rows", "columns", "removed_square", "removed_at")

    def state_dict(self) -> dict[str, Any]:
        """Tensors and numbers from which `load_state_dict` continues bit for bit."""
        return {
            "steps": self.steps,
            "skips": list(self.skips.tensors()) if self.skips else None,
            "layers": [
                {name: getattr(layer, name) for name in self._TENSORS}
                | {name: list(getattr(layer, name).tensors()) for name in self._VARIABLES}
                for layer in self.layers
            ],
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from what `state_dict` returned."""
        self.steps = state["steps"]
        self.skips = Variable(*state["skips"]) if state["skips"] else None
        self.layers = [
            Layer(
                **{name: layer[name] for name in self._TENSORS}
                | {name: Variable(*layer[name]) for name in self._VARIABLES}
            )
            for layer in state["layers"]
        ]
        self._prepare()


class CompactAutoencoder(CompactMLP):
    """Without skips: each layer reads the rows that are left of the one before."""

    def _forward(self, x: Tensor) -> list[Tensor]:
        """The input, and of each layer's output the rows that are left; [rows, batch]."""
        outputs = [x]
        for l in range(self.depth):
            outputs.append(self._rectified(l, outputs[-1]))
        return outputs

    def _loss_and_gradients(self, x: Tensor, target: Tensor) -> Tensor:
        outputs = self._forward(x)
        rows = self.layers[-1].rows
        # A row that is not left puts out 0; its error is the target itself.
        difference = target.neg_().index_add_(0, rows, outputs[-1])
        loss = difference.square().mean()
        gradient = difference.index_select(0, rows).mul_(2 / difference.numel())
        for l in range(self.depth - 1, -1, -1):
            gradient = self._through_relu(gradient, outputs[l + 1])
            torch.mm(gradient, outputs[l].T, out=self._gradients[l])
            torch.sum(gradient, dim=1, out=self._gradients[self.depth + l])
            if l > 0:
                gradient = self.direction[l].T @ self._scaled(l, gradient)
        return loss

    def _output(self, x: Tensor) -> Tensor:
        out = torch.zeros_like(x)
        out[self.layers[-1].rows] = self._forward(x)[-1]
        return out


class CompactResidual(CompactMLP):
    """With skips: states keep their full width."""

    def _update(self, learning_rate: float) -> None:
        super()._update(learning_rate)
        back = [
            l
            for l in range(1, self.depth)
            if len(self.layers[l].columns) < self.width and any(self.tau_values[l - 1])
        ]
        for l in back:
            self._bring_columns_back(l)
        if back:
            self._prepare()

    def _forward(self, x: Tensor) -> tuple[Tensor, list[Tensor], list[Tensor]]:
        """All states, what each layer reads of them, and what its ReLU puts out.

        Returns:
            x(0) ... x(depth), [depth + 1, width, batch]; for each layer the state it reads,
            [columns, batch]; and its ReLU, before skips, of the rows that are left, [rows, batch].
        """
        states = self._buffer("states", x)
        states[0] = x
        read, rectified = [], []
        for l, layer in enumerate(self.layers):
            read.append(_pick(states[l], layer.columns))
            y = self._rectified(l, read[l])
            rectified.append(y)
            new = states[l + 1].zero_()
            for i in range(l + 1):
                if self.tau_values[l][i] != 0:
                    new.add_(states[i], alpha=self.tau_values[l][i])
            new.index_add_(0, layer.rows, y)
        return states, read, rectified

    def _loss_and_gradients(self, x: Tensor, target: Tensor) -> Tensor:
        states, read, rectified = self._forward(x)
        gradients = self._buffer("gradients", x).zero_()
        difference = torch.sub(states[-1], target, out=gradients[-1])
        loss = difference.square().mean()
        difference.mul_(2 / difference.numel())
        flat = states.flatten(1)
        for l in range(self.depth - 1, -1, -1):
            outer = gradients[l + 1]
            self._gradients[-1][l, : l + 1] = flat[: l + 1] @ outer.flatten()
            for i in range(1, l + 1):
                if self.tau_values[l][i] != 0:
                    gradients[i].add_(outer, alpha=self.tau_values[l][i])
            layer = self.layers[l]
            inner = self._through_relu(outer.index_select(0, layer.rows), rectified[l])
            torch.mm(inner, read[l].T, out=self._gradients[l])
            torch.sum(inner, dim=1, out=self._gradients[self.depth + l])
            if l > 0:
                scaled = self._scaled(l, inner)
                if len(layer.columns) == self.width:
                    gradients[l].addmm_(self.direction[l].T, scaled)
                else:
                    gradients[l].index_add_(0, layer.columns, self.direction[l].T @ scaled)
                    columns, v = self._removed[l]
                    removed = _pick(v, self.active[l])
                    gradients[l].index_add_(0, columns, removed.T @ scaled)
        return loss

    def _output(self, x: Tensor) -> Tensor:
        return self._forward(x)[0][-1].clone()

    def _buffer(self, name: str, x: Tensor) -> Tensor:
        """Memory for all states of a batch of this size, used again in every step."""
        key = (name, x.shape[1])
        if key not in self._buffers:
            self._buffers[key] = x.new_empty(self.depth + 1, *x.shape)
        return self._buffers[key]

    def _prepare(self) -> None:
        self._buffers: dict[tuple[str, int], Tensor] = {}
        self._removed = [_removed_columns(layer) for layer in self.layers]
        super()._prepare()


def _removed_columns(layer: Layer) -> tuple[Tensor, Tensor]:
    """The numbers of the columns taken out, and v there, [rows, removed]."""
    is_removed = torch.ones(len(layer.full_bias.v), dtype=torch.bool, device=layer.rows.device)
    is_removed[layer.columns] = False
    columns = is_removed.nonzero()[:, 0]
    return columns, layer.full_weight.v[layer.rows[:, None], columns[None, :]]


def _pick(lines: Tensor, index: Tensor) -> Tensor:
    """The given lines of a matrix; all of them without a copy."""
    return lines if len(index) == len(lines) else lines.index_select(0, index)
