"""The searches with the multi-layer perceptron: problem, network, regularizers, observations."""

import math
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from bregman_nas.bregman.initialization import sparse_kaiming_normal_
from bregman_nas.bregman.optimizers import AdaBreg
from bregman_nas.bregman.regularizers import L1, GroupLasso, Zero, ZeroIndicator
from bregman_nas.data.degradation import (
    Examples,
    Problem,
    restoration_inputs,
    restoration_problem,
    split,
)
from bregman_nas.data.files import ImageSet
from bregman_nas.networks.residual_mlp import ResidualMLP, rectify
from bregman_nas.randomness import generator
from bregman_nas.search.core.compact_mlp import CompactAutoencoder, CompactMLP, CompactResidual
from bregman_nas.search.core.start import nonnegative_bias_
from bregman_nas.search.core.textbook import TextbookTrainer, adabreg, dead_outputs
from bregman_nas.settings import Engine, MLPExperiment, Run

PICTURED = 8

ROWS = (0,)


class MLPSearch:
    """One search; a `loop.Searcher`.

    Args:
        run: protocol and experiment.
        images: the raw images.
        seed: decides start, noise and order.
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
        self.run, self.images, self.seed, self.device = run, images, seed, torch.device(device)
        self.problem = problem(run, images, seed).to(self.device)
        self.network = network(run, seed).to(self.device)
        self.trainer: CompactMLP | TextbookTrainer = (
            compact_trainer(run, self.network)
            if engine == "compact"
            else textbook_trainer(run, self.network)
        )
        self._active = self._active_rows()

    def train_examples(self, epoch: int) -> Examples:
        """The degraded and clean images of this epoch."""
        if self.run.protocol.noise == "once":
            return self.problem.train
        inputs = fresh_inputs(self.run, self.images, self.seed, epoch)
        return Examples(inputs.to(self.device), self.problem.train.targets)

    def train_batches(
        self, inputs: Tensor, targets: Tensor, batches: list[Tensor], learning_rate: float
    ) -> float:
        """See `loop.Searcher`."""
        return self.trainer.train_batches(inputs, targets, batches, learning_rate)

    def end_epoch(self, learning_rate: float) -> None:
        """Take out the rows that have died."""
        if isinstance(self.trainer, CompactMLP):
            self.trainer.compact(learning_rate)

    def observe(self, learning_rate: float) -> dict[str, Any]:
        """Loss on the held-out images, rows and skips.

        For each layer: the active rows; the living ones; those active now that were not at the
        last look, and the other way round.
        """
        before, self._active = self._active, self._active_rows()
        held_out, trainer = self.problem.held_out, self.trainer
        if isinstance(trainer, CompactMLP):
            outputs = trainer.restore(held_out.inputs)
            living = trainer.living_rows(learning_rate)
            tau = trainer.tau_values if trainer.skips is not None else None
        else:
            outputs = restore(self.network, held_out.inputs)
            living = textbook_living_rows(self.network, trainer.optimizer, learning_rate)
            tau = None if self.network.skips is None else self.network.skips.tolist()
        observation: dict[str, Any] = {
            "held_out_loss": mean_squared_error(outputs, held_out.targets),
            "active_rows": self._active.sum(1).tolist(),
            "living_rows": living,
            "switched_on": (self._active & ~before).sum(1).tolist(),
            "switched_off": (before & ~self._active).sum(1).tolist(),
        }
        if tau is not None:
            observation["skips"] = lower_triangle(tau)
        return observation

    def result(self) -> dict[str, Any]:
        """Losses and architecture of the network as it is now, judged as a full-size module."""
        net = self.full_network()
        test, held_out = self.problem.test, self.problem.held_out
        mean_image = self.problem.train.targets.mean(0)
        result: dict[str, Any] = {
            "test_mse": mean_squared_error(restore(net, test.inputs), test.targets),
            "held_out_mse": mean_squared_error(restore(net, held_out.inputs), held_out.targets),
            "test_baselines": baselines(test.inputs, test.targets, mean_image),
            "held_out_baselines": baselines(held_out.inputs, held_out.targets, mean_image),
            "active_rows": [int(active_rows(layer.weight).sum()) for layer in net.layers],
            "effective_rows": effective_widths(net, test.inputs),
            "output_rows": active_rows(net.layers[-1].weight).nonzero()[:, 0].tolist(),
        }
        if net.skips is not None:
            result["skips"] = lower_triangle(net.skips.tolist())
        return result

    def picture(self) -> Tensor:
        """The first test images, uint8 [3 * side, 8 * side]: rows clean, degraded, restored."""
        inputs, targets = (
            t[:PICTURED] for t in (self.problem.test.inputs, self.problem.test.targets)
        )
        rows = torch.stack([targets, inputs, restore(self.full_network(), inputs)])
        side = math.isqrt(rows.shape[-1])
        grid = rows.reshape(3, -1, side, side).permute(0, 2, 1, 3).reshape(3 * side, -1)
        return grid.clamp(0, 1).mul(255).round().to(torch.uint8).cpu()

    def full_network(self) -> ResidualMLP:
        """The network as it is now, with all its rows."""
        if isinstance(self.trainer, CompactMLP):
            self.trainer.write_to(self.network)
        return self.network

    def state_dict(self) -> dict[str, Any]:
        """See `loop.Searcher`."""
        return {"trainer": self.trainer.state_dict(), "active": self._active}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """See `loop.Searcher`."""
        self.trainer.load_state_dict(state["trainer"])
        self._active = state["active"]

    def _active_rows(self) -> Tensor:
        """Boolean [depth, width], on the CPU."""
        if isinstance(self.trainer, CompactMLP):
            return self.trainer.active_rows()
        return torch.stack([active_rows(layer.weight) for layer in self.network.layers]).cpu()


def compact_trainer(run: Run, net: ResidualMLP) -> CompactMLP:
    """The fast trainer for a network at its start."""
    kind = CompactAutoencoder if net.skips is None else CompactResidual
    return kind(
        net,
        GroupLasso(run.experiment.mu, ROWS),
        None if net.skips is None else L1(skip_mu(run)),
        betas=run.optimizer.betas,
        eps=run.optimizer.eps,
        delta=run.optimizer.delta,
        correct_first_moment=run.protocol.first_moment == "corrected",
        freeze_inactive_biases=_experiment(run).inactive_biases == "frozen",
    )


def textbook_trainer(run: Run, net: ResidualMLP) -> TextbookTrainer:
    """The readable trainer for a network at its start."""
    optimizer = adabreg(run, parameter_groups(run, net))
    if _experiment(run).inactive_biases == "frozen":
        freeze_inactive_biases(net, optimizer)
    return TextbookTrainer(net, optimizer, functional.mse_loss)


def freeze_inactive_biases(net: ResidualMLP, optimizer: AdaBreg) -> None:
    """Let the optimizer leave the bias of each row as it is while the row is not active."""
    kept: list[tuple[Tensor, Tensor, dict[str, Tensor]]] = []

    def before(*_: Any) -> None:
        kept.clear()
        for layer in net.layers:
            rows = ~active_rows(layer.weight)
            state = optimizer.state.get(layer.bias)
            if not state:  # before the first step
                v = optimizer.subgradient(layer.bias)
                state = {"v": v, "exp_avg": torch.zeros_like(v), "exp_avg_sq": torch.zeros_like(v)}
            values = {key: state[key][rows].clone() for key in ("v", "exp_avg", "exp_avg_sq")}
            kept.append((layer.bias, rows, {**values, "bias": layer.bias.detach()[rows].clone()}))

    def after(*_: Any) -> None:
        for bias, rows, values in kept:
            bias.data[rows] = values.pop("bias")
            for key, value in values.items():
                optimizer.state[bias][key][rows] = value

    optimizer.register_step_pre_hook(before)
    optimizer.register_step_post_hook(after)


@torch.no_grad()
def textbook_living_rows(net: ResidualMLP, optimizer: AdaBreg, learning_rate: float) -> list[int]:
    """For each layer of a network in textbook training, how many rows are not dead."""
    if net.relu_slope:
        return [layer.out_features for layer in net.layers]  # every row has a gradient
    return [
        int((~dead_outputs(optimizer, layer.weight, layer.bias, learning_rate)).sum())
        for layer in net.layers
    ]


def lower_triangle(tau: list[list[float]]) -> list[list[float]]:
    """The skips that exist: those with i <= l."""
    return [row[: l + 1] for l, row in enumerate(tau)]


def blurring(experiment: MLPExperiment) -> tuple[int, float] | None:
    """Size and standard deviation of the blur, in pixels, or None."""
    return (experiment.blur.size, experiment.blur.std) if experiment.blur else None


def problem(run: Run, images: ImageSet, seed: int) -> Problem:
    """Degraded and clean images, with the noise of this seed."""
    experiment = _experiment(run)
    return restoration_problem(
        images,
        held_out=run.protocol.held_out,
        noise_std=experiment.noise_std,
        blurring=blurring(experiment),
        seed=seed,
    )


def fresh_inputs(run: Run, images: ImageSet, seed: int, epoch: int) -> Tensor:
    """The inputs trained on, with noise drawn for this epoch alone; order as in `problem`."""
    experiment = _experiment(run)
    inputs = restoration_inputs(
        images.train_images,
        "train",
        noise_std=experiment.noise_std,
        blurring=blurring(experiment),
        seed=seed,
        epoch=epoch,
    )
    return inputs[split(len(inputs), run.protocol.held_out)[0]]


def network(run: Run, seed: int, pixels: int = 784) -> ResidualMLP:
    """The network at the start: few active rows, biases not negative, skips zero."""
    experiment = _experiment(run)
    net = ResidualMLP(
        pixels,
        experiment.depth,
        skips=experiment.skips,
        input_mean=experiment.input_mean,
        input_std=experiment.input_std,
        relu_slope=experiment.relu_slope,
    )
    scale = run.protocol.initial_scale
    numbers = generator(seed, "start")
    for layer in net.layers:
        sparse_kaiming_normal_(
            layer.weight,
            density=experiment.density,
            group_dims=ROWS,
            scale=1.0 if isinstance(scale, str) else scale,
            rescale_variance=isinstance(scale, str),
            generator=numbers,
        )
        nonnegative_bias_(layer.bias, fan_in=pixels, numbers=numbers)
    return net


def skip_mu(run: Run) -> float:
    """The threshold of the skips."""
    return run.protocol.skip_threshold * run.experiment.mu


def parameter_groups(run: Run, net: ResidualMLP) -> list[dict[str, Any]]:
    """The parameters with their regularizers: (2.10), or (2.9) for the same without skips.

    The autoencoder's module has no skips, so that the indicator in (2.9) has nothing to hold at
    zero. A module that has them nevertheless is held there by it.
    """
    groups: list[dict[str, Any]] = [
        {
            "params": [layer.weight for layer in net.layers],
            "regularizer": GroupLasso(run.experiment.mu, ROWS),
        },
        {"params": [layer.bias for layer in net.layers], "regularizer": Zero()},
    ]
    if net.skips is not None:
        on = _experiment(run).skips
        groups.append(
            {"params": [net.skips], "regularizer": L1(skip_mu(run)) if on else ZeroIndicator()}
        )
    return groups


@torch.no_grad()
def restore(net: ResidualMLP, inputs: Tensor) -> Tensor:
    """The network's output [n, pixels], a thousand images at a time."""
    return torch.cat([net(part) for part in inputs.split(1_000)])


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

    A row responds if its ReLU gives different values for different images among `inputs`. It can
    influence the output if a chain of nonzero weights of responding rows, and of nonzero skips,
    leads from it there.

    Args:
        net: the network.
        inputs: images [n, pixels].
    """
    depth, width = len(net.layers), inputs.shape[1]
    lowest = inputs.new_full((depth, width), math.inf)
    highest = inputs.new_full((depth, width), -math.inf)
    for part in inputs.split(1_000):
        for l, y in enumerate(rectified(net, part)):
            lowest[l] = torch.minimum(lowest[l], y.amin(0))
            highest[l] = torch.maximum(highest[l], y.amax(0))
    responds = (highest > lowest) & torch.stack([active_rows(layer.weight) for layer in net.layers])
    reaches = [torch.ones(width, dtype=torch.bool, device=inputs.device)]
    for l in range(depth - 1, 0, -1):
        readers = responds[l] & reaches[0]
        through = (net.layers[l].weight[readers] != 0).any(0)
        if net.skips is not None:
            for j in range(l, depth):
                if net.skips[j, l] != 0:
                    through = through | reaches[j - l]
        reaches.insert(0, through)
    return [int((responds[l] & reaches[l]).sum()) for l in range(depth)]


@torch.no_grad()
def rectified(net: ResidualMLP, images: Tensor) -> list[Tensor]:
    """relu(W(l) x(l) + b(l)) of each layer, before any skip is added; each [n, width]."""
    outputs: list[Tensor] = []
    handles = [
        layer.register_forward_hook(lambda _m, _i, z: outputs.append(rectify(z, net.relu_slope)))
        for layer in net.layers
    ]
    try:
        net(images)
    finally:
        for handle in handles:
            handle.remove()
    return outputs


def active_rows(weight: Tensor) -> Tensor:
    """Boolean [rows]: which rows of a weight are not zero."""
    return (weight != 0).any(1)


def _experiment(run: Run) -> MLPExperiment:
    assert isinstance(run.experiment, MLPExperiment)
    return run.experiment
