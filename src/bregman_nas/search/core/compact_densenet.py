"""Training the DenseNet on what changes from image to image: fast, and the same result.

The textbook version convolves the concatenation of all blocks so far, once for each layer. Here the
kernels are kept by the block they read: each new block of feature maps is convolved once, with the
kernels of all later layers together, and the results are added to what these layers have so far.
The sum is the same, and few wide convolutions are faster than many narrow ones.

Most of it need not be computed at all:

- A channel without an active path from the image is *constant*: its map is the same for all images,
  made of biases alone, and is computed once for the batch. So is the gradient of kernels that read
  it, from the sum over the batch of the gradients of its readers. The others are *varying*.
- A varying channel whose maps are 0 in the whole batch contributes nothing, in either direction.
- The gradient of a channel is exactly 0 unless it fires and an active kernel of a channel with a
  gradient reads it. Backwards only the channels with a gradient are convolved.

A dead channel (see `momentum.dead_rows`) emits exactly 0 and never changes again: it is taken out,
with the kernels that make it and those that read it. Gradients are written out by hand, and v moves
by one fused kernel. Feature maps are [n, height, width, channels], which convolutions like best.
The textbook version is `textbook.TextbookTrainer` with `DenseNet`; the tests hold the two together.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional
from torch.nn.grad import conv2d_weight

from bregman_nas.bregman.optimizers import AdaBreg
from bregman_nas.bregman.regularizers import GroupLasso
from bregman_nas.networks.densenet import DenseNet
from bregman_nas.search.core.momentum import dead_rows
from bregman_nas.search.core.trainer import CompactTrainer, Subgradient


@dataclass
class _Pass:
    """What one forward pass leaves for the backward one.

    Attributes:
        constant: for each block the maps of its constant channels, [1, height, width, channels];
            0 where a channel varies.
        sources: for each block the positions of its varying channels that are not 0 everywhere.
        varying: for each block the maps of these, [n, height, width, sources].
        flat: what enters the linear layer, [n, pixels].
        logits: [n, classes].
    """

    constant: list[Tensor]
    sources: list[Tensor]
    varying: list[Tensor]
    flat: Tensor
    logits: Tensor


class CompactDenseNet(CompactTrainer):
    """The state of one search, and its steps.

    Blocks are numbered from 0, the output of the first convolution, to `depth`. The channels that
    read block s are those of blocks s + 1 to depth, and the single one of the last convolution; in
    this order they are the output channels of `kernels[s]`.

    Args:
        network: at its start; it is not changed, and its device and type are those of training.
        optimizer: of its parameters: kernels as groups of the convolutions, the others free.
    """

    _state = (
        *("steps", "channels", "reads_removed", "first", "kernels", "bias", "linear"),
        *("linear_bias", "full_kernels", "full_bias"),
    )
    _at_once = 500

    def __init__(self, network: DenseNet, optimizer: AdaBreg) -> None:
        super().__init__(network, optimizer)
        self.depth, self.growth = len(network.layers), network.growth
        self.relu_logits = network.relu_logits
        self._regularizer: GroupLasso = optimizer.param_groups[0]["regularizer"]
        every = torch.arange(self.growth, device=network.first.weight.device)
        #: For each block the numbers of the channels that are left.
        self.channels = [every] * (self.depth + 1)
        v = optimizer.subgradient
        readers = [*network.layers, network.last]
        weights, biases = (
            [v(c.weight) for c in readers],
            [v(c.bias) for c in readers if c.bias is not None],
        )
        self.first = Subgradient.start(v(network.first.weight))
        self.kernels = [Subgradient.start(k) for k in _by_source(weights, self.growth)]
        self.bias = Subgradient.start(torch.cat(biases))
        self.linear = Subgradient.start(v(network.linear.weight))
        self.linear_bias = Subgradient.start(v(network.linear.bias))
        #: Of the channels that read block 0, whether one has an active kernel on a channel that
        #: was taken out: it counts as active, although that kernel reads nothing but zeros.
        self.reads_removed = torch.zeros_like(self.bias.v, dtype=torch.bool)
        #: Where the channels that were taken out are kept.
        self.full_kernels = [kernels.copy() for kernels in self.kernels]
        self.full_bias = self.bias.copy()
        self._prepare()

    def _outputs(self, x: Tensor) -> Tensor:
        return self._forward(x).logits

    def _forward(self, x: Tensor) -> _Pass:
        constant, constant_sums = self._constant_maps(x)
        source = self._varying[0].nonzero()[:, 0]
        # From an image with one channel torch makes maps in another order of memory, in which all
        # that follows would be slower.
        maps = _convolve(x.permute(0, 2, 3, 1), self._theta_first[source]).contiguous()
        sources, varying = [source], [maps]
        # What the varying channels of all later blocks are made of, before ReLU.
        rows = torch.cat(self._varying[1:]).nonzero()[:, 0]
        sums = _convolve(maps, self._theta[0][rows][:, source]).add_(constant_sums[..., rows])
        for block in range(1, self.depth + 1):
            source = self._varying[block].nonzero()[:, 0]
            maps = torch.relu(sums[..., : len(source)])
            rows, sums = rows[len(source) :], sums[..., len(source) :]
            fires = maps.sum((0, 1, 2)) != 0
            if not fires.all():
                source, maps = source[fires], maps.index_select(3, fires.nonzero()[:, 0])
            sources.append(source)
            varying.append(maps)
            kernels = self._theta[block][rows - self._first_reader(block)][:, source]
            if kernels.any():
                sums += _convolve(maps, kernels)
        last = sums if self._varying[-1] else constant_sums.expand(len(x), -1, -1, -1)
        flat = torch.relu(last[..., -1]).flatten(1)
        logits = torch.addmm(self._theta_linear_bias, flat, self._theta_linear.T)
        return _Pass(
            constant, sources, varying, flat, logits.relu_() if self.relu_logits else logits
        )

    def _constant_maps(self, x: Tensor) -> tuple[list[Tensor], Tensor]:
        """For each block the maps of constant channels, 0 for the others; their sums by reader."""
        height, width = x.shape[2:]
        sums = self._theta_bias.repeat(1, height, width, 1)
        constant = [x.new_zeros(1, height, width, self.growth)]  # the first convolution has no bias
        start = 0
        for block in range(1, self.depth + 1):
            end = start + len(self.channels[block])
            maps = torch.relu(sums[..., start:end]) * ~self._varying[block]
            constant.append(maps)
            sums[..., end:] += _convolve(maps, self._theta[block])
            start = end
        return constant, sums

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
        """The gradients of kernels and biases; `outer` is that of the last convolution's output."""
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
            g_kernels[block][readers] = _kernel_gradient(passed.constant[block], summed)
            if len(source) > 0:
                g_varying = _kernel_gradient(passed.varying[block], outer)
                g_kernels[block][readers[:, None], source] = g_varying
            read = self._active[block][readers].any(0)
            if block == 0:
                channels = read.nonzero()[:, 0]
                if len(channels) > 0:
                    into = self._gradient_of_maps(block, readers, channels, outer)
                    g_first[channels] = _kernel_gradient(x.permute(0, 2, 3, 1), into)
                break
            varying = read[source].nonzero()[:, 0]
            constant = (read & (passed.constant[block] != 0).any(2).any(1)[0]).nonzero()[:, 0]
            channels = torch.cat([source[varying], constant])
            if len(channels) > 0:
                into = self._gradient_of_maps(block, readers, channels, outer)
                fired = _pick_channels(passed.varying[block], varying)
                if len(constant) > 0:
                    of_constant = passed.constant[block].index_select(3, constant)
                    fired = torch.cat([fired, of_constant.expand(len(fired), -1, -1, -1)], dim=3)
                into = torch.ops.aten.threshold_backward(into, fired, 0)
                outer = torch.cat([into, outer], dim=3)
                summed = torch.cat([into.sum(0, keepdim=True), summed], dim=3)
                rows = torch.cat([channels + self._first_reader(block - 1), rows])
        g_bias[rows] = summed.sum((0, 1, 2))

    def _gradient_of_maps(
        self, block: int, readers: Tensor, channels: Tensor, outer: Tensor
    ) -> Tensor:
        """The gradient of some of a block's maps, from that of some of those that read it."""
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
        prox = self._regularizer.prox
        self._theta_first = prox(self.first.v, self.delta)
        self._theta = [prox(k.v, self.delta) for k in self.kernels]
        self._theta_bias = self.delta * self.bias.v
        self._theta_linear = self.delta * self.linear.v
        self._theta_linear_bias = self.delta * self.linear_bias.v
        #: For each block which of the kernels that read it are active, [readers, channels].
        self._active = [(theta != 0).flatten(2).any(2) for theta in self._theta]
        #: For each block, and for the last convolution's channel, which channels are varying.
        self._varying = [(self._theta_first != 0).flatten(1).any(1)]
        reached = torch.zeros_like(self.reads_removed)
        for block, active in enumerate(self._active):
            start, end = self._first_reader(block), self._first_reader(block + 1)
            reached[start:] |= (active & self._varying[block]).any(1)
            self._varying.append(reached[start:end] if block < self.depth else reached[start:])

    def _prepare(self) -> None:
        self._train([self.first, *self.kernels, self.bias, self.linear, self.linear_bias])

    def compact(self, learning_rate: float) -> None:
        """Take out the dead channels whose readers' kernels have come to rest too."""
        momentum = self._momentum(learning_rate)
        keep = [torch.ones_like(self.channels[0], dtype=torch.bool)]
        for block, dead in enumerate(self._dead_channels(learning_rate), start=1):
            readers = momentum.is_at_rest(*self.kernels[block].tensors())
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
        momentum = self._momentum(learning_rate)
        counts = [len(c) for c in self.channels[1:]] + [1]
        active = self.reads_removed.clone()
        at_rest = momentum.is_at_rest(*self.bias.tensors())
        start = 0
        for block, kernels in enumerate(self.kernels):
            active[start:] |= self._active[block].any(1)
            at_rest[start:] &= momentum.is_at_rest(*kernels.tensors()).flatten(1).all(1)
            start += counts[block]
        dead = dead_rows(active, self._theta_bias, at_rest)
        return list(dead.split(counts))[:-1]

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

    def active(self) -> list[Tensor]:
        """See `SparseTrainer`; each [out, in]."""
        kernels = (x for x in self.full_parameters().values() if x.ndim == 4)
        return [self._regularizer.active(x).cpu() for x in kernels]

    def living(self, learning_rate: float) -> list[int]:
        """See `SparseTrainer`; of blocks from 1."""
        return [int((~dead).sum()) for dead in self._dead_channels(learning_rate)]

    @torch.no_grad()
    def full_parameters(self) -> dict[str, Tensor]:
        """See `Trainer`."""
        self._write_back()
        full = {"first.weight": self._theta_first}
        sources = [self._regularizer.prox(k.v, self.delta) for k in self.full_kernels]
        biases = (self.delta * self.full_bias.v).split([self.growth] * self.depth + [1])
        for number, bias in enumerate(biases):
            parts = [
                source[(number - block) * self.growth :][: len(bias)]
                for block, source in enumerate(sources[: number + 1])
            ]
            name = f"layers.{number}" if number < self.depth else "last"
            full |= {f"{name}.weight": torch.cat(parts, dim=1), f"{name}.bias": bias}
        return full | {"linear.weight": self._theta_linear, "linear.bias": self._theta_linear_bias}


