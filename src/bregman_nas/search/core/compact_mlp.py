"""Training the multi-layer perceptron without its dead rows: fast, and the same result.

A dead row (see `trainer.dead_rows`) emits exactly 0 and never changes again. Here such rows are
taken out of the weights, biases and optimizer state. Columns that read nothing but zeros go too:
what they hold of v stays what it is, and enters the norm of each row as a constant. Without skips
these are the columns of the dead rows. With skips a dead row's place can carry what skips bring, so
that its columns go only while all skips into that layer are zero; they come back when one of them
switches on. Until then they still count in one place: the gradient of those skips.

Besides, only active rows are multiplied with, and states are stored [features, batch], so that
picking rows copies whole lines of memory. The textbook version is `textbook.TextbookTrainer` with
`ResidualMLP`; the tests hold the two together.
"""

import torch
from torch import Tensor

from bregman_nas.bregman.optimizers import AdaBreg
from bregman_nas.bregman.regularizers import Regularizer
from bregman_nas.networks import ResidualMLP, rectify
from bregman_nas.search.core.trainer import CompactTrainer, dead_rows, pick, with_moments


class CompactMLP(CompactTrainer):
    """The state of one search, and its steps. All states of the network keep their full width.

    With `freeze_inactive_biases` the bias of a row stays as it is while the row is not active.

    Attributes:
        rows: for each layer the numbers of the rows that are left, int64.
        columns: likewise of the columns.
        weights: v and moments of what is left, [3, rows, columns].
        biases: likewise, [3, rows].
        removed_square: for each layer the sum of v squared over the columns taken out, [rows].
        full_weights: keep the rows and columns that were taken out, [3, width, width].
        full_biases: likewise, [3, width].
        removed_at: for each layer the step after which a column was taken out, int64 [width].
        skips: v and moments of the skips, [3, depth, depth], or None.
    """

    _state = (
        *("steps", "rows", "columns", "weights", "biases", "removed_square"),
        *("full_weights", "full_biases", "removed_at", "skips"),
    )
    _at_once = 1_000

    def __init__(
        self, network: ResidualMLP, optimizer: AdaBreg, *, freeze_inactive_biases: bool = False
    ) -> None:
        super().__init__(network, optimizer)
        self.depth, self.width = len(network.layers), network.layers[0].in_features
        self.relu_slope = network.relu_slope
        self.freeze_inactive_biases = freeze_inactive_biases
        v = optimizer.subgradient
        self.weights = [with_moments(v(layer.weight)) for layer in network.layers]
        self.biases = [with_moments(v(layer.bias)) for layer in network.layers]
        self.full_weights = [weight.clone() for weight in self.weights]
        self.full_biases = [bias.clone() for bias in self.biases]
        every = torch.arange(self.width, device=self.weights[0].device)
        self.rows, self.columns = [every] * self.depth, [every] * self.depth
        self.removed_square = [torch.zeros_like(bias[0]) for bias in self.biases]
        self.removed_at = [torch.zeros_like(every) for _ in range(self.depth)]
        self.skips = None if network.skips is None else with_moments(v(network.skips))
        self._skip_regularizer: Regularizer = optimizer.param_groups[-1]["regularizer"]
        self._threshold = self._regularizer.threshold((self.width, self.width))
        self._prepare()

    def _prepare(self) -> None:
        #: For each layer the numbers of the columns taken out, and v there, [rows, removed].
        self._removed = []
        for rows, columns, full in zip(self.rows, self.columns, self.full_weights, strict=True):
            removed = (~_mask(columns, self.width)).nonzero()[:, 0]
            self._removed.append((removed, full[0][rows[:, None], removed[None, :]]))
        skips = [] if self.skips is None else [self.skips]
        self._train([*self.weights, *self.biases, *skips])
        self._shrink()

    def _move(self, learning_rate: float) -> None:
        before = [bias.clone() for bias in self.biases] if self.freeze_inactive_biases else []
        super()._move(learning_rate)
        for bias, old, active in zip(self.biases, before, self._active, strict=False):
            bias.copy_(torch.where(_mask(active, bias.shape[1]), bias, old))
        self._shrink()
        for l in range(1, self.depth):
            if len(self.columns[l]) < self.width and any(self._tau_values[l - 1]):
                self._bring_columns_back(l)

    def _shrink(self) -> None:
        """The step theta = prox(delta v), for the active rows alone.

        A row of theta is a row of v times its scale. What is scaled are the products with v: they
        have fewer entries than theta.
        """
        self._active, self._direction, self._scale = [], [], []
        for l, weight in enumerate(self.weights):
            v = weight[0]
            norms = torch.linalg.vector_norm(v, dim=1)
            if len(self.columns[l]) < self.width:
                norms = norms.square_().add_(self.removed_square[l]).sqrt_()
            norms.clamp_min_(torch.finfo(v.dtype).tiny)
            scale = self.delta * (1 - self._threshold / norms).clamp_min_(0)
            active = scale.nonzero()[:, 0]
            self._active.append(active)
            self._direction.append(pick(v, active))
            self._scale.append(pick(scale, active)[:, None])
        self._bias = [self.delta * bias[0] for bias in self.biases]
        self._tau_values = [[0.0] * self.depth] * self.depth
        if self.skips is not None:
            self._tau = self._skip_regularizer.prox(self.skips[0], self.delta)
            self._tau_values = self._tau.tolist()

    def _rectified(self, l: int, x: Tensor) -> Tensor:
        """ReLU(W x + b) of layer l for the state it reads: [columns, batch] to [rows, batch]."""
        bias, active = self._bias[l], self._active[l]
        z = torch.mm(self._direction[l], x)
        on = torch.addcmul(pick(bias, active)[:, None], z, self._scale[l])
        on = rectify(on, self.relu_slope, inplace=True)
        if len(active) == len(bias):
            return on
        # A row that is off puts out the same value for every image.
        y = rectify(bias, self.relu_slope)[:, None].repeat(1, x.shape[1])
        return y.index_copy_(0, active, on)

    def compact(self, learning_rate: float) -> None:
        """Take out the dead rows, and the columns that are at rest and read nothing but zeros."""
        at_rest = [self._at_rest(weight, learning_rate).all(0) for weight in self.weights]
        for l, dead in enumerate(self.dead(learning_rate)):
            # Without skips a row goes only together with its column, which must be at rest too.
            gone = dead & at_rest[l + 1] if self.skips is None and l < self.depth - 1 else dead
            if gone.any():
                self._write_back(l)
                kept = (~gone).nonzero()[:, 0]
                for of_rows in (self.rows, self.removed_square):
                    of_rows[l] = of_rows[l][kept]
                for stacks in (self.weights, self.biases):
                    stacks[l] = stacks[l].index_select(1, kept)
        for l in range(1, self.depth):
            gone = at_rest[l] & ~_mask(self.rows[l - 1], self.width)[self.columns[l]]
            if gone.any() and not any(self._tau_values[l - 1]):
                self._write_back(l)
                kept = (~gone).nonzero()[:, 0]
                v = self.weights[l][0].index_select(1, gone.nonzero()[:, 0])
                self.removed_square[l] += v.square().sum(1)
                self.removed_at[l][self.columns[l][gone]] = self.steps
                self.weights[l] = self.weights[l].index_select(2, kept)
                self.columns[l] = self.columns[l][kept]
        self._prepare()

    def _write_back(self, l: int) -> None:
        """Copy what is left of layer l to where the rest is kept."""
        rows = self.rows[l]
        self.full_weights[l][:, rows[:, None], self.columns[l]] = self.weights[l]
        self.full_biases[l][:, rows] = self.biases[l]

    def dead(self, learning_rate: float) -> list[Tensor]:
        """See `SparseTrainer`; of the rows that are left."""
        dead = []
        for l, bias in enumerate(self._bias):
            at_rest = self._at_rest(self.weights[l], learning_rate).all(1)
            at_rest &= self._at_rest(self.biases[l], learning_rate)
            at_rest &= self.relu_slope == 0  # with a slope every row has a gradient
            dead.append(dead_rows(_mask(self._active[l], len(bias)), bias, at_rest))
        return dead

    def active(self) -> list[Tensor]:
        """See `SparseTrainer`; each [width]."""
        pairs = zip(self.rows, self._active, strict=True)
        return [_mask(rows[active].cpu(), self.width) for rows, active in pairs]

    @torch.no_grad()
    def full_parameters(self) -> dict[str, Tensor]:
        full = {} if self.skips is None else {"skips": self._tau}
        for l in range(self.depth):
            self._write_back(l)
            weight = self._regularizer.prox(self.full_weights[l][0], self.delta)
            bias = self.delta * self.full_biases[l][0]
            full |= {f"layers.{l}.weight": weight, f"layers.{l}.bias": bias}
        return full

    def _bring_columns_back(self, l: int) -> None:
        """Put all columns of layer l back in place."""
        self._write_back(l)
        weight = self.full_weights[l].index_select(1, self.rows[l])
        # While they were out their gradient was 0: v at rest, the moments decaying.
        present = _mask(self.columns[l], self.width)
        steps = torch.where(present, 0, self.steps - self.removed_at[l]).to(weight.dtype)
        for moment, beta in zip(weight[1:], self.betas, strict=True):
            moment *= beta**steps
        self.weights[l] = weight
        self.columns[l] = torch.arange(self.width, device=weight.device)
        self.removed_square[l] = torch.zeros_like(self.removed_square[l])
        self._prepare()

    def _forward(self, x: Tensor) -> tuple[Tensor, list[Tensor], list[Tensor]]:
        """All states, what each layer reads of them, and what its ReLU puts out.

        Returns:
            x(0) ... x(depth), [depth + 1, width, batch]; for each layer the state it reads,
            [columns, batch]; and its ReLU, before skips, of the rows that are left, [rows, batch].
        """
        states, _ = self._memory(x)
        states[0] = x
        read, rectified = [], []
        for l, rows in enumerate(self.rows):
            read.append(pick(states[l], self.columns[l]))
            rectified.append(self._rectified(l, read[l]))
            new = states[l + 1].zero_()
            for state, tau in zip(states[: l + 1], self._tau_values[l], strict=False):
                if tau != 0:
                    new.add_(state, alpha=tau)
            new.index_add_(0, rows, rectified[l])
        return states, read, rectified

    def _loss_and_gradients(self, x: Tensor, targets: Tensor) -> Tensor:
        x, target = x.T.contiguous(), targets.T.contiguous()
        states, read, rectified = self._forward(x)
        _, gradients = self._memory(x)
        gradients.zero_()
        difference = torch.sub(states[-1], target, out=gradients[-1])
        loss = difference.square().mean()
        difference.mul_(2 / difference.numel())
        flat = states.flatten(1)
        for l in range(self.depth - 1, -1, -1):
            outer = gradients[l + 1]
            if self.skips is not None:
                self._gradients[-1][l, : l + 1] = flat[: l + 1] @ outer.flatten()
            for i in range(1, l + 1):
                if self._tau_values[l][i] != 0:
                    gradients[i].add_(outer, alpha=self._tau_values[l][i])
            inner = outer.index_select(0, self.rows[l])
            if self.relu_slope:
                inner = torch.where(rectified[l] > 0, inner, inner * self.relu_slope)
            else:
                inner = torch.ops.aten.threshold_backward(inner, rectified[l], 0)
            torch.mm(inner, read[l].T, out=self._gradients[l])
            torch.sum(inner, dim=1, out=self._gradients[self.depth + l])
            if l > 0:
                # `direction` transposed times this is W transposed times `inner`.
                scaled = pick(inner, self._active[l]) * self._scale[l]
                if len(self.columns[l]) == self.width:
                    gradients[l].addmm_(self._direction[l].T, scaled)
                else:
                    gradients[l].index_add_(0, self.columns[l], self._direction[l].T @ scaled)
                    if self.skips is not None:
                        columns, v = self._removed[l]
                        removed = pick(v, self._active[l])
                        gradients[l].index_add_(0, columns, removed.T @ scaled)
        return loss

    def _outputs(self, x: Tensor) -> Tensor:
        return self._forward(x.T.contiguous())[0][-1].clone().T


def _mask(index: Tensor, count: int) -> Tensor:
    """Boolean [count], true at the given positions."""
    mask = torch.zeros(count, dtype=torch.bool, device=index.device)
    mask[index] = True
    return mask
