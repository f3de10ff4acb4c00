"""The cutter: constants by hand, and random sparse networks against themselves."""

import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from bregman_nas import cut
from bregman_nas.bregman.cut import Take


def test_constants_and_unread_rows_by_hand() -> None:
    # Row 0 reads input 0, row 1 is off and puts out 2, row 2 reads it in vain, row 3 is dead.
    network = nn.Sequential(nn.Linear(2, 4), nn.ReLU(), nn.Linear(4, 2))
    network.load_state_dict(
        {
            "0.weight": torch.tensor([[1.0, 0.0], [0.0, 0.0], [1.0, 1.0], [0.0, 0.0]]),
            "0.bias": torch.tensor([0.5, 2.0, 0.0, -1.0]),
            "2.weight": torch.tensor([[3.0, 4.0, 0.0, 9.0], [0.0, 0.0, 0.0, 0.0]]),
            "2.bias": torch.tensor([-1.0, 0.25]),
        }
    )
    take, small, _, head = cut(network)
    assert isinstance(take, Take)
    assert isinstance(small, nn.Linear)
    assert isinstance(head, nn.Linear)
    assert take.entries.tolist() == [0]
    assert (small.weight.tolist(), small.bias.tolist()) == ([[1.0]], [0.5])
    assert head.weight.tolist() == [[3.0], [0.0]]
    assert head.bias.tolist() == [-1.0 + 4.0 * 2.0, 0.25]


def test_a_constant_map_counts_less_at_the_border() -> None:
    """Channel 1 puts out 2 everywhere, and is padded with zeros: 9, 6 or 4 of its pixels count."""
    network = nn.Sequential(
        nn.Conv2d(1, 2, 1), nn.ReLU(), nn.Conv2d(2, 1, 3, padding=1, bias=False)
    )
    kernels = torch.ones(1, 2, 3, 3)
    kernels[0, 0] = torch.tensor([[0, 0, 0], [0, 1, 0], [0, 0, 0]])
    network.load_state_dict(
        {
            "0.weight": torch.tensor([1.0, 0.0]).reshape(2, 1, 1, 1),
            "0.bias": torch.tensor([0.0, 2.0]),
            "2.weight": kernels,
        }
    )
    image = torch.zeros(1, 1, 3, 3)
    image[0, 0, 1, 1] = 100
    small = cut(network)
    assert [type(module) for module in small] == [nn.Conv2d, nn.ReLU, nn.ConstantPad3d, nn.Conv2d]
    assert small.get_parameter("0.weight").shape[0] == 1
    assert small(image)[0, 0].tolist() == [[8, 12, 8], [12, 118, 12], [8, 12, 8]]


def test_a_zero_kernel_before_a_batch_norm_puts_out_its_bias() -> None:
    network = nn.Sequential(
        nn.Conv2d(1, 2, 3, bias=False), nn.BatchNorm2d(2), nn.ReLU(), nn.Conv2d(2, 1, 1)
    ).eval()
    state = network.state_dict()
    state["0.weight"][1] = 0
    state["1.bias"].copy_(torch.tensor([0.0, 0.5]))
    state["3.weight"].fill_(3.0)
    state["3.bias"].fill_(1.0)
    assert cut(network).get_parameter("3.bias").item() == pytest.approx(1 + 3 * 0.5)


def mlp() -> nn.Module:
    return nn.Sequential(
        *(nn.Flatten(), nn.Linear(64, 12), nn.ReLU(), nn.BatchNorm1d(12), nn.Linear(12, 9)),
        *(nn.Dropout(0.5), nn.GELU(), nn.Linear(9, 7), nn.LogSoftmax(1)),
    )


def convolutions() -> nn.Module:
    return nn.Sequential(
        nn.BatchNorm2d(1),
        *(nn.Conv2d(1, 6, 3, padding=1, bias=False), nn.BatchNorm2d(6), nn.ReLU()),
        nn.Sequential(nn.Conv2d(6, 8, 3, padding="same"), nn.PReLU(8), nn.MaxPool2d(2)),
        *(nn.Conv2d(8, 6, 3, padding=1, padding_mode="reflect"), nn.SiLU(), nn.AvgPool2d(2)),
        *(nn.Conv2d(6, 6, 1, stride=1), nn.ReLU(inplace=True), nn.Flatten()),
        *(nn.BatchNorm1d(24), nn.Linear(24, 10), nn.ELU(), nn.Linear(10, 3)),
    )


def one_dimension() -> nn.Module:
    return nn.Sequential(
        *(nn.Flatten(2), nn.Conv1d(1, 5, 5, stride=2), nn.Sigmoid(), nn.BatchNorm1d(5)),
        *(nn.Conv1d(5, 6, 3, padding=2, dilation=2), nn.AdaptiveMaxPool1d(1), nn.Flatten()),
        nn.Linear(6, 3),
    )


