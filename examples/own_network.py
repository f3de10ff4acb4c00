"""Search the architecture of a network of one's own, on the committed sample of Fashion-MNIST.

python examples/own_network.py [FOLDER]     # under a minute on one core; docs/own-network.md
"""

import sys
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional

from bregman_nas.bregman import AdaBreg
from bregman_nas.bregman.groups import ByKind, architecture, parameter_groups, start_sparsely_
from bregman_nas.data.files import load

PROJECT = Path(__file__).resolve().parents[1]
EPOCHS, BATCH = 10, 32


class Network(nn.Module):
    """A small classifier: convolutions with a skip that is learned, then linear layers."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 16, 3, stride=2, padding=1)
        self.body = nn.Conv2d(16, 16, 3, padding=1)
        self.skip = nn.Parameter(torch.zeros(()))
        self.hidden = nn.Linear(16 * 7 * 7, 64)
        self.head = nn.Linear(64, 10)

    def forward(self, images: Tensor) -> Tensor:
        """Map images [batch, 1, 28, 28] to logits [batch, 10]."""
        x = torch.relu(self.stem(images))
        x = torch.relu(self.body(x)) + self.skip * x
        x = functional.max_pool2d(x, 2).flatten(1)
        logits: Tensor = self.head(torch.relu(self.hidden(x)))
        return logits


def main(out: Path) -> None:
    """Train, print what was found, and write the weights."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    images = load("fashion-mnist", "sample", PROJECT)
    inputs, classes = (images.train_images[:, None] / 255 - 0.5) / 0.5, images.train_labels
    test, answers = (images.test_images[:, None] / 255 - 0.5) / 0.5, images.test_labels

    network = Network()
    rule = ByKind(rows=0.01, kernels=0.02, scalars={"skip": 0.02})
    groups = parameter_groups(network, rule)
    start_sparsely_(groups, density=0.1)
    with torch.no_grad():
        nn.init.kaiming_normal_(network.head.weight)  # ten classes: every row is needed
    optimizer = AdaBreg(groups, lr=2e-3)

    for epoch in range(EPOCHS):
        for batch in torch.randperm(len(inputs)).split(BATCH):
            optimizer.zero_grad()
            functional.cross_entropy(network(inputs[batch]), classes[batch]).backward()
            optimizer.step()
        with torch.no_grad():
            accuracy = float((network(test).argmax(1) == answers).double().mean())
        on = {name: int(active.sum()) for name, active in architecture(network, rule).items()}
        print(f"epoch {epoch + 1}: {accuracy:.1%} right, groups on: {on}", flush=True)

    for name, active in architecture(network, rule).items():
        print(f"{name}: {int(active.sum())} of {active.numel()}")
    out.mkdir(parents=True, exist_ok=True)
    save_file(network.state_dict(), out / "own-network.safetensors")
    print(f"weights: {out / 'own-network.safetensors'}")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else PROJECT / "build")
