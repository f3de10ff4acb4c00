"""The sparse start: all that is off can switch on, and the check says where it cannot."""

import warnings
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from bregman_nas import (
    AdaBreg,
    ByKind,
    HeadLasso,
    architecture,
    parameter_groups,
    start_sparsely_,
    stuck_groups,
    warn_of_stuck_groups,
)


class Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(8, 4, batch_first=True)
        self.head = nn.Linear(8, 2)

    def forward(self, images: Tensor) -> Tensor:
        """A token is a row of the image."""
        x = images[:, 0]
        found: Tensor = self.head(self.attention(x, x, x, need_weights=False)[0]).mean(1)
        return found


def perceptron() -> nn.Sequential:
    return nn.Sequential(
        *(nn.Flatten(), nn.Linear(64, 40), nn.ReLU(), nn.Linear(40, 40), nn.ReLU()),
        nn.Linear(40, 2),
    )


def convolutions() -> nn.Sequential:
    return nn.Sequential(
        *(nn.Conv2d(1, 12, 3, bias=False), nn.BatchNorm2d(12), nn.ReLU()),
        *(nn.Conv2d(12, 12, 3, bias=False), nn.BatchNorm2d(12), nn.ReLU()),
        *(nn.Flatten(), nn.Linear(192, 2)),
    )


def transposed() -> nn.Sequential:
    return nn.Sequential(
        *(nn.ConvTranspose2d(1, 12, 3, stride=2), nn.ReLU(), nn.Conv2d(12, 8, 3), nn.ReLU()),
        *(nn.Flatten(), nn.Linear(1800, 2)),
    )


NETWORKS: list[tuple[Callable[[], nn.Module], ByKind]] = [
    (perceptron, ByKind(rows=0.05, exclude=["5.*"])),
    (perceptron, ByKind(columns=0.05, exclude=["5.*"])),
    (convolutions, ByKind(channels=0.05)),
    (convolutions, ByKind(kernels=0.05, rows=0.01)),
    (transposed, ByKind(channels=0.05)),
    (Attention, ByKind(heads=0.05)),
]
each_network = pytest.mark.parametrize(("make", "rule"), NETWORKS)


def images(seed: int) -> tuple[Tensor, Tensor]:
    """Noise, and whether its left half is the brighter one."""
    x = torch.randn(64, 1, 8, 8, generator=torch.Generator().manual_seed(seed))
    return x, (x[..., :4].sum((1, 2, 3)) > x[..., 4:].sum((1, 2, 3))).long()


def train(network: nn.Module, rule: ByKind, steps: int) -> None:
    optimizer = AdaBreg(parameter_groups(network, rule), lr=0.01)
    warn_of_stuck_groups(optimizer, network, rule, steps=10)
    for step in range(steps):
        inputs, classes = images(step)
        optimizer.zero_grad()
        nn.functional.cross_entropy(network(inputs), classes).backward()
        optimizer.step()


@each_network
def test_every_group_that_starts_off_can_switch_on(
    make: Callable[[], nn.Module], rule: ByKind
) -> None:
    torch.manual_seed(0)
    network = make()
    start_sparsely_(network, rule, density=0.2)
    begun = architecture(network, rule)
    train(network, rule, 60)  # a warning is an error here
    for name, on in architecture(network, rule).items():
        assert (on & ~begun[name]).any(), f"none of {name} has switched on"


@pytest.mark.parametrize(("make", "rule"), [NETWORKS[0], NETWORKS[2]])
def test_what_cannot_switch_on_is_counted_by_name(
    make: Callable[[], nn.Sequential], rule: ByKind
) -> None:
    torch.manual_seed(0)
    network = make()
    start_sparsely_(network, rule, density=0.2)
    layer = network[1]  # linear or the batch norm: zero biases, as they are mostly made
    nn.init.zeros_(layer.get_parameter("bias"))
    name, off = next((n, int((~on).sum())) for n, on in architecture(network, rule).items())
    with pytest.warns(UserWarning, match=rf"{name}: {off} of \d+\. Before a ReLU the bias"):
        train(network, rule, 10)
    assert int(stuck_groups(network, rule)[name].sum()) == off
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        train(network, rule, 9)  # nothing is said before the tenth step


def test_the_start_is_sparse_and_the_architecture_says_so() -> None:
    conv, linear, head = nn.Conv2d(2, 5, 3), nn.Linear(4, 10), nn.Linear(4, 10)
    norm, gate = nn.BatchNorm1d(3), nn.PReLU()
    dense = [parameter.clone() for parameter in head.parameters()]
    network = nn.ModuleList([conv, linear, norm, head, gate])
    rule = ByKind(rows=0.5, kernels=0.2, exclude=["3.*"])
    start_sparsely_(network, rule, density=0.2)
    found = architecture(network, rule)
    assert set(found) == {"0.weight", "1.weight"}
    assert found["0.weight"].shape == (5, 2)
    assert int(found["0.weight"].sum()) == int(found["1.weight"].sum()) == 2
    assert all(map(torch.equal, head.parameters(), dense))
    # At least mu, and of norms at least the largest mu.
    assert conv.bias is not None
    assert conv.bias.min() >= 0.2
    assert linear.bias.min() >= 0.5
    assert norm.bias.tolist() == [0.5] * 3
    start_sparsely_(gate, ByKind(scalars={"weight": 0.1}), density=0.2)
    assert not gate.weight.any()


def test_a_transposed_convolution_keeps_the_variance() -> None:
    """Of its output: each entry is a sum over input channels and every second entry of kernels."""
    torch.manual_seed(0)
    layer = nn.ConvTranspose2d(256, 32, 4, stride=2, padding=1, bias=False)
    start_sparsely_(layer, ByKind(kernels=0.1), density=0.5)
    # Twice that of the input: a ReLU takes half of it away.
    assert layer(torch.randn(8, 256, 10, 10)).var().item() == pytest.approx(2, rel=0.2)


def test_a_bias_before_a_batch_norm_is_warned_of() -> None:
    network = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU())
    with pytest.warns(UserWarning, match=r"0\.weight: its layer has a bias before a batch norm"):
        start_sparsely_(network, ByKind(channels=0.1), density=0.5)


def test_heads_that_switch_on_learn_where_to_look() -> None:
    """The gradient of queries needs keys, and that of keys queries: both zero is a saddle."""
    torch.manual_seed(0)
    network, rule = Attention(), ByKind(heads=0.05)
    start_sparsely_(network, rule, density=0.25)
    weight = network.attention.in_proj_weight
    off = ~architecture(network, rule)["attention.in_proj_weight"]
    train(network, rule, 60)
    queries, keys, _ = HeadLasso(0.05, 4).split(weight)[:, off].flatten(2).norm(dim=2)
    assert (queries > 0).all()
    assert (keys > 0).all()
    without = nn.MultiheadAttention(16, 4, bias=False)
    with pytest.warns(UserWarning, match="construct the attention with bias=True"):
        start_sparsely_(without, rule, density=0.25)
