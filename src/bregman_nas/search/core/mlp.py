"""The searches with the multi-layer perceptron: problem, network, regularizers, observations."""

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from bregman_nas.bregman.initialization import sparse_kaiming_normal_
from bregman_nas.bregman.optimizers import AdaBreg
from bregman_nas.bregman.regularizers import L1, GroupLasso, Zero
from bregman_nas.data.degradation import Examples, Problem, degrade, split
from bregman_nas.data.files import ImageSet
from bregman_nas.networks import ResidualMLP
from bregman_nas.randomness import generator
from bregman_nas.search.core.compact_mlp import CompactMLP
from bregman_nas.search.core.searches import Search, SparseSearch, nonnegative_bias_, sparse_start
from bregman_nas.search.core.textbook import MOMENTS, TextbookTrainer, adabreg, state_of
from bregman_nas.search.core.trainer import in_parts
from bregman_nas.settings import MLPExperiment, Run

PICTURED = 8
ROWS = (0,)


class Restoration(Search[ResidualMLP]):
    """A perceptron that restores images, however it is trained."""

    def _problem(self, images: ImageSet) -> Problem:
        # Needed again only for new noise.
        self._images = images if self.run.protocol.noise == "every-epoch" else None
        return problem(self.run, images, self.seed)

    def train_examples(self, epoch: int) -> Examples:
        """The degraded and clean images of an epoch."""
        if self._images is None:
            return self.problem.train
        inputs = degraded(self.run, self._images.train_images, self.seed, "train", epoch)
        trained_on, _ = split(len(inputs), self.run.protocol.held_out)
        return Examples(inputs[trained_on].to(self.device), self.problem.train.targets)

    def _skips(self) -> dict[str, Any]:
        """The skips that exist, those with i <= l, if there are any."""
        if (tau := self.full_network().skips) is None:
            return {}
        return {"skips": [line[: l + 1] for l, line in enumerate(tau.tolist())]}

    def picture(self, network: nn.Module | None = None) -> Tensor:
        """The first test images, uint8 [3 * side, 8 * side]: rows clean, degraded, restored."""
        test = self.problem.test
        inputs, targets = test.inputs[:PICTURED], test.targets[:PICTURED]
        rows = torch.stack([targets, inputs, in_parts(network or self.full_network(), inputs)])
        side = math.isqrt(rows.shape[-1])
        grid = rows.reshape(3, -1, side, side).permute(0, 2, 1, 3).reshape(3 * side, -1)
        return grid.clamp(0, 1).mul(255).round().to(torch.uint8).cpu()


class MLPSearch(Restoration, SparseSearch[ResidualMLP]):
    """The perceptron, searched by Bregman iterations."""

    def observe(self, learning_rate: float) -> dict[str, Any]:
        """Loss on the held-out images; rows of each layer; skips."""
        held_out, switched = self.problem.held_out, self._switched()
        outputs = self.trainer.outputs(held_out.inputs)
        return {
            "held_out_loss": mean_squared_error(outputs, held_out.targets),
            "active_rows": [int(rows.sum()) for rows in self._active],
            "living_rows": self.trainer.living(learning_rate),
            **switched,
            **self._skips(),
        }

    def result(self) -> dict[str, Any]:
        net = self.full_network()
        test, held_out = self.problem.test, self.problem.held_out
        mean_image = self.problem.train.targets.mean(0)
        return {
            "test_mse": mean_squared_error(in_parts(net, test.inputs), test.targets),
            "held_out_mse": mean_squared_error(in_parts(net, held_out.inputs), held_out.targets),
            "test_baselines": baselines(test.inputs, test.targets, mean_image),
            "held_out_baselines": baselines(held_out.inputs, held_out.targets, mean_image),
            "active_rows": [int(active_rows(layer.weight).sum()) for layer in net.layers],
            "effective_rows": effective_widths(net, test.inputs),
            "output_rows": active_rows(net.layers[-1].weight).nonzero()[:, 0].tolist(),
            **self._skips(),
        }


def trainer_of(run: Run, net: ResidualMLP, engine: str) -> CompactMLP | TextbookTrainer:
    """The `compact` or the `textbook` trainer for a network at its start."""
    optimizer = adabreg(run, parameter_groups(run, net))
    frozen = _experiment(run).inactive_biases == "frozen"
    if engine == "compact":
        return CompactMLP(net, optimizer, freeze_inactive_biases=frozen)
    if frozen:
        freeze_inactive_biases(net, optimizer)
    return TextbookTrainer(net, optimizer, functional.mse_loss)


