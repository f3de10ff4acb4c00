"""The two search spaces of the article, as plain modules."""

from bregman_nas.networks.densenet import DenseNet
from bregman_nas.networks.residual_mlp import ResidualMLP

__all__ = ["DenseNet", "ResidualMLP"]
