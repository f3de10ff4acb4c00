"""Cut out what is off: from a chain of layers the small dense one that computes the same.

What is off is not nothing: a row of zeros puts out its bias, the same number for every input. Such
constants are followed through the layers, in double precision, and go into the bias of the next
layer that reads them. Zero padding is why that is not always possible: at the border a convolution
reads zeros in place of the constant. There its kernels, times the constants, read a channel of ones
instead, which is padded alike.
"""

import copy
import itertools
from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor, fx, nn
from torch.nn import functional
from torch.nn.modules.batchnorm import _BatchNorm

from bregman_nas.bregman.groups import CONVOLUTIONS

_Weighted = nn.Linear | nn.Conv1d | nn.Conv2d | nn.Conv3d
_WEIGHTED = (nn.Linear, *CONVOLUTIONS)


def _kinds(names: str) -> tuple[type[nn.Module], ...]:
    return tuple(getattr(nn, name) for name in names.split())


_ACTIVATIONS = _kinds(
    "ReLU ReLU6 LeakyReLU PReLU ELU CELU SELU GELU SiLU Mish Tanh Sigmoid Softplus Softsign "
    "Hardtanh Hardswish Hardsigmoid LogSigmoid"
)
_AVERAGES = _kinds("AvgPool1d AvgPool2d AvgPool3d")
_POOLS = _AVERAGES + _kinds(
    "MaxPool1d MaxPool2d MaxPool3d AdaptiveMaxPool1d AdaptiveMaxPool2d AdaptiveMaxPool3d "
    "AdaptiveAvgPool1d AdaptiveAvgPool2d AdaptiveAvgPool3d"
)
_NOTHING = _kinds("Identity Dropout Dropout1d Dropout2d Dropout3d AlphaDropout")
_KNOWN = (*_WEIGHTED, _BatchNorm, *_ACTIVATIONS, *_POOLS, nn.Flatten)
#: Where a module says how many inputs it has.
_SIZES = ("in_features", "in_channels", "num_features", "num_parameters")
#: For the functions, and methods of tensors, of these names.
_FUNCTIONS = {kind.__name__.lower(): kind for kind in _kinds("ReLU Tanh Sigmoid Flatten")}
#: Kinds of modules, when one of them cannot be passed (given whether it reads maps), and why.
_REFUSALS: list[tuple[Any, Any, str]] = [
    ((*CONVOLUTIONS, *_POOLS), lambda _, maps: maps is False, "it reads no maps"),
    (CONVOLUTIONS, lambda conv, _: conv.groups != 1, "its channels are in groups"),
    (nn.Linear, lambda _, maps: maps, "it reads maps: flatten them first"),
    (_BatchNorm, lambda norm, _: norm.running_mean is None, "it has no running mean"),
    (
        nn.Flatten,
        lambda flat, maps: not maps or (flat.start_dim, flat.end_dim) != (1, -1),
        "only maps are flattened, from dimension 1 to the last",
    ),
    (
        _AVERAGES,
        lambda pool, _: pool.count_include_pad and torch.as_tensor(pool.padding).any(),
        "its averages have zeros at the border; say count_include_pad=False",
    ),
]


class Folded(NamedTuple):
    """A linear layer or convolution on inputs of which some are constant."""

    bias: Tensor  # [out], in double precision, with what the constants add everywhere
    ones: Tensor  # [out, *kernel], in double precision: they read ones; zero without padding
    reads: Tensor  # boolean [out, in]: which inputs that vary each output reads
    varies: Tensor  # boolean [out]: which outputs are not the same everywhere for every input


@torch.no_grad()
def folded(layer: _Weighted, varies: Tensor, constant: Tensor) -> Folded:
    """Take the constants out of the input of a layer.

    Args:
        layer: with a weight [out, in, *kernel].
        varies: boolean [in], which inputs vary.
        constant: [in], in double precision, what is added to each input everywhere.
    """
    weight = layer.weight.detach()
    bias = weight.new_zeros(len(weight)) if layer.bias is None else layer.bias.detach()
    bias, kernels = bias.double(), weight.reshape(*weight.shape[:2], -1)
    ones = torch.zeros_like(weight[:, 0], dtype=torch.float64)
    if _pads_with_zeros(layer):
        ones = torch.einsum("i,oi...->o...", constant, weight.double())
    else:
        bias = bias + kernels.double().sum(2) @ constant
    reads = (kernels != 0).any(2) & varies
    return Folded(bias, ones, reads, reads.any(1) | (ones.reshape(len(ones), -1) != 0).any(1))