def _convolve(maps: Tensor, kernels: Tensor) -> Tensor:
    """Convolve maps [n, height, width, in] with kernels [out, in, 3, 3], zeros around the maps."""
    if 0 in kernels.shape:
        return maps.new_zeros(*maps.shape[:3], len(kernels))
    return functional.conv2d(maps.permute(0, 3, 1, 2), kernels, padding=1).permute(0, 2, 3, 1)


def _pick_channels(maps: Tensor, channels: Tensor) -> Tensor:
    """The given channels of maps, in ascending order; all of them without a copy."""
    return maps if len(channels) == maps.shape[3] else maps.index_select(3, channels)


def _kernel_gradient(maps: Tensor, outer: Tensor) -> Tensor:
    """The gradient [out, in, 3, 3] of the kernels of `_convolve`, from that of its result."""
    shape = (outer.shape[3], maps.shape[3], 3, 3)
    inputs, outputs = maps.permute(0, 3, 1, 2), outer.permute(0, 3, 1, 2)
    gradient: Tensor = conv2d_weight(inputs, shape, outputs, padding=1)
    return gradient


def _by_source(weights: list[Tensor], growth: int) -> list[Tensor]:
    """The kernels by the block s that they read, [growth * (depth - s) + 1, growth, 3, 3] each."""
    return [
        torch.cat([w[:, block * growth : (block + 1) * growth] for w in weights[block:]])
        for block in range(len(weights))
    ]
