"""Training the DenseNet on what changes from image to image: fast, and the same result.

The textbook version convolves the concatenation of all blocks so far, once for each layer. Here the
kernels are kept by the block they read: each new block of feature maps is convolved once, with the
kernels of all later layers together, and the results are added to what these layers have so far.
The sum is the same, and few wide convolutions are faster than many narrow ones.

Most of it need not be computed at all:

- A channel without an active path from the image is *still*: its map is the same for all images,
  made of biases alone, and is computed once for the batch. So is the gradient of kernels that read
  it, from the sum over the batch of the gradients of its readers. The others are *moving*.
- A moving channel whose maps are 0 in the whole batch contributes nothing, in either direction.
- The gradient of a channel is exactly 0 unless it fires and an active kernel of a channel with a
  gradient reads it. Backwards only the channels with a gradient are convolved.

A dead channel (see `momentum.dead_rows`) emits exactly 0 and never changes again: it is taken out,
with the kernels that make it and those that read it. Gradients are written out by hand, and v moves
by one fused kernel. Feature maps are [n, height, width, channels], which convolutions like best.
The textbook version is `textbook.TextbookTrainer` with `DenseNet`; the tests hold the two together.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.nn.grad import conv2d_weight

from bregman_nas.bregman.optimizers import fused_adam_
from bregman_nas.bregman.regularizers import GroupLasso
from bregman_nas.networks.densenet import DenseNet
from bregman_nas.search.core.momentum import Adam, dead_rows
from bregman_nas.search.core.variable import Variable

_IMAGES_AT_ONCE = 500


@dataclass
class _Pass:
    """What one forward pass leaves for the backward one.

    Attributes:
        still: for each block the maps of its still channels, [1, height, width, channels]; 0 where
            a channel moves.
        sources: for each block the positions of its moving channels that are not 0 everywhere.
        moving: for each block the maps of these, [n, height, width, sources].
        flat: what enters the linear layer, [n, pixels].
        logits: [n, classes].
    """

    still: list[Tensor]
    sources: list[Tensor]
    moving: list[Tensor]
    flat: Tensor
    logits: Tensor


class CompactDenseNet:
    """The state of one search, and its steps.

    Blocks are numbered from 0, the output of the first convolution, to `depth`. The channels that
    read block s are those of blocks s + 1 to depth, and the single one of the last convolution; in
    this order they are the output channels of `kernels[s]`.

    Args:
        network: at its start; it is not changed, and its device and type are those of training.
        kernel_regularizer: of all convolutions.
        betas: decay of Adam's moments.
        eps: of Adam's denominator.
        delta: of J_delta.
        correct_first_moment: see `AdaBreg`.
    """

    def __init__(
        self,
        network: DenseNet,
        kernel_regularizer: GroupLasso,
        *,
        betas: tuple[float, float],
        eps: float,
        delta: float,
        correct_first_moment: bool,
    ) -> None:
        self.depth, self.growth = len(network.layers), network.growth
        self.relu_logits = network.relu_logits
        self.input_mean, self.input_std = network.input_mean, network.input_std
        self.kernel_regularizer = kernel_regularizer
        self.betas, self.eps, self.delta = betas, eps, delta
        self.correct_first_moment = correct_first_moment
        self.steps = 0
        every = torch.arange(self.growth, device=network.first.weight.device)
        #: For each block the numbers of the channels that are left.
        self.channels = [every] * (self.depth + 1)
        self.first = self._sparse(network.first.weight)
        self.kernels = [self._sparse(w) for w in _by_source(network)]
        biases = [layer.bias for layer in network.layers] + [network.last.bias]
        self.bias = self._free(torch.cat([b.detach() for b in biases if b is not None]))
        self.linear = self._free(network.linear.weight)
        self.linear_bias = self._free(network.linear.bias)
        #: Of the channels that read block 0, whether one has an active kernel on a channel that
        #: was taken out: it counts as active, although that kernel reads nothing but zeros.
        self.reads_removed = torch.zeros_like(self.bias.v, dtype=torch.bool)
        #: Where the channels that were taken out are kept.
        self.full_kernels = [Variable(*(t.clone() for t in k.tensors())) for k in self.kernels]
        self.full_bias = Variable(*(t.clone() for t in self.bias.tensors()))
        self._prepare()

    def _sparse(self, weight: Tensor) -> Variable:
        theta = weight.detach()
        return Variable.start(theta / self.delta + self.kernel_regularizer.subgradient(theta))

    def _free(self, weight: Tensor) -> Variable:
        return Variable.start(weight.detach() / self.delta)

    # ---------------------------------------------------------------- training

    @torch.no_grad()
    def train_batches(
        self, inputs: Tensor, targets: Tensor, batches: list[Tensor], learning_rate: float
    ) -> float:
        """Make one step for each batch.

        Args:
            inputs: images [n, 1, side, side], not yet standardised.
            targets: classes, int64 [n].
            batches: the numbers of the images of each batch, int64.
            learning_rate: eta; it never rises.

        Returns:
            The sum over the batches of their mean cross-entropies.
        """
        total = torch.zeros((), dtype=torch.float64, device=inputs.device)
        for batch in batches:
            x = inputs[batch].sub_(self.input_mean).div_(self.input_std)
            total += self._loss_and_gradients(x, targets[batch])
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
            self.steps += 1
            self._shrink()
        return float(total)

    @torch.no_grad()
    def logits(self, images: Tensor) -> Tensor:
        """The logits [n, classes] of the network as it is now, for images [n, 1, side, side]."""
        parts = images.split(_IMAGES_AT_ONCE)
        standardised = [(part - self.input_mean) / self.input_std for part in parts]
        return torch.cat([self._forward(part).logits for part in standardised])

    def _forward(self, x: Tensor) -> _Pass:
        still, still_sums = self._still_maps(x)
        source = self._moving[0].nonzero()[:, 0]
        # From an image with one channel torch makes maps in another order of memory, in which all
        # that follows would be slower.
        maps = _convolve(x.permute(0, 2, 3, 1), self._theta_first[source]).contiguous()
        sources, moving = [source], [maps]
        # What the moving channels of all later blocks are made of, before ReLU.
        rows = torch.cat(self._moving[1:]).nonzero()[:, 0]
        sums = _convolve(maps, self._theta[0][rows][:, source]).add_(still_sums[..., rows])
        for block in range(1, self.depth + 1):
            source = self._moving[block].nonzero()[:, 0]
            maps = torch.relu(sums[..., : len(source)])
            rows, sums = rows[len(source) :], sums[..., len(source) :]
            fires = maps.sum((0, 1, 2)) != 0
            if not fires.all():
                source, maps = source[fires], maps.index_select(3, fires.nonzero()[:, 0])
            sources.append(source)
            moving.append(maps)
            kernels = self._theta[block][rows - self._first_reader(block)][:, source]
            if kernels.any():
                sums += _convolve(maps, kernels)
        last = sums if self._moving[-1] else still_sums.expand(len(x), -1, -1, -1)
        flat = torch.relu(last[..., -1]).flatten(1)
        logits = torch.addmm(self._theta_linear_bias, flat, self._theta_linear.T)
        return _Pass(still, sources, moving, flat, logits.relu_() if self.relu_logits else logits)

    def _still_maps(self, x: Tensor) -> tuple[list[Tensor], Tensor]:
        """For each block the maps of its still channels, 0 for the others; their sums by reader."""
        height, width = x.shape[2:]
        sums = self._theta_bias.repeat(1, height, width, 1)
        still = [x.new_zeros(1, height, width, self.growth)]  # the first convolution has no bias
        start = 0
        for block in range(1, self.depth + 1):
            end = start + len(self.channels[block])
            maps = torch.relu(sums[..., start:end]) * ~self._moving[block]
            still.append(maps)
            sums[..., end:] += _convolve(maps, self._theta[block])
            start = end
        return still, sums

    def _loss_and_gradients(self, x: Tensor, classes: Tensor) -> Tensor:
        passed = self._forward(x)
        loss = functional.cross_entropy(passed.logits, classes)
        *_, g_linear, g_linear_bias = self._gradients
        gradient = passed.logits.softmax(1)
        gradient[torch.arange(len(classes), device=classes.device), classes] -= 1
        gradient /= len(classes)
        if self.relu_logits:
            gradient *= passed.logits > 0
        torch.mm(gradient.T, passed.flat, out=g_linear)
        torch.sum(gradient, dim=0, out=g_linear_bias)
        into_last = (gradient @ self._theta_linear).mul_(passed.flat > 0)
        self._convolution_gradients(x, passed, into_last.view(len(x), *x.shape[2:], 1))
        return loss

    def _convolution_gradients(self, x: Tensor, passed: _Pass, outer: Tensor) -> None:
        """The gradients of kernels and biases.

        Args:
            x: standardised images [n, 1, height, width].
            passed: of the forward pass.
            outer: gradient of what the last convolution puts out, [n, height, width, 1].
        """
        g_first, *g_kernels, g_bias, _, _ = self._gradients
        for gradient in (g_first, *g_kernels, g_bias):
            gradient.zero_()
        if not outer.any():
            return
        # `outer` grows to the gradients of all channels that have one, `rows` are their numbers
        # among the readers of block 0, and `summed` is the sum over the batch.
        rows = torch.tensor([len(self.bias.v) - 1], device=x.device)
        summed = outer.sum(0, keepdim=True)
        for block in range(self.depth, -1, -1):
            readers = rows - self._first_reader(block)
            source = passed.sources[block]
            g_kernels[block][readers] = _kernel_gradient(passed.still[block], summed)
            if len(source) > 0:
                g_moving = _kernel_gradient(passed.moving[block], outer)
                g_kernels[block][readers[:, None], source] = g_moving
            read = self._active[block][readers].any(0)
            if block == 0:
                channels = read.nonzero()[:, 0]
                if len(channels) > 0:
                    into = self._gradient_of_maps(block, readers, channels, outer)
                    g_first[channels] = _kernel_gradient(x.permute(0, 2, 3, 1), into)
                break
            moving = read[source].nonzero()[:, 0]
            still = (read & (passed.still[block] != 0).any(2).any(1)[0]).nonzero()[:, 0]
            channels = torch.cat([source[moving], still])
            if len(channels) > 0:
                into = self._gradient_of_maps(block, readers, channels, outer)
                fired = _pick_channels(passed.moving[block], moving)
                if len(still) > 0:
                    of_still = passed.still[block].index_select(3, still)
                    fired = torch.cat([fired, of_still.expand(len(fired), -1, -1, -1)], dim=3)
                into = torch.ops.aten.threshold_backward(into, fired, 0)
                outer = torch.cat([into, outer], dim=3)
                summed = torch.cat([into.sum(0, keepdim=True), summed], dim=3)
                rows = torch.cat([channels + self._first_reader(block - 1), rows])
        g_bias[rows] = summed.sum((0, 1, 2))

    def _gradient_of_maps(
        self, block: int, readers: Tensor, channels: Tensor, outer: Tensor
    ) -> Tensor:
        """The gradient [n, height, width, channels] of some of a block's maps.

        Args:
            block: its number.
            readers: positions, among those that read the block, of the channels with a gradient.
            channels: positions of the block's channels.
            outer: gradients of the readers, [n, height, width, readers].
        """
        used = self._active[block][readers][:, channels].any(1)
        if not used.all():
            readers, outer = readers[used], outer.index_select(3, used.nonzero()[:, 0])
        kernels = self._theta[block][readers][:, channels]
        return _convolve(outer, kernels.flip(2, 3).transpose(0, 1))

    def _first_reader(self, block: int) -> int:
        """The number, among the readers of block 0, of the first channel that reads `block`."""
        return sum(len(channels) for channels in self.channels[1 : block + 1])

    def _shrink(self) -> None:
        """The step theta = prox(delta v), and which kernels and channels it leaves active."""
        prox = self.kernel_regularizer.prox
        self._theta_first = prox(self.first.v, self.delta)
        self._theta = [prox(k.v, self.delta) for k in self.kernels]
        self._theta_bias = self.delta * self.bias.v
        self._theta_linear = self.delta * self.linear.v
        self._theta_linear_bias = self.delta * self.linear_bias.v
        #: For each block which of the kernels that read it are active, [readers, channels].
        self._active = [(theta != 0).flatten(2).any(2) for theta in self._theta]
        #: For each block, and for the last convolution's channel, which channels are moving.
        self._moving = [(self._theta_first != 0).flatten(1).any(1)]
        reached = torch.zeros_like(self.reads_removed)
        for block, active in enumerate(self._active):
            start, end = self._first_reader(block), self._first_reader(block + 1)
            reached[start:] |= (active & self._moving[block]).any(1)
            self._moving.append(reached[start:end] if block < self.depth else reached[start:])

    def _prepare(self) -> None:
        """Everything that follows from the state: lists for the kernel, theta."""
        self._variables = [self.first, *self.kernels, self.bias, self.linear, self.linear_bias]
        self._gradients = [torch.zeros_like(variable.v) for variable in self._variables]
        self._step_counters = [
            torch.tensor(float(self.steps), device=variable.v.device)
            for variable in self._variables
        ]
        self._shrink()

    # -------------------------------------------------------------- compaction

    def compact(self, learning_rate: float) -> None:
        """Take out the dead channels whose readers' kernels have come to rest too.

        Args:
            learning_rate: the largest that any later step will have.
        """
        adam = self._adam(learning_rate)
        keep = [torch.ones_like(self.channels[0], dtype=torch.bool)]
        for block, dead in enumerate(self._dead_channels(learning_rate), start=1):
            readers = adam.is_at_rest(*self.kernels[block].tensors())
            keep.append(~(dead & readers.transpose(0, 1).flatten(1).all(1)))
        if all(bool(kept.all()) for kept in keep):
            return
        self._write_back()
        last = torch.ones_like(keep[0][:1])
        index = [kept.nonzero()[:, 0] for kept in keep]
        start = 0
        for block in range(self.depth + 1):
            gone = self._theta[block][:, ~keep[block]]
            self.reads_removed[start:] |= (gone != 0).flatten(1).any(1)
            readers = torch.cat([*keep[block + 1 :], last]).nonzero()[:, 0]
            kernels = self.kernels[block].select(0, readers)
            self.kernels[block] = kernels.select(1, index[block])
            start += len(self.channels[block + 1]) if block < self.depth else 0
        kept_readers = torch.cat([*keep[1:], last]).nonzero()[:, 0]
        self.bias = self.bias.select(0, kept_readers)
        self.reads_removed = self.reads_removed[kept_readers]
        self.channels = [c[i] for c, i in zip(self.channels, index, strict=True)]
        self._prepare()

    def _dead_channels(self, learning_rate: float) -> list[Tensor]:
        """For each block from 1, of the channels that are left, boolean: is it dead?"""
        adam = self._adam(learning_rate)
        counts = [len(c) for c in self.channels[1:]] + [1]
        active = self.reads_removed.clone()
        at_rest = adam.is_at_rest(*self.bias.tensors())
        start = 0
        for block, kernels in enumerate(self.kernels):
            active[start:] |= self._active[block].any(1)
            at_rest[start:] &= adam.is_at_rest(*kernels.tensors()).flatten(1).all(1)
            start += counts[block]
        dead = dead_rows(active, self._theta_bias, at_rest)
        return list(dead.split(counts))[:-1]

    def _adam(self, learning_rate: float) -> Adam:
        return Adam(learning_rate, self.betas[0], self.betas[1], self.eps, self.steps)

    def _readers(self, block: int) -> Tensor:
        """The numbers, among all that read a block, of the channels that are left."""
        numbers = [
            (later - block - 1) * self.growth + self.channels[later]
            for later in range(block + 1, self.depth + 1)
        ]
        last = torch.tensor([(self.depth - block) * self.growth], device=self.bias.v.device)
        return torch.cat([*numbers, last])

    def _write_back(self) -> None:
        for block, kernels in enumerate(self.kernels):
            index = (self._readers(block)[:, None], self.channels[block][None, :])
            kernels.write(self.full_kernels[block], index)
        self.bias.write(self.full_bias, (self._readers(0),))

    # --------------------------------------------------------------- observing

    def living_channels(self, learning_rate: float) -> list[int]:
        """For each convolution from first to last, how many output channels are not dead."""
        dead = self._dead_channels(learning_rate)
        return [self.growth, *(int((~d).sum()) for d in dead), 1]

    @torch.no_grad()
    def write_to(self, network: DenseNet) -> None:
        """Set the parameters of a full network to those of this one."""
        self._write_back()
        prox = self.kernel_regularizer.prox
        network.first.weight.copy_(self._theta_first)
        sources = [prox(k.v, self.delta) for k in self.full_kernels]
        biases = (self.delta * self.full_bias.v).split([self.growth] * self.depth + [1])
        for number, conv in enumerate([*network.layers, network.last]):
            parts = [
                source[(number - block) * self.growth :][: len(conv.weight)]
                for block, source in enumerate(sources[: number + 1])
            ]
            conv.weight.copy_(torch.cat(parts, dim=1))
            assert conv.bias is not None
            conv.bias.copy_(biases[number])
        network.linear.weight.copy_(self._theta_linear)
        network.linear.bias.copy_(self._theta_linear_bias)

    # ------------------------------------------------------------- checkpoints

    _PLAIN = ("steps", "channels", "reads_removed")
    _NAMES = ("first", "bias", "linear", "linear_bias", "full_bias")
    _LISTS = ("kernels", "full_kernels")

    def state_dict(self) -> dict[str, Any]:
        """Tensors and numbers from which `load_state_dict` continues bit for bit."""
        return (
            {name: getattr(self, name) for name in self._PLAIN}
            | {name: list(getattr(self, name).tensors()) for name in self._NAMES}
            | {name: [list(v.tensors()) for v in getattr(self, name)] for name in self._LISTS}
        )

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from what `state_dict` returned."""
        for name in self._PLAIN:
            setattr(self, name, state[name])
        for name in self._NAMES:
            setattr(self, name, Variable(*state[name]))
        for name in self._LISTS:
            setattr(self, name, [Variable(*tensors) for tensors in state[name]])
        self._prepare()


