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
from bregman_nas.search.start import nonnegative_bias_
from bregman_nas.search.textbook import TextbookTrainer, adabreg, dead_outputs
from bregman_nas.settings import DenseNetExperiment, Engine, Run

KERNELS = (0, 1)


class DenseNetSearch:
    """One search; a `loop.Searcher`.

    Args:
        run: protocol and experiment.
        images: the raw images.
        seed: decides start and order.
        engine: only `textbook` so far.
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
        self.trainer = TextbookTrainer(
            self.network,
            adabreg(run, parameter_groups(run, self.network)),
            functional.cross_entropy,
        )

    def train_examples(self, epoch: int) -> Examples:
        """The images and their classes, the same in each epoch."""
        return self.problem.train

    def train_batches(
        self, inputs: Tensor, targets: Tensor, batches: list[Tensor], learning_rate: float
    ) -> float:
        """See `loop.Searcher`."""
        return self.trainer.train_batches(inputs, targets, batches, learning_rate)

    def end_epoch(self, learning_rate: float) -> None:
        """Nothing to do: the textbook trainer keeps its dead channels."""

    def observe(self, learning_rate: float) -> dict[str, Any]:
        """Loss and accuracy on the held-out images, active kernels, active and living channels."""
        loss, accuracy = judge(self.network, self.problem.held_out)
        return {
            "held_out_loss": loss,
            "held_out_accuracy": accuracy,
            **observe_textbook(self.network, self.trainer.optimizer, learning_rate),
        }

    def result(self) -> dict[str, Any]:
        """Losses, accuracies and architecture of the network as it is now."""
        test_loss, test_accuracy = judge(self.network, self.problem.test)
        held_out_loss, held_out_accuracy = judge(self.network, self.problem.held_out)
        norms = [kernel_norms(conv.weight) for conv in convolutions(self.network)]
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
        """The network as it is now."""
        return self.network

    def state_dict(self) -> dict[str, Any]:
        """See `loop.Searcher`."""
        return self.trainer.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """See `loop.Searcher`."""
        self.trainer.load_state_dict(state)


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
def judge(net: DenseNet, examples: Examples) -> tuple[float, float]:
    """Mean cross-entropy and the share of images whose largest logit is right."""
    loss, right = 0.0, 0
    for start in range(0, len(examples), 500):
        images = examples.inputs[start : start + 500]
        classes = examples.targets[start : start + 500]
        logits = net(images)
        loss += float(functional.cross_entropy(logits, classes, reduction="sum"))
        right += int((logits.argmax(1) == classes).sum())
    return loss / len(examples), right / len(examples)


@torch.no_grad()
def observe_textbook(net: DenseNet, optimizer: AdaBreg, learning_rate: float) -> dict[str, Any]:
    """For each convolution: active kernels; output channels that are active; that are living."""
    active_kernels, active_channels, living_channels = [], [], []
    for conv in convolutions(net):
        kernels = kernel_norms(conv.weight) > 0
        active_kernels.append(int(kernels.sum()))
        active_channels.append(int(kernels.any(1).sum()))
        # Without ReLU, as in the first, there is no death: an output of 0 still has a gradient.
        living_channels.append(
            len(kernels)
            if conv.bias is None
            else int((~dead_outputs(optimizer, conv.weight, conv.bias, learning_rate)).sum())
        )
    return {
        "active_kernels": active_kernels,
        "active_channels": active_channels,
        "living_channels": living_channels,
    }