class Functions(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 6, 3, padding=1)
        self.body = convolutions()[4]  # type: ignore[index]
        self.linear = nn.Linear(8 * 16, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.conv(x))
        x = self.body(x).flatten(1)
        found: Tensor = self.linear(x).tanh()
        return found


NETWORKS: list[Callable[[], nn.Module]] = [mlp, convolutions, one_dimension, Functions]


def sparse(network: nn.Module, density: float, *, kernels: bool) -> nn.Module:
    """Rows or kernels on with that probability, and norms with statistics of their own."""
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d | nn.BatchNorm1d):
                assert module.running_mean is not None
                assert module.running_var is not None
                module.running_mean.normal_()
                module.running_var.uniform_(0.5, 2)
                module.bias.normal_()
                module.weight.mul_(torch.rand_like(module.weight) < 0.9)
            elif (weight := getattr(module, "weight", None)) is not None and weight.ndim > 1:
                shape = weight.shape[: 2 if kernels else 1]
                on = torch.rand(shape) < density
                weight.mul_(on.reshape(*shape, *[1] * (weight.ndim - len(shape))))
    return network


@pytest.mark.parametrize("kernels", [False, True])
@pytest.mark.parametrize("density", [0.0, 0.1, 0.4, 1.0])
@pytest.mark.parametrize("make", NETWORKS)
def test_every_sparse_network_keeps_its_outputs(
    make: Callable[[], nn.Module], density: float, kernels: bool
) -> None:
    for seed in range(10):
        torch.manual_seed(seed)
        network = sparse(make(), density, kernels=kernels).double()
        before = copy.deepcopy(network.state_dict())
        small = cut(network)
        images = torch.randn(3, 1, 8, 8, dtype=torch.float64)
        assert network.training
        assert all(torch.equal(tensor, before[key]) for key, tensor in network.state_dict().items())
        network.eval()
        torch.testing.assert_close(small(images), network(images), rtol=0, atol=1e-12)
        torch.testing.assert_close(
            copy.deepcopy(small).float()(images.float()),
            network.float()(images.float()),
            rtol=1e-5,
            atol=1e-5,
        )
        sizes = [sum(p.numel() for p in net.parameters()) for net in (small, network)]
        assert density > 0.1 or sizes[0] < sizes[1]


class Nested(nn.Module):
    """A module of the user's own, with another in it."""

    def __init__(self, inner: nn.Module, *, skip: bool = False) -> None:
        super().__init__()
        self.inner, self.skip = inner, skip

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.inner(x) + x if self.skip else self.inner(x)
        return found


class Branches(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x if x.sum() > 0 else -x


class Doubles(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x * 2


@pytest.mark.parametrize(
    ("between", "message"),
    [
        (Nested(nn.ReLU(), skip=True), r"^1 \(Nested\) cannot be cut: its forward is no chain"),
        (Nested(Nested(nn.ReLU(), skip=True)), r"^1\.inner \(Nested\) cannot be cut"),
        (Nested(nn.LayerNorm(4)), r"^1\.inner \(LayerNorm\) cannot be cut: it is neither"),
        (Nested(Doubles()), r"^1\.inner \(Doubles\) cannot be cut: it calls mul; use a module"),
        (Nested(Branches()), r"^1\.inner \(Branches\) cannot be cut: its forward is no chain: "),
        (
            nn.Conv2d(2, 2, 1, groups=2),
            r"1 \(Conv2d\) cannot be cut: its channels are in groups",
        ),
        (nn.ConvTranspose2d(2, 2, 1), r"1 \(ConvTranspose2d\) cannot be cut"),
        (nn.AvgPool2d(3, padding=1), r"1 \(AvgPool2d\) cannot be cut: its averages have zeros"),
        (nn.BatchNorm2d(2, track_running_stats=False), "it has no running mean"),
        (nn.Linear(2, 2), r"1 \(Linear\) cannot be cut: it reads maps: flatten them first"),
        (nn.Flatten(2), r"1 \(Flatten\) cannot be cut: only maps are flattened, from dim"),
        (nn.Conv2d(3, 2, 1), r"1 \(Conv2d\) cannot be cut: it reads 3, and gets 2"),
    ],
)
def test_what_cannot_be_passed_is_named(between: nn.Module, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        cut(nn.Sequential(nn.Conv2d(1, 2, 1), between, nn.Conv2d(2, 1, 1)))


def test_there_has_to_be_something_to_cut() -> None:
    with pytest.raises(ValueError, match=r"^Branches cannot be cut"):
        cut(Branches())
    with pytest.raises(ValueError, match="no linear layer and no convolution"):
        cut(nn.ReLU())
    assert cut(nn.Linear(2, 3))(torch.ones(1, 2)).shape == (1, 3)
