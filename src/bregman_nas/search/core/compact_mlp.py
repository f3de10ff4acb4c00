"""Training the multi-layer perceptron without its dead rows: fast, and the same result.

A dead row (see `momentum.dead_rows`) emits exactly 0 and never changes again. Here such rows are
taken out of the weights, biases and optimizer state. Columns that read nothing but zeros go too:
what they hold of v stays what it is, and enters the norm of each row as a constant. Without skips
these are the columns of the dead rows. With skips a dead row's place can carry what skips bring, so
that its columns go only while all skips into that layer are zero; they come back when one of them
switches on. Until then they still count in one place: the gradient of those skips.

Besides, only active rows are multiplied with, and states are stored [features, batch], so that
picking rows copies whole lines of memory. The textbook version is `textbook.TextbookTrainer` with
`ResidualMLP`; the tests hold the two together.
"""

from abc import abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from bregman_nas.bregman.optimizers import AdaBreg
from bregman_nas.bregman.regularizers import GroupLasso, Regularizer
from bregman_nas.networks.residual_mlp import ResidualMLP, rectify
from bregman_nas.search.core.momentum import dead_rows
from bregman_nas.search.core.trainer import CompactTrainer, Subgradient


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
    weight: Subgradient
    bias: Subgradient
    removed_square: Tensor
    full_weight: Subgradient
    full_bias: Subgradient
    removed_at: Tensor

    def write_back(self) -> None:
        """Copy what is left to where the rest is kept."""
        self.weight.write(self.full_weight, (self.rows[:, None], self.columns[None, :]))
        self.bias.write(self.full_bias, (self.rows,))


