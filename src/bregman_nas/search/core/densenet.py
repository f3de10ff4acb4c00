"""The search with the DenseNet: problem, network, regularizers, what is observed."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from bregman_nas.bregman.initialization import sparse_kaiming_normal_
from bregman_nas.bregman.regularizers import GroupLasso, Zero
from bregman_nas.data.degradation import Examples, Problem, split
from bregman_nas.data.files import ImageSet
from bregman_nas.networks import DenseNet
from bregman_nas.randomness import generator
from bregman_nas.search.core.compact_densenet import CompactDenseNet
from bregman_nas.search.core.searches import SparseSearch, nonnegative_bias_, sparse_start
from bregman_nas.search.core.textbook import TextbookTrainer, adabreg
from bregman_nas.search.core.trainer import in_parts
from bregman_nas.settings import Run

KERNELS = (0, 1)


class DenseNetSearch(SparseSearch[DenseNet]):
    """The DenseNet, searched by Bregman iterations."""

    def _problem(self, images: ImageSet) -> Problem:
        return problem(self.run, images)

    def observe(self, learning_rate: float) -> dict[str, Any]:
        """Loss and accuracy on the held-out images; kernels and channels of each convolution.

        The output channels of the first always live: without ReLU an output of 0 still has a
        gradient. That of the last counts as living whatever happens: without it the network would
        have no output.
        """
        held_out = self.problem.held_out
        loss, accuracy = evaluate(self.trainer.outputs(held_out.inputs), held_out.targets)
        switched = self._switched()
        return {
            "held_out_loss": loss,
            "held_out_accuracy": accuracy,
            "active_kernels": [int(kernels.sum()) for kernels in self._active],
            "active_channels": [int(kernels.any(1).sum()) for kernels in self._active],
            "living_channels": [self.network.growth, *self.trainer.living(learning_rate), 1],
            **switched,
        }

    def result(self) -> dict[str, Any]:
        """See `Search`; `logits_ever_positive` counts those positive for some test image.

        With ReLU on the logits, one that never is has no gradient: its class is answered only
        where all other logits are 0 too.
        """
        net, test, held_out = self.full_network(), self.problem.test, self.problem.held_out
        logits = in_parts(net, test.inputs, 500)
        test_loss, test_accuracy = evaluate(logits, test.targets)
        loss, accuracy = evaluate(in_parts(net, held_out.inputs, 500), held_out.targets)
        weights = [conv.weight.detach() for conv in convolutions(net)]
        norms = [torch.linalg.vector_norm(weight, dim=(2, 3)) for weight in weights]
        return {
            "test_accuracy": test_accuracy,
            "held_out_accuracy": accuracy,
            "test_loss": test_loss,
            "held_out_loss": loss,
            "active_kernels": [int((n > 0).sum()) for n in norms],
            "kernel_norms": [n.tolist() for n in norms],
            "logits_ever_positive": int((logits > 0).any(0).sum()),
        }


def trainer_of(run: Run, net: DenseNet, engine: str) -> CompactDenseNet | TextbookTrainer:
    """The `compact` or the `textbook` trainer for a network at its start."""
    optimizer = adabreg(run, parameter_groups(run, net))
    if engine == "compact":
        return CompactDenseNet(net, optimizer)
    return TextbookTrainer(net, optimizer, functional.cross_entropy)


def problem(run: Run, images: ImageSet) -> Problem:
    """Map images [n, 1, height, width] in [0, 1] to their classes; see `split`."""
    inputs, labels = (images.train_images / 255)[:, None], images.train_labels
    parts = split(len(inputs), run.protocol.held_out)
    train, held_out = (Examples(inputs[part], labels[part]) for part in parts)
    test = Examples((images.test_images / 255)[:, None], images.test_labels)
    return Problem(train, held_out, test)


def network(run: Run, seed: int) -> DenseNet:
    """The network at the start: few active kernels, a dense last layer."""
    options = run.experiment.model_dump(include={"depth", "growth", "input_mean", "input_std"})
    net = DenseNet(**options, relu_logits=run.protocol.logits == "relu")
    numbers = generator(seed, "start")
    how: Any = {"mask": "exact", "generator": numbers}
    for conv in convolutions(net):
        sparse_kaiming_normal_(conv.weight, group_dims=KERNELS, **how, **sparse_start(run))
        if conv.bias is not None:
            bound = conv.weight[0].numel() ** -0.5  # torch's own start of a bias
            with torch.no_grad():
                conv.bias.copy_((2 * torch.rand(conv.bias.shape, generator=numbers) - 1) * bound)
    # Row 20: the last layer starts five times as large under both protocols.
    sparse_kaiming_normal_(net.linear.weight, density=1, group_dims=(), scale=5, **how)
    nonnegative_bias_(net.linear.bias, net.linear.in_features, numbers)
    return net


def convolutions(net: DenseNet) -> list[nn.Conv2d]:
    """All convolutions, from input to output."""
    return [net.first, *net.layers, net.last]


def parameter_groups(run: Run, net: DenseNet) -> list[dict[str, Any]]:
    """The parameters with their regularizers: every kernel a group, the others free."""
    weights = [conv.weight for conv in convolutions(net)]
    free = [conv.bias for conv in convolutions(net) if conv.bias is not None]
    return [
        {"params": weights, "regularizer": GroupLasso(run.experiment.mu, KERNELS)},
        {"params": [*free, net.linear.weight, net.linear.bias], "regularizer": Zero()},
    ]


@torch.no_grad()
def evaluate(logits: Tensor, classes: Tensor) -> tuple[float, float]:
    """Mean cross-entropy and the share of images whose largest logit is right."""
    right = (logits.argmax(1) == classes).double().mean()
    return float(functional.cross_entropy(logits.double(), classes)), float(right)
