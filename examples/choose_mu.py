"""Choose mu for the neurons of the perceptron: what 300 steps switch on, against the loss.

python examples/choose_mu.py [PICTURE]     # half a minute; needs matplotlib for the picture
"""

import sys
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional

from bregman_nas import AdaBreg, ByKind, try_mus
from bregman_nas.bregman.choose import Trial
from common import BATCH, images
from perceptron import HEAD, LR, network

STEPS = 300
MUS = [LR * STEPS ** (exponent / 8) for exponent in range(2, 10)]


def picture(trials: list[Trial], path: str) -> None:
    """Draw the share of groups that are on, and the loss, over mu."""
    import matplotlib as mpl
    from matplotlib import pyplot as plt

    mpl.rcParams.update({"svg.hashsalt": "mu", "font.size": 9})  # the same bytes each time
    figure, shares = plt.subplots(figsize=(6, 3), layout="constrained")
    losses = shares.twinx()
    mus = [trial.mu for trial in trials]
    on = [100 * trial.on / trial.groups for trial in trials]
    lines = shares.semilogx(mus, on, "o-", color="C0", label="groups on")
    lines += losses.semilogx(mus, [t.loss for t in trials], "s--", color="C1", label="loss")
    for mu, text in ((LR * STEPS**0.5, "lr √K"), (LR * STEPS, "lr K")):
        shares.axvline(mu, color="0.7", linewidth=0.8)
        shares.annotate(f" {text}", (mu, 90), color="0.4")
    shares.set(xlabel="μ", ylabel=f"groups on after K = {STEPS} steps (%)", ylim=(0, 100))
    losses.set(ylabel="training loss", ylim=(0, None))
    shares.legend(handles=lines, loc="lower left")
    figure.savefig(path, metadata={"Date": None})


if __name__ == "__main__":
    torch.manual_seed(0)
    torch.set_num_threads(1)
    inputs, classes = images("train")
    order = torch.randperm(len(inputs)).split(BATCH)

    def loss(trained: nn.Module, step: int) -> Tensor:
        """Of one batch."""
        batch = order[step % len(order)]
        return functional.cross_entropy(trained(inputs[batch]), classes[batch])

    found = try_mus(
        network(),
        lambda mu: ByKind(rows=mu, exclude=HEAD),
        loss,
        MUS,
        steps=STEPS,
        optimizer=partial(AdaBreg, lr=LR),
    )
    print("| mu | groups on | at the start | of | loss |\n|---|---|---|---|---|")
    for t in found:
        print(f"| {t.mu:.4f} | {t.on} | {t.start} | {t.groups} | {t.loss:.3f} |")
    if len(sys.argv) > 1:
        picture(found, sys.argv[1])