class CompactMLP(CompactTrainer):
    """The state of both compact trainers, their shrinkage step and compaction.

    Args:
        network: at its start; it is not changed, and its device and type are those of training.
        optimizer: of its parameters: rows as groups of the weights, free biases, skips if any.
        freeze_inactive_biases: keep the bias of a row as it is while the row is not active.
    """

    _state = ("steps", "skips", "layers")
    _at_once = 1_000

    def __init__(
        self, network: ResidualMLP, optimizer: AdaBreg, *, freeze_inactive_biases: bool = False
    ) -> None:
        super().__init__(network, optimizer)
        self.depth, self.width = len(network.layers), network.layers[0].in_features
        self.relu_slope = network.relu_slope
        self.freeze_inactive_biases = freeze_inactive_biases

        def start(parameter: Tensor) -> Subgradient:
            return Subgradient.start(optimizer.subgradient(parameter))

        every = torch.arange(self.width, device=network.layers[0].weight.device)
        self.layers = []
        for layer in network.layers:
            weight, bias = start(layer.weight), start(layer.bias)
            nothing, never = weight.v.new_zeros(self.width), torch.zeros_like(every)
            self.layers.append(
                Layer(every, every, weight, bias, nothing, weight.copy(), bias.copy(), never)
            )
        self.skips = None if network.skips is None else start(network.skips)
        rows, *_, skips = (group["regularizer"] for group in optimizer.param_groups)
        self._row_regularizer: GroupLasso = rows
        self._skip_regularizer: Regularizer = skips
        self._threshold = self._row_regularizer.threshold((self.width, self.width))
        self._prepare()

    def _loss_and_gradients(self, x: Tensor, targets: Tensor) -> Tensor:
        return self._backward(x.T.contiguous(), targets.T.contiguous())

    @abstractmethod
    def _backward(self, x: Tensor, target: Tensor) -> Tensor:
        """Write the gradients; return the mean squared error. All [width, batch]."""

    def _outputs(self, x: Tensor) -> Tensor:
        return self._output(x.T.contiguous()).T

    @abstractmethod
    def _output(self, x: Tensor) -> Tensor:
        """The output [width, n] for standardised inputs [width, n]."""

    def _move(self, learning_rate: float) -> None:
        kept = []
        if self.freeze_inactive_biases:
            for layer, active in zip(self.layers, self._active, strict=True):
                off = (~_mask(active, len(layer.rows))).nonzero()[:, 0]
                kept.append((layer.bias, off, layer.bias.select(0, off)))
        super()._move(learning_rate)
        for bias, off, before in kept:
            before.write(bias, (off,))

    def _shrink(self) -> None:
        """The step theta = prox(delta v), for the active rows alone.

        A row of theta is a row of v times its scale. What is scaled are the products with v: they
        have fewer entries than theta.
        """
        self._active: list[Tensor] = []
        self._direction: list[Tensor] = []
        self._scale: list[Tensor] = []
        self._bias: list[Tensor] = []
        for layer in self.layers:
            v = layer.weight.v
            norms = torch.linalg.vector_norm(v, dim=1)
            if len(layer.columns) < self.width:
                norms = norms.square_().add_(layer.removed_square).sqrt_()
            norms.clamp_min_(torch.finfo(v.dtype).tiny)
            scale = self.delta * (1 - self._threshold / norms).clamp_min_(0)
            active = scale.nonzero()[:, 0]
            self._active.append(active)
            self._direction.append(_pick(v, active))
            self._scale.append(_pick(scale, active)[:, None])
            self._bias.append(self.delta * layer.bias.v)
        if self.skips is not None:
            self._tau = self._skip_regularizer.prox(self.skips.v, self.delta)
            self._tau_values: list[list[float]] = self._tau.tolist()

    def _rectified(self, l: int, x: Tensor) -> Tensor:
        """ReLU(W x + b) of layer l for the state it reads: [columns, batch] to [rows, batch]."""
        bias, active = self._bias[l], self._active[l]
        z = torch.mm(self._direction[l], x)
        if len(active) == len(bias):
            return self._rectify(torch.addcmul(bias[:, None], z, self._scale[l]))
        # A row that is off puts out the same value for every image.
        y = rectify(bias, self.relu_slope)[:, None].repeat(1, x.shape[1])
        on = self._rectify(torch.addcmul(bias[active, None], z, self._scale[l]))
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
        return _pick(gradient, self._active[l]) * self._scale[l]

    def _prepare(self) -> None:
        trained = [layer.weight for layer in self.layers] + [layer.bias for layer in self.layers]
        self._train(trained if self.skips is None else [*trained, self.skips])

    def compact(self, learning_rate: float) -> None:
        """Take out the dead rows, and the columns that read nothing but zeros."""
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
            if self.skips is None or not any(self._tau_values[l - 1]):
                self._remove_columns(l, learning_rate)
        self._prepare()

    def _columns_at_rest(self, l: int, learning_rate: float) -> Tensor:
        return self._momentum(learning_rate).is_at_rest(*self.layers[l].weight.tensors()).all(0)

    def _remove_columns(self, l: int, learning_rate: float) -> None:
        """Take out the columns of layer l that are at rest and read no row that is left."""
        layer = self.layers[l]
        is_left = _mask(self.layers[l - 1].rows, self.width)
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
        # While they were out their gradient was 0: v at rest, the moments decaying.
        present = _mask(layer.columns, self.width)
        steps = torch.where(present, 0, self.steps - layer.removed_at).to(weight.v.dtype)
        weight.exp_avg *= self.betas[0] ** steps
        weight.exp_avg_sq *= self.betas[1] ** steps
        layer.weight = weight
        layer.columns = torch.arange(self.width, device=layer.rows.device)
        layer.removed_square = torch.zeros_like(layer.removed_square)

    def dead_rows(self, learning_rate: float) -> list[Tensor]:
        """For each layer, of the rows that are left, boolean: is it dead?"""
        momentum = self._momentum(learning_rate)
        dead = []
        for layer, active, bias in zip(self.layers, self._active, self._bias, strict=True):
            at_rest = momentum.is_at_rest(*layer.weight.tensors()).all(1)
            at_rest &= momentum.is_at_rest(*layer.bias.tensors())
            # With a slope every row has a gradient.
            on = _mask(active, len(layer.rows))
            dead.append(dead_rows(on, bias, at_rest & (self.relu_slope == 0)))
        return dead

    def active(self) -> list[Tensor]:
        """See `SparseTrainer`; each [width]."""
        pairs = zip(self.layers, self._active, strict=True)
        return [_mask(layer.rows[active].cpu(), self.width) for layer, active in pairs]

    def living(self, learning_rate: float) -> list[int]:
        """See `SparseTrainer`."""
        return [int((~dead).sum()) for dead in self.dead_rows(learning_rate)]

    @torch.no_grad()
    def full_parameters(self) -> dict[str, Tensor]:
        """See `Trainer`."""
        full = {}
        for l, layer in enumerate(self.layers):
            layer.write_back()
            weight = self._row_regularizer.prox(layer.full_weight.v, self.delta)
            full[f"layers.{l}.weight"] = weight
            full[f"layers.{l}.bias"] = self.delta * layer.full_bias.v
        return full if self.skips is None else {**full, "skips": self._tau}


