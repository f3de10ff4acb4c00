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

A dead channel (see `trainer.dead_rows`) emits exactly 0 and never changes again: it is taken out,
with the kernels that make it and those that read it. Gradients are written out by hand, and v moves
by one fused kernel. Feature maps are [n, height, width, channels], which convolutions like best.
The textbook version is `textbook.TextbookTrainer` with `DenseNet`; the tests hold the two together.
"""

import math
from itertools import accumulate, pairwise

import torch
from torch import Tensor
from torch.nn import functional
from torch.nn.grad import conv2d_weight

from bregman_nas.bregman.optimizers import AdaBreg
from bregman_nas.networks import DenseNet
from bregman_nas.search.core.trainer import CompactTrainer, dead_rows, pick, with_moments

#: How far below 0 counts as certain: in another batch convolutions may round in another way.
MARGIN = 1e-4


class CompactDenseNet(CompactTrainer):
    """The state of one search, and its steps.

    Blocks are numbered from 0, the output of the first convolution, to `depth`. The channels that
    read block s are those of blocks s + 1 to depth, and the single one of the last convolution; in
    this order they are the output channels of `kernels[s]`, and their biases are in `bias`.

    Attributes:
        silent: whether the last convolution puts out 0 for every training image, for good. Then
            only the bias of the linear layer has a gradient, and nothing else is computed.
        channels: for each block the numbers of the channels that are left, int64.
        reads_removed: of the channels that read block 0, whether one has an active kernel on a
            channel that was taken out: it counts as active, although that kernel reads nothing
            but zeros.
    """

    #: Beside these v and moments [3, ...] of what is trained; `full_...` keep what was taken out.
    _state = (
        *("steps", "silent", "channels", "reads_removed", "first", "kernels", "bias", "linear"),
        *("linear_bias", "full_kernels", "full_bias"),
    )
    _at_once = 500

    def __init__(self, network: DenseNet, optimizer: AdaBreg) -> None:
        super().__init__(network, optimizer)
        self.depth, self.growth = len(network.layers), network.growth
        self.relu_logits, self.silent = network.relu_logits, False
        every = torch.arange(self.growth, device=network.first.weight.device)
        self.channels = [every] * (self.depth + 1)
        v, readers = optimizer.subgradient, [*network.layers, network.last]
        weights = [v(conv.weight) for conv in readers]
        self.first = with_moments(v(network.first.weight))
        self.kernels = [
            with_moments(torch.cat([w[:, channels] for w in weights[block:]]))
            for block, channels in enumerate(torch.arange(weights[-1].shape[1]).split(self.growth))
        ]
        self.bias = with_moments(torch.cat([v(c.bias) for c in readers if c.bias is not None]))
        self.linear = with_moments(v(network.linear.weight))
        self.linear_bias = with_moments(v(network.linear.bias))
        self.reads_removed = torch.zeros_like(self.bias[0], dtype=torch.bool)
        self.full_kernels = [kernels.clone() for kernels in self.kernels]
        self.full_bias = self.bias.clone()
        self._prepare()

    def _prepare(self) -> None:
        #: For each block from 1, and the last convolution, the number of channels that are left.
        self._counts = [len(channels) for channels in self.channels[1:]] + [1]
        #: The number, among the readers of block 0, of the first channel that reads a block.
        self._start = [0, *accumulate(self._counts)]
        others = [] if self.silent else [self.first, *self.kernels, self.bias, self.linear]
        self._train([*others, self.linear_bias])
        self._shrink()
        #: Whether all but the linear bias have come to rest, and the highest value before the last
        #: ReLU since then.
        self._rests, self._highest = False, -math.inf

    def _outputs(self, x: Tensor) -> Tensor:
        return self._logits(torch.relu(self._forward(x)[-1]))

    def _forward(self, x: Tensor) -> tuple[list[Tensor], list[Tensor], list[Tensor], Tensor]:
        """The convolutions of standardised images, and what the backward pass needs.

        Returns:
            For each block the maps of its constant channels, [1, height, width, channels], 0 where
            a channel varies; the positions of its varying channels that are not 0 everywhere; the
            maps of these, [n, height, width, sources]; and those of the last convolution before
            its ReLU, [n, pixels].
        """
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
            kernels = self._theta[block][rows - self._start[block]][:, source]
            if kernels.any():
                sums += _convolve(maps, kernels)
        last = sums if self._varying[-1] else constant_sums.expand(len(x), -1, -1, -1)
        return constant, sources, varying, last[..., -1].flatten(1)

    def _logits(self, flat: Tensor) -> Tensor:
        """The logits [n, classes] of what enters the linear layer, [n, pixels]."""
        logits = torch.addmm(self._theta_linear_bias, flat, self._theta_linear.T)
        return logits.relu_() if self.relu_logits else logits

    def _constant_maps(self, x: Tensor) -> tuple[list[Tensor], Tensor]:
        """For each block the maps of constant channels, 0 for the others; their sums by reader."""
        height, width = x.shape[2:]
        sums = self._theta_bias.repeat(1, height, width, 1)
        constant = [x.new_zeros(1, height, width, self.growth)]  # the first convolution has no bias
        for block in range(1, self.depth + 1):
            start, end = self._start[block - 1 : block + 1]
            maps = torch.relu(sums[..., start:end]) * ~self._varying[block]
            constant.append(maps)
            sums[..., end:] += _convolve(maps, self._theta[block])
        return constant, sums

    def _loss_and_gradients(self, x: Tensor, targets: Tensor) -> Tensor:
        if self.silent:
            flat = x.new_zeros(len(x), self._theta_linear.shape[1])
        else:
            constant, sources, varying, last = self._forward(x)
            self._highest = max(self._highest, float(last.max()))
            flat = torch.relu(last)
        logits = self._logits(flat)
        loss = functional.cross_entropy(logits, targets)
        gradient = logits.softmax(1)
        gradient[torch.arange(len(targets), device=targets.device), targets] -= 1
        gradient /= len(targets)
        if self.relu_logits:
            gradient *= logits > 0
        torch.sum(gradient, dim=0, out=self._gradients[-1])
        if self.silent:
            return loss
        g_first, *g_kernels, g_bias, g_linear, _ = self._gradients
        torch.mm(gradient.T, flat, out=g_linear)
        # `outer` grows to the gradients of all channels that have one, `rows` are their numbers
        # among the readers of block 0, and `summed` is the sum over the batch.
        outer = (gradient @ self._theta_linear).mul_(flat > 0).view(len(x), *x.shape[2:], 1)
        rows = torch.tensor([self._start[self.depth]], device=x.device)
        summed = outer.sum(0, keepdim=True)
        for of_convolutions in (g_first, *g_kernels, g_bias):
            of_convolutions.zero_()
        if not outer.any():
            return loss
        for block in range(self.depth, -1, -1):
            readers, source = rows - self._start[block], sources[block]
            g_kernels[block][readers] = _kernel_gradient(constant[block], summed)
            if len(source) > 0:
                g_varying = _kernel_gradient(varying[block], outer)
                g_kernels[block][readers[:, None], source] = g_varying
            read = self._active[block][readers].any(0)
            if block == 0:
                channels = read.nonzero()[:, 0]
                if len(channels) > 0:
                    into = self._gradient_of_maps(block, readers, channels, outer)
                    g_first[channels] = _kernel_gradient(x.permute(0, 2, 3, 1), into)
                break
            place = read[source].nonzero()[:, 0]
            still = (read & (constant[block] != 0).any(2).any(1)[0]).nonzero()[:, 0]
            channels = torch.cat([source[place], still])
            if len(channels) > 0:
                into = self._gradient_of_maps(block, readers, channels, outer)
                fired = pick(varying[block], place, 3)
                if len(still) > 0:
                    of_constant = constant[block].index_select(3, still)
                    fired = torch.cat([fired, of_constant.expand(len(fired), -1, -1, -1)], dim=3)
                into = torch.ops.aten.threshold_backward(into, fired, 0)
                outer = torch.cat([into, outer], dim=3)
                summed = torch.cat([into.sum(0, keepdim=True), summed], dim=3)
                rows = torch.cat([channels + self._start[block - 1], rows])
        g_bias[rows] = summed.sum((0, 1, 2))
        return loss

    def _gradient_of_maps(
        self, block: int, readers: Tensor, channels: Tensor, outer: Tensor
    ) -> Tensor:
        """The gradient of some of a block's maps, from that of some of those that read it."""
        used = self._active[block][readers][:, channels].any(1)
        if not used.all():
            readers, outer = readers[used], outer.index_select(3, used.nonzero()[:, 0])
        kernels = self._theta[block][readers][:, channels]
        return _convolve(outer, kernels.flip(2, 3).transpose(0, 1))

    def _move(self, learning_rate: float) -> None:
        super()._move(learning_rate)
        if self.silent:
            self._theta_linear_bias = self.delta * self.linear_bias[0]
        else:
            self._shrink()

    def _shrink(self) -> None:
        prox = self._regularizer.prox
        self._theta_first = prox(self.first[0], self.delta)
        self._theta = [prox(kernels[0], self.delta) for kernels in self.kernels]
        self._theta_bias, self._theta_linear, self._theta_linear_bias = (
            self.delta * free[0] for free in (self.bias, self.linear, self.linear_bias)
        )
        #: For each block which of the kernels that read it are active, [readers, channels].
        self._active = [(theta != 0).flatten(2).any(2) for theta in self._theta]
        #: For each block, and for the last convolution's channel, which channels are varying.
        self._varying = [(self._theta_first != 0).flatten(1).any(1)]
        reached = torch.zeros_like(self.reads_removed)
        for active, (start, end) in zip(self._active, pairwise(self._start), strict=True):
            reached[start:] |= (active & self._varying[-1]).any(1)
            self._varying.append(reached[start:end])

    def compact(self, learning_rate: float) -> None:
        """Take out the dead channels whose readers' kernels have come to rest too."""
        if self.silent:
            return
        # All images of an epoch were seen while nothing that they pass through could change.
        self.silent = self._rests and self._highest < -MARGIN
        if self.silent:
            self._prepare()
            return
        others = (self.first, *self.kernels, self.bias, self.linear)
        rests = all(self._at_rest(x, learning_rate).all() for x in others)
        self._take_out_channels(learning_rate)
        self._rests, self._highest = rests, -math.inf

    def _take_out_channels(self, learning_rate: float) -> None:
        keep = [torch.ones_like(self.channels[0], dtype=torch.bool)]
        for dead, kernels in zip(self.dead(learning_rate), self.kernels[1:], strict=True):
            readers = self._at_rest(kernels, learning_rate)
            keep.append(~(dead & readers.transpose(0, 1).flatten(1).all(1)))
        if torch.cat(keep).all():
            return
        self._write_back()
        left = torch.cat([*keep[1:], torch.ones_like(keep[0][:1])])
        for block, kept in enumerate(keep):
            start, index = self._start[block], kept.nonzero()[:, 0]
            gone = self._theta[block][:, ~kept]
            self.reads_removed[start:] |= (gone != 0).flatten(1).any(1)
            readers = left[start:].nonzero()[:, 0]
            kernels = self.kernels[block].index_select(1, readers)
            self.kernels[block] = kernels.index_select(2, index)
            self.channels[block] = self.channels[block][index]
        self.bias = self.bias.index_select(1, left.nonzero()[:, 0])
        self.reads_removed = self.reads_removed[left]
        self._prepare()

    def dead(self, learning_rate: float) -> list[Tensor]:
        """See `SparseTrainer`; for blocks from 1, of the channels that are left."""
        active = self.reads_removed.clone()
        at_rest = self._at_rest(self.bias, learning_rate)
        for block, kernels in enumerate(self.kernels):
            start = self._start[block]
            active[start:] |= self._active[block].any(1)
            at_rest[start:] &= self._at_rest(kernels, learning_rate).flatten(1).all(1)
        return list(dead_rows(active, self._theta_bias, at_rest).split(self._counts))[:-1]

    def _write_back(self) -> None:
        """Copy what is left to where the rest is kept."""
        last = torch.tensor([self.depth * self.growth], device=self.bias.device)
        blocks = enumerate(self.channels[1:])
        readers = torch.cat([*(block * self.growth + left for block, left in blocks), last])
        for block, kernels in enumerate(self.kernels):
            rows = readers[self._start[block] :] - block * self.growth
            self.full_kernels[block][:, rows[:, None], self.channels[block]] = kernels
        self.full_bias[:, readers] = self.bias

    def active(self) -> list[Tensor]:
        """See `SparseTrainer`; each [out, in]."""
        kernels = (x for x in self.full_parameters().values() if x.ndim == 4)
        return [self._regularizer.active(x).cpu() for x in kernels]

    @torch.no_grad()
    def full_parameters(self) -> dict[str, Tensor]:
        self._write_back()
        full = {"first.weight": self._theta_first}
        sources = [self._regularizer.prox(k[0], self.delta) for k in self.full_kernels]
        biases = (self.delta * self.full_bias[0]).split([self.growth] * self.depth + [1])
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


def _kernel_gradient(maps: Tensor, outer: Tensor) -> Tensor:
    """The gradient [out, in, 3, 3] of the kernels of `_convolve`, from that of its result."""
    shape = (outer.shape[3], maps.shape[3], 3, 3)
    inputs, outputs = maps.permute(0, 3, 1, 2), outer.permute(0, 3, 1, 2)
    gradient: Tensor = conv2d_weight(inputs, shape, outputs, padding=1)
    return gradient