class Take(nn.Module):
    """The `entries` (int64) of dimension `dim`."""

    entries: Tensor

    def __init__(self, entries: Tensor, dim: int) -> None:
        super().__init__()
        self.register_buffer("entries", entries)
        self.dim = dim

    def forward(self, x: Tensor) -> Tensor:
        """Take them."""
        return x.index_select(self.dim, self.entries)


@torch.no_grad()
def cut(network: nn.Module) -> nn.Sequential:
    """The small network that gives what `network.eval()` gives for every input, up to rounding.

    Rows, channels and columns that are zero are left out, and with them whatever nothing else reads
    or feeds; inputs and outputs of the network stay as they are. From the first to the last layer
    with weights there may be linear layers, convolutions, batch norms, activations, pooling and
    flattening, one after the other; before and behind those any module of torch.

    Args:
        network: a chain, which stays as it is. A part of a network may be one.

    Returns:
        New modules in evaluation mode, of the same type and on the same device.

    Raises:
        ValueError: naming the module that cannot be passed.
    """
    chain = list(_chain(network))
    weighted = [k for k, (_, module) in enumerate(chain) if isinstance(module, _WEIGHTED)]
    if not weighted:
        raise ValueError("there is no linear layer and no convolution to cut")
    begin, end = weighted[0], weighted[-1] + 1
    layers = _follow(chain[begin:end])
    kept, *needed = _needed(layers)
    small = [copy.deepcopy(module) for _, module in chain[:begin]]
    if not kept.all():
        dim = -1 if isinstance(layers[0].module, nn.Linear) else 1
        small.append(Take(kept.nonzero()[:, 0], dim))
    for layer, outputs in zip(layers, needed, strict=True):
        kept = kept.repeat_interleave(layer.copies)  # a map is kept with all its pixels
        if isinstance(layer.module, _WEIGHTED):
            small += _small_weighted(layer.module, kept, outputs, layer.constant)
            kept = outputs
        else:
            small.append(_small(layer.module, kept))
    small += [copy.deepcopy(module) for _, module in chain[end:]]
    return nn.Sequential(*small).eval()