class CompactAutoencoder(CompactMLP):
    """Without skips: each layer reads the rows that are left of the one before."""

    def _forward(self, x: Tensor) -> list[Tensor]:
        """The input, and of each layer's output the rows that are left; [rows, batch]."""
        outputs = [x]
        for l in range(self.depth):
            outputs.append(self._rectified(l, outputs[-1]))
        return outputs

    def _backward(self, x: Tensor, target: Tensor) -> Tensor:
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
                gradient = self._direction[l].T @ self._scaled(l, gradient)
        return loss

    def _output(self, x: Tensor) -> Tensor:
        out = torch.zeros_like(x)
        out[self.layers[-1].rows] = self._forward(x)[-1]
        return out


class CompactResidual(CompactMLP):
    """With skips: states keep their full width."""

    def _update(self, learning_rate: float) -> None:
        super()._update(learning_rate)
        removed = [l for l in range(1, self.depth) if len(self.layers[l].columns) < self.width]
        back = [l for l in removed if any(self._tau_values[l - 1])]
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
                if self._tau_values[l][i] != 0:
                    new.add_(states[i], alpha=self._tau_values[l][i])
            new.index_add_(0, layer.rows, y)
        return states, read, rectified

    def _backward(self, x: Tensor, target: Tensor) -> Tensor:
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
                if self._tau_values[l][i] != 0:
                    gradients[i].add_(outer, alpha=self._tau_values[l][i])
            layer = self.layers[l]
            inner = self._through_relu(outer.index_select(0, layer.rows), rectified[l])
            torch.mm(inner, read[l].T, out=self._gradients[l])
            torch.sum(inner, dim=1, out=self._gradients[self.depth + l])
            if l > 0:
                scaled = self._scaled(l, inner)
                if len(layer.columns) == self.width:
                    gradients[l].addmm_(self._direction[l].T, scaled)
                else:
                    gradients[l].index_add_(0, layer.columns, self._direction[l].T @ scaled)
                    columns, v = self._removed[l]
                    removed = _pick(v, self._active[l])
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
    columns = (~_mask(layer.columns, len(layer.full_bias.v))).nonzero()[:, 0]
    return columns, layer.full_weight.v[layer.rows[:, None], columns[None, :]]


def _mask(index: Tensor, count: int) -> Tensor:
    """Boolean [count], true at the given positions."""
    mask = torch.zeros(count, dtype=torch.bool, device=index.device)
    mask[index] = True
    return mask


def _pick(lines: Tensor, index: Tensor) -> Tensor:
    """The given lines of a matrix; all of them without a copy."""
    return lines if len(index) == len(lines) else lines.index_select(0, index)