def _convolve(maps: Tensor, kernels: Tensor) -> Tensor:
    """Convolve maps [n, height, width, in] with kernels [out, in, 3, 3], zeros around the maps."""
    if 0 in kernels.shape:
        return maps.new_zeros(*maps.shape[:3], len(kernels))
    return functional.conv2d(maps.permute(0, 3, 1, 2), kernels, padding=1).permute(0, 2, 3, 1)


def _pick_channels(maps: Tensor, channels: Tensor) -> Tensor:
    """The given channels of maps, in ascending order; all of them without a copy."""
    return maps if len(channels) == maps.shape[3] else maps.index_select(3, channels)


def _kernel_gradient(maps: Tensor, outer: Tensor) -> Tensor:
    """The gradient [out, in, 3, 3] of the kernels of `_convolve`.

    Args:
        maps: what was convolved, [n, height, width, in].
        outer: gradient of the result, [n, height, width, out].
    """
    shape = (outer.shape[3], maps.shape[3], 3, 3)
    inputs, outputs = maps.permute(0, 3, 1, 2), outer.permute(0, 3, 1, 2)
    gradient: Tensor = conv2d_weight(inputs, shape, outputs, padding=1)
    return gradient


def _by_source(network: DenseNet) -> list[Tensor]:
    """The kernels of all layers and the last convolution, by the block they read.

    Returns:
        For each block s the kernels that read it, [growth * (depth - s) + 1, growth, 3, 3].
    """
    growth = network.growth
    readers = [*network.layers, network.last]
    return [
        torch.cat(
            [
                conv.weight.detach()[:, block * growth : (block + 1) * growth]
                for conv in readers[block:]
            ]
        )
        for block in range(len(readers))
    ]
