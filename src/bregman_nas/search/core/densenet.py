"""The search with the DenseNet: problem, network, regularizers, what is observed."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from bregman_nas.bregman.initialization import sparse_kaiming_normal_
from bregman_nas.bregman.optimizers import AdaBreg
from bregman_nas.bregman.regularizers import GroupLasso, Zero
from bregman_nas.data.degradation import Examples, Problem, classification_problem
from bregman_nas.data.files import ImageSet
from bregman_nas.networks.densenet import DenseNet
from bregman_nas.randomness import generator
from bregman_nas.search.core.compact_densenet import CompactDenseNet
from bregman_nas.search.core.start import nonnegative_bias_
from bregman_nas.search.core.textbook import TextbookTrainer, adabreg, dead_outputs
from bregman_nas.settings import DenseNetExperiment, Engine, Run

KERNELS = (0, 1)


class DenseNetSearch:
    """One search; a `loop.Searcher`.

    Args:
        run: protocol and experiment.
        images: the raw images.
        seed: decides start and order.
        engine: `compact`, or `textbook` for the same by full-size module and autograd.
        device: where it runs.
    """

    def __init__(
        self,
        run: Run,
        images: ImageSet,
        seed: int,
        engine: Engine = "compact",
        device: torch.device | str = "cpu",
    ) -> None:
        self.problem = problem(run, images).to(torch.device(device))
        self.network = network(run, seed).to(device)
        self.trainer: CompactDenseNet | TextbookTrainer = (
            compact_trainer(run, self.network)
            if engine == "compact"
            else TextbookTrainer(
                self.network,
                adabreg(run, parameter_groups(run, self.network)),
                functional.cross_entropy,
            )
        )
        self._active = active_kernels(self.network)

    def train_examples(self, epoch: int) -> Examples:
        """The images and their classes, the same in each epoch."""
        return self.problem.train

    def train_batches(
        self, inputs: Tensor, targets: Tensor, batches: list[Tensor], learning_rate: float
    ) -> float:
        """See `loop.Searcher`."""
        return self.trainer.train_batches(inputs, targets, batches, learning_rate)

    def end_epoch(self, learning_rate: float) -> None:
        """Take out the channels that have died."""
        if isinstance(self.trainer, CompactDenseNet):
            self.trainer.compact(learning_rate)

    def observe(self, learning_rate: float) -> dict[str, Any]:
        """Loss and accuracy on the held-out images, kernels and channels.

        For each convolution from first to last: the active kernels; the output channels that have
        one; the living ones; the kernels active now that were not at the last look, and the other
        way round.
        """
        net = self.full_network()
        before, self._active = self._active, active_kernels(net)
        if isinstance(self.trainer, CompactDenseNet):
            logits = self.trainer.logits(self.problem.held_out.inputs)
            living = self.trainer.living_channels(learning_rate)
        else:
            logits = classify(net, self.problem.held_out.inputs)
            living = textbook_living_channels(net, self.trainer.optimizer, learning_rate)
        loss, accuracy = judge(logits, self.problem.held_out.targets)
        pairs = list(zip(before, self._active, strict=True))
        return {
            "held_out_loss": loss,
            "held_out_accuracy": accuracy,
            "active_kernels": [int(kernels.sum()) for kernels in self._active],
            "active_channels": [int(kernels.any(1).sum()) for kernels in self._active],
            "living_channels": living,
            "switched_on": [int((new & ~old).sum()) for old, new in pairs],
            "switched_off": [int((old & ~new).sum()) for old, new in pairs],
        }

    def result(self) -> dict[str, Any]:
        """Losses, accuracies and architecture of the network as it is now."""
        net = self.full_network()
        test, held_out = self.problem.test, self.problem.held_out
        test_loss, test_accuracy = judge(classify(net, test.inputs), test.targets)
        held_out_loss, held_out_accuracy = judge(classify(net, held_out.inputs), held_out.targets)
        norms = [kernel_norms(conv.weight) for conv in convolutions(net)]
        return {
            "test_accuracy": test_accuracy,
            "held_out_accuracy": held_out_accuracy,
            "test_loss": test_loss,
            "held_out_loss": held_out_loss,
            "active_kernels": [int((n > 0).sum()) for n in norms],
            "kernel_norms": [n.tolist() for n in norms],
        }

    def picture(self) -> None:
        """A classifier has no images to show."""

    def full_network(self) -> DenseNet:
        """The network as it is now, with all its channels."""
        if isinstance(self.trainer, CompactDenseNet):
            self.trainer.write_to(self.network)
        return self.network

    def state_dict(self) -> dict[str, Any]:
        """See `loop.Searcher`."""
        return {"trainer": self.trainer.state_dict(), "active": self._active}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """See `loop.Searcher`."""
        self.trainer.load_state_dict(state["trainer"])
        self._active = state["active"]


def compact_trainer(run: Run, net: DenseNet) -> CompactDenseNet:
    """The fast trainer for a network at its start."""
    return CompactDenseNet(
        net,
        GroupLasso(run.experiment.mu, KERNELS),
        betas=run.optimizer.betas,
        eps=run.optimizer.eps,
        delta=run.optimizer.delta,
        correct_first_moment=run.protocol.first_moment == "corrected",
    )


def problem(run: Run, images: ImageSet) -> Problem:
    """Images and their classes."""
    return classification_problem(images, held_out=run.protocol.held_out)


def network(run: Run, seed: int) -> DenseNet:
    """The network at the start: few active kernels, a dense last layer."""
    experiment = run.experiment
    assert isinstance(experiment, DenseNetExperiment)
    net = DenseNet(
        experiment.depth,
        experiment.growth,
        relu_logits=run.protocol.logits == "relu",
        input_mean=experiment.input_mean,
        input_std=experiment.input_std,
    )
    scale = run.protocol.initial_scale
    numbers = generator(seed, "start")
    for conv in convolutions(net):
        sparse_kaiming_normal_(
            conv.weight,
            density=experiment.density,
            group_dims=KERNELS,
            scale=1.0 if isinstance(scale, str) else scale,
            rescale_variance=isinstance(scale, str),
            mask="exact",
            generator=numbers,
        )
        if conv.bias is not None:
            bound = conv.weight[0].numel() ** -0.5  # torch's own start of a bias
            with torch.no_grad():
                conv.bias.copy_((2 * torch.rand(conv.bias.shape, generator=numbers) - 1) * bound)
    # Row 20: the last layer starts five times as large under both protocols.
    sparse_kaiming_normal_(
        net.linear.weight, density=1, group_dims=(), scale=5, mask="exact", generator=numbers
    )
    nonnegative_bias_(net.linear.bias, net.linear.in_features, numbers)
    return net


def convolutions(net: DenseNet) -> Iterator[nn.Conv2d]:
    """All convolutions, from input to output."""
    yield net.first
    yield from net.layers
    yield net.last


def parameter_groups(run: Run, net: DenseNet) -> list[dict[str, Any]]:
    """The parameters with their regularizers: every kernel a group, the others free."""
    free = [conv.bias for conv in convolutions(net) if conv.bias is not None]
    return [
        {
            "params": [conv.weight for conv in convolutions(net)],
            "regularizer": GroupLasso(run.experiment.mu, KERNELS),
        },
        {"params": [*free, net.linear.weight, net.linear.bias], "regularizer": Zero()},
    ]


@torch.no_grad()
def kernel_norms(weight: Tensor) -> Tensor:
    """The Frobenius norm of each kernel, [out, in]."""
    norms: Tensor = torch.linalg.vector_norm(weight, dim=(2, 3))
    return norms


@torch.no_grad()
def active_kernels(net: DenseNet) -> list[Tensor]:
    """For each convolution from first to last, boolean [out, in]: which kernels are active."""
    return [(kernel_norms(conv.weight) > 0).cpu() for conv in convolutions(net)]


@torch.no_grad()
def classify(net: DenseNet, images: Tensor) -> Tensor:
    """The network's logits [n, classes], a few hundred images at a time."""
    return torch.cat([net(part) for part in images.split(500)])


def judge(logits: Tensor, classes: Tensor) -> tuple[float, float]:
    """Mean cross-entropy and the share of images whose largest logit is right."""
    right = (logits.argmax(1) == classes).double().mean()
    return float(functional.cross_entropy(logits.double(), classes)), float(right)


def textbook_living_channels(net: DenseNet, optimizer: AdaBreg, learning_rate: float) -> list[int]:
    """For each convolution, how many output channels of a network in textbook training live.

    Those of the first always do: without ReLU an output of 0 still has a gradient. That of the
    last is counted as living whatever happens: without it the network would have no output.
    """
    living = [
        int((~dead_outputs(optimizer, conv.weight, conv.bias, learning_rate)).sum())
        for conv in net.layers
        if conv.bias is not None
    ]
    return [net.growth, *living, 1]