def freeze_inactive_biases(net: ResidualMLP, optimizer: AdaBreg) -> None:
    """Let the optimizer leave the bias of each row as it is while the row is not active."""
    kept: list[tuple[Tensor, Tensor, Tensor]] = []

    def before(*_: Any) -> None:
        kept.clear()
        for layer in net.layers:
            off, state = ~active_rows(layer.weight), state_of(optimizer, layer.bias)
            held = (layer.bias.data, *(state[name] for name in MOMENTS))
            kept.extend((values, off, values[off]) for values in held)

    def after(*_: Any) -> None:
        for values, off, old in kept:
            values[off] = old

    optimizer.register_step_pre_hook(before)
    optimizer.register_step_post_hook(after)


def problem(run: Run, images: ImageSet, seed: int) -> Problem:
    """Map degraded images to clean ones; see `split` and `degrade`. The seed decides the noise."""
    raw, test = images.train_images, images.test_images
    inputs = degraded(run, raw, seed, "train")
    parts = split(len(raw), run.protocol.held_out)
    train, held_out = (Examples(inputs[part], raw[part].flatten(1) / 255) for part in parts)
    tested = Examples(degraded(run, test, seed, "test"), test.flatten(1) / 255)
    return Problem(train, held_out, tested)


def degraded(run: Run, images: Tensor, seed: int, *purpose: str | int) -> Tensor:
    """The degraded images of a file, float32 [n, height * width]; see `degrade`.

    `purpose`, on which the noise depends: "train" or "test", and an epoch with noise of its own.
    """
    experiment, noise = _experiment(run), generator(seed, "noise", *purpose)
    return degrade(images, experiment.noise_std, experiment.blur, noise).flatten(1)


def network(run: Run, seed: int) -> ResidualMLP:
    """The network at the start: few active rows, biases not negative, skips zero."""
    options = {"depth", "skips", "input_mean", "input_std", "relu_slope"}
    net = ResidualMLP(**run.experiment.model_dump(include=options))
    numbers = generator(seed, "start")
    how = sparse_start(run)
    for layer in net.layers:
        sparse_kaiming_normal_(layer.weight, group_dims=ROWS, generator=numbers, **how)
        nonnegative_bias_(layer.bias, layer.in_features, numbers)
    return net


def parameter_groups(run: Run, net: ResidualMLP) -> list[dict[str, Any]]:
    """The parameters with their regularizers: (2.10), or (2.9) for the same without skips.

    The autoencoder's module has no skips for the indicator in (2.9) to hold at zero.
    """
    rows = GroupLasso(run.experiment.mu, ROWS)
    groups: list[dict[str, Any]] = [
        {"params": [layer.weight for layer in net.layers], "regularizer": rows},
        {"params": [layer.bias for layer in net.layers], "regularizer": Zero()},
    ]
    if net.skips is not None:
        mu = run.protocol.skip_threshold * run.experiment.mu
        groups.append({"params": [net.skips], "regularizer": L1(mu)})
    return groups


def mean_squared_error(outputs: Tensor, targets: Tensor) -> float:
    """The mean over all images and pixels, summed in double precision."""
    return float((outputs - targets).double().square().mean())


def baselines(inputs: Tensor, targets: Tensor, mean_image: Tensor) -> dict[str, float]:
    """The mean squared error per pixel of three answers that need no training."""
    return {
        "input_unchanged": mean_squared_error(inputs, targets),
        "mean_image": mean_squared_error(mean_image, targets),
        "zero": mean_squared_error(torch.zeros(()), targets),
    }


@torch.no_grad()
def effective_widths(net: ResidualMLP, inputs: Tensor) -> list[int]:
    """For each layer the active rows that respond to the input and can influence the output.

    A row responds if its ReLU gives different values for different images among `inputs`, which
    are [n, pixels]. It can influence the output if a chain of nonzero weights of responding rows,
    and of nonzero skips, leads from it there.
    """
    depth, width = len(net.layers), inputs.shape[1]
    lowest = inputs.new_full((depth, width), math.inf)
    highest = -lowest
    for part in inputs.split(1_000):
        y = torch.stack(net.states(part)[1])
        lowest, highest = torch.minimum(lowest, y.amin(1)), torch.maximum(highest, y.amax(1))
    responds = (highest > lowest) & torch.stack([active_rows(layer.weight) for layer in net.layers])
    reaches = [torch.ones(width, dtype=torch.bool, device=inputs.device)]
    for l in range(depth - 1, 0, -1):
        readers = responds[l] & reaches[0]
        through = (net.layers[l].weight[readers] != 0).any(0)
        for j in range(l, depth):
            if net.skips is not None and net.skips[j, l] != 0:
                through = through | reaches[j - l]
        reaches.insert(0, through)
    return [int((rows & leads).sum()) for rows, leads in zip(responds, reaches, strict=True)]


def active_rows(weight: Tensor) -> Tensor:
    """Boolean [rows]: which rows of a weight are not zero."""
    return (weight != 0).any(1)


def _experiment(run: Run) -> MLPExperiment:
    assert isinstance(run.experiment, MLPExperiment)
    return run.experiment