class _OneLevel(fx.Tracer):
    """Follows the forward of a module, and of none of those in it."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return True


def _chain(network: nn.Module, name: str = "") -> Iterator[tuple[str, nn.Module]]:
    """The modules of a network that follow one another, by name; functions as modules."""
    if fx.Tracer().is_leaf_module(network, name):  # one of torch's own
        yield name, network
        return
    try:
        nodes = _OneLevel().trace(network).nodes
    except Exception as error:  # whatever `forward` raises when it meets no tensor
        raise _refusal(name, network, f"its forward is no chain: {error}") from error
    for before, node in itertools.pairwise(nodes):
        inner = f"{name}.{node.target}".removeprefix(".")
        if len(before.users) != 1 or node.all_input_nodes != [before] or node.args[0] is not before:
            raise _refusal(name, network, "its forward is no chain of modules")
        if node.op == "call_module":
            yield from _chain(network.get_submodule(str(node.target)), inner)
        elif node.op != "output":
            kind = _FUNCTIONS.get(getattr(node.target, "__name__", node.target))
            if kind is None:
                raise _refusal(name, network, f"it calls {node.name}; use a module of torch.nn")
            yield inner, kind(*node.args[1:], **node.kwargs)


def _refusal(name: str, module: nn.Module, reason: str) -> ValueError:
    kind = type(module).__name__
    return ValueError(f"{f'{name} ({kind})' if name else kind} cannot be cut: {reason}")


class _Layer(NamedTuple):
    module: nn.Module
    copies: int  # inputs for each output of the layer before: several where maps were flattened
    constant: Tensor  # [in], in double precision, of inputs that do not vary
    reads: Tensor | None  # of one with weights, see `Folded`


def _follow(chain: list[tuple[str, nn.Module]]) -> list[_Layer]:
    """Go through the chain, and find what varies with the input and what is constant."""
    first: Any = chain[0][1]
    varies = torch.ones(first.weight.shape[1], dtype=torch.bool, device=first.weight.device)
    constant = torch.zeros_like(varies, dtype=torch.float64)
    layers: list[_Layer] = []
    on_maps: bool | None = None
    for name, module in chain:
        if isinstance(module, _NOTHING):
            continue
        if not isinstance(module, _KNOWN):
            raise _refusal(name, module, "it is neither a layer that is cut nor an activation")
        for kinds, holds, reason in _REFUSALS:
            if isinstance(module, kinds) and holds(module, on_maps):
                raise _refusal(name, module, reason)
        size = _inputs(module) or len(varies)
        copies, rest = divmod(size, len(varies))
        if rest or (copies > 1 and on_maps):
            raise _refusal(name, module, f"it reads {size}, and gets {len(varies)}")
        varies, constant = (x.repeat_interleave(copies) for x in (varies, constant))
        if isinstance(module, _WEIGHTED):
            fold = folded(module, varies, constant)
            layers.append(_Layer(module, copies, constant, fold.reads))
            varies, constant = fold.varies, torch.where(fold.varies, 0, fold.bias)
            on_maps = isinstance(module, CONVOLUTIONS)
            continue
        layers.append(_Layer(module, copies, constant, None))
        exact, row = copy.deepcopy(module).double(), constant.clone()[None]
        if isinstance(exact, _BatchNorm):
            statistics = (exact.running_mean, exact.running_var, exact.weight, exact.bias)
            constant = functional.batch_norm(row, *statistics, eps=exact.eps)[0]
            varies = varies if exact.weight is None else varies & (exact.weight != 0)
        elif isinstance(exact, _ACTIVATIONS):
            constant = exact(row)[0]
        elif isinstance(module, nn.Flatten):
            on_maps = False
        constant = torch.where(varies, 0, constant)
    return layers


def _needed(layers: list[_Layer]) -> list[Tensor]:
    """The inputs of the chain, and the outputs of each layer, that are read; the last's are all."""
    last = layers[-1].reads
    assert last is not None
    needed = [last.new_ones(len(last))]
    for layer in reversed(layers):
        read = needed[0]
        if layer.reads is not None:
            read = layer.reads[read].any(0)
            if not read.any():  # a layer has to read something, if with weights of zero
                read[0] = True
        needed.insert(0, read.reshape(-1, layer.copies).any(1))
    return needed


def _small(module: nn.Module, kept: Tensor) -> nn.Module:
    """A batch norm, activation or pool for the inputs that are kept."""
    small = copy.deepcopy(module)
    if _inputs(module) is None:
        return small
    for name, tensor in [*module.named_parameters(), *module.named_buffers()]:
        if tensor.ndim:
            part = tensor[kept]
            setattr(small, name, nn.Parameter(part) if isinstance(tensor, nn.Parameter) else part)
    setattr(small, next(name for name in _SIZES if hasattr(small, name)), int(kept.sum()))
    return small


def _small_weighted(
    module: _Weighted, inputs: Tensor, outputs: Tensor, constant: Tensor
) -> Iterator[nn.Module]:
    """A layer for the inputs that are kept, which bring their constants themselves."""
    fold = folded(module, inputs, torch.where(inputs, 0, constant))
    weight = module.weight.detach()[outputs][:, inputs]
    bias, ones = fold.bias[outputs].to(weight), fold.ones[outputs].to(weight)
    if ones.any():
        weight = torch.cat([weight, ones[:, None]], dim=1)
        behind: Any = [0, 0] * (weight.ndim - 2) + [0, 1]
        yield nn.ConstantPad3d(behind, 1.0)  # a channel of ones, whatever the dimensions
    small = copy.deepcopy(module)
    small.weight = nn.Parameter(weight.contiguous())
    small.bias = nn.Parameter(bias) if module.bias is not None or bias.any() else None
    if isinstance(small, nn.Linear):
        small.out_features, small.in_features = weight.shape
    else:
        small.out_channels, small.in_channels = weight.shape[:2]
    yield small


def _inputs(module: nn.Module) -> int | None:
    """The number of inputs that a module wants; None if any."""
    size: int | None = next((getattr(module, n) for n in _SIZES if hasattr(module, n)), None)
    return None if isinstance(module, nn.PReLU) and size == 1 else size


def _pads_with_zeros(module: _Weighted) -> bool:
    if isinstance(module, nn.Linear) or module.padding_mode != "zeros":
        return False
    return module.padding == "same" or (module.padding != "valid" and any(module.padding))
