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
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn import functional
from torch.nn.modules.batchnorm import _BatchNorm

from bregman_nas.bregman.groups import CONVOLUTIONS

_Convolution = nn.Conv1d | nn.Conv2d | nn.Conv3d
_WEIGHTED = (nn.Linear, *CONVOLUTIONS)
_ACTIVATIONS = (
    *(nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.PReLU, nn.ELU, nn.CELU, nn.SELU, nn.GELU, nn.SiLU),
    *(nn.Mish, nn.Tanh, nn.Sigmoid, nn.Softplus, nn.Softsign, nn.Hardtanh, nn.Hardswish),
    *(nn.Hardsigmoid, nn.LogSigmoid),
)
_POOLS = (
    *(nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d, nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d),
    *(nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d),
    *(nn.AdaptiveMaxPool1d, nn.AdaptiveMaxPool2d, nn.AdaptiveMaxPool3d),
)
_NOTHING = (nn.Identity, nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout)
_FUNCTIONS: dict[Any, type[nn.Module]] = {
    **dict.fromkeys((torch.relu, functional.relu, "relu"), nn.ReLU),
    **dict.fromkeys((torch.tanh, "tanh"), nn.Tanh),
    **dict.fromkeys((torch.sigmoid, "sigmoid"), nn.Sigmoid),
    **dict.fromkeys((torch.flatten, "flatten"), nn.Flatten),
}


@dataclass
class Folded:
    """A linear layer or convolution on inputs of which some are constant.

    Attributes:
        bias: [out], in double precision, with what the constants add everywhere.
        ones: [out, *kernel], in double precision: kernels that read ones; zero without padding.
        reads: boolean [out, in], which inputs that vary each output reads.
        varies: boolean [out], which outputs are not the same everywhere for every input.
    """

    bias: Tensor
    ones: Tensor
    reads: Tensor
    varies: Tensor


def folded(
    weight: Tensor, bias: Tensor | None, varies: Tensor, constant: Tensor, *, zero_padded: bool
) -> Folded:
    """Take the constants out of the input of a layer.

    Args:
        weight: [out, in, *kernel].
        bias: [out].
        varies: boolean [in], which inputs vary.
        constant: [in], in double precision, what is added to each input everywhere.
        zero_padded: whether at the border there are zeros in the place of the constants.
    """
    bias = weight.new_zeros(len(weight)).double() if bias is None else bias.detach().double()
    weight = weight.detach()
    if zero_padded:
        ones = torch.einsum("i,oi...->o...", constant, weight.double())
    else:
        whole = weight.double() if weight.ndim == 2 else weight.double().flatten(2).sum(2)
        bias = bias + whole @ constant
        ones = bias.new_zeros(len(weight), *weight.shape[2:])
    reads = _any(weight != 0, 2) & varies
    return Folded(bias, ones, reads, reads.any(1) | _any(ones != 0, 1))


class AppendOnes(nn.Module):
    """[batch, channels, ...] with a channel of ones behind the others."""

    def forward(self, x: Tensor) -> Tensor:
        """Append it."""
        return torch.cat([x, torch.ones_like(x[:, :1])], dim=1)


class Take(nn.Module):
    """Some entries of a dimension.

    Args:
        entries: their numbers, int64.
        dim: the dimension.
    """

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
    while begin and isinstance(chain[begin - 1][1], _BatchNorm):
        begin -= 1
    layers = _follow(chain[begin:end])
    _mark_kept(layers)
    small = [copy.deepcopy(module) for _, module in chain[:begin]]
    if not layers[0].kept_in.all():
        dim = -1 if isinstance(layers[0].module, nn.Linear) else 1
        small.append(Take(layers[0].kept_in.nonzero()[:, 0], dim))
    small += [module for layer in layers for module in layer.build()]
    small += [copy.deepcopy(module) for _, module in chain[end:]]
    return nn.Sequential(*small).eval()


def _chain(network: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """The modules of a network that follow one another, by name; functions as modules."""
    whole = nn.Sequential(network)  # so that a single layer is a module of the graph as well
    try:
        graph = fx.symbolic_trace(whole).graph
    except Exception as error:  # whatever `forward` raises when it meets no tensor
        raise ValueError(f"{type(network).__name__}.forward is no chain: {error}") from error
    last: fx.Node | None = None
    for node in graph.nodes:
        if last is None and node.op == "placeholder":
            last = node
            continue
        module = node.op == "call_module"
        name = str(node.target).removeprefix("0.") if module else node.name
        where = name if last is None else f"{name}, after {last.name.removeprefix('_0_')},"
        alone = last is not None and len(last.users) == 1 and node.all_input_nodes == [last]
        if not alone or node.args[0] is not last:
            raise ValueError(f"{where} cannot be passed: what it reads is no chain of modules")
        last = node
        if module:
            yield name, whole.get_submodule(str(node.target))
        elif node.op != "output":
            if node.target not in _FUNCTIONS:
                raise ValueError(f"{where} cannot be passed: use a module of torch.nn for it")
            yield name, _FUNCTIONS[node.target](*node.args[1:], **node.kwargs)


@dataclass
class _Layer:
    """A module of the chain, and what is known of its inputs and outputs.

    Attributes:
        name: in the network.
        module: itself.
        copies: the number of inputs for each output of the layer before: more than one where maps
            were flattened.
        varies_in: boolean [in].
        constant_in: [in], in double precision, of inputs that do not vary.
        varies: boolean [out].
        constant: [out].
        kept_in: boolean [in], which inputs the small network has.
        kept: boolean [out].
    """

    name: str
    module: nn.Module
    copies: int
    varies_in: Tensor
    constant_in: Tensor

    def __post_init__(self) -> None:
        module, constant = self.module, self.constant_in
        self.varies, self.constant = self.varies_in, constant
        if isinstance(module, _WEIGHTED):
            fold = self._folded(self.varies_in, constant)
            self.reads, self.varies = fold.reads, fold.varies
            self.constant = torch.where(fold.varies, 0, fold.bias)
        elif isinstance(module, _BatchNorm):
            assert module.running_mean is not None
            assert module.running_var is not None
            scale = (module.running_var.double() + module.eps).rsqrt()
            if module.affine:
                scale = scale * module.weight.double()
            shifted = (constant - module.running_mean.double()) * scale
            shifted += module.bias.double() if module.affine else 0
            self.varies = self.varies_in & (scale != 0)
            self.constant = torch.where(self.varies, 0, shifted)
        elif isinstance(module, _ACTIVATIONS):
            values = copy.deepcopy(module).double()(constant.clone()[None])[0]
            self.constant = torch.where(self.varies, 0, values)
        self.kept_in, self.kept = self.varies_in, self.varies

    def _folded(self, varies: Tensor, constant: Tensor) -> Folded:
        module = self.module
        assert isinstance(module, _WEIGHTED)
        padded = not isinstance(module, nn.Linear) and _zero_padded(module)
        return folded(module.weight, module.bias, varies, constant, zero_padded=padded)

    def build(self) -> list[nn.Module]:
        """The small modules that do what this one did."""
        module, number = self.module, int(self.kept.sum())
        small: nn.Module
        if isinstance(module, _BatchNorm):
            small = type(module)(number, module.eps, module.momentum, module.affine)
        elif isinstance(module, nn.PReLU) and len(module.weight) > 1:
            small = nn.PReLU(number)
        elif isinstance(module, _WEIGHTED):
            return self._build_weighted(module)
        else:
            return [copy.deepcopy(module)]
        for name, tensor in module.state_dict().items():
            part = tensor[self.kept] if tensor.ndim else tensor
            small.load_state_dict({name: part.clone()}, strict=False, assign=True)
        return [small]

    def _build_weighted(self, module: "nn.Linear | _Convolution") -> list[nn.Module]:
        # An input that is kept brings its constant itself.
        left_out = torch.where(self.kept_in, 0, self.constant_in)
        fold = self._folded(self.kept_in, left_out)
        weight = module.weight.detach()[self.kept][:, self.kept_in]
        bias, ones = fold.bias[self.kept].to(weight), fold.ones[self.kept].to(weight)
        before: list[nn.Module] = []
        if ones.any():
            weight = torch.cat([weight, ones[:, None]], dim=1)
            before = [AppendOnes()]
        outputs, inputs = weight.shape[:2]
        small: nn.Linear | _Convolution
        if isinstance(module, nn.Linear):
            small = nn.Linear(inputs, outputs, device="meta")
        else:
            kind: Any = CONVOLUTIONS[weight.ndim - 3]
            small = kind(
                inputs,
                outputs,
                module.kernel_size,
                module.stride,
                module.padding,
                module.dilation,
                padding_mode=module.padding_mode,
                device="meta",
            )
        small.weight = nn.Parameter(weight.contiguous())
        has_bias = module.bias is not None or bool(bias.any())
        small.bias = nn.Parameter(bias) if has_bias else None
        return [*before, small]


def _follow(chain: list[tuple[str, nn.Module]]) -> list[_Layer]:
    """Go through the chain, and find what varies with the input and what is constant."""
    layers: list[_Layer] = []
    on_maps: bool | None = None
    for name, module in chain:
        about = f"{name} ({type(module).__name__})"
        if isinstance(module, _NOTHING):
            continue
        reason = _reason_against(module, on_maps)
        if reason:
            raise ValueError(f"{about} cannot be passed: {reason}")
        size, copies = _inputs(module), 1
        if layers:
            varies, constant = layers[-1].varies, layers[-1].constant
            if size not in (None, len(varies)):
                copies, rest = divmod(size, len(varies))
                if rest or on_maps:
                    raise ValueError(f"{about} cannot be passed: it reads {size} of {len(varies)}")
                varies, constant = (x.repeat_interleave(copies) for x in (varies, constant))
        else:
            assert size is not None
            device = next(module.parameters()).device
            varies = torch.ones(size, dtype=torch.bool, device=device)
            constant = torch.zeros(size, dtype=torch.float64, device=device)
        layers.append(_Layer(name, module, copies, varies, constant))
        if isinstance(module, (*_WEIGHTED, nn.Flatten)):
            on_maps = isinstance(module, CONVOLUTIONS)
    return layers


def _reason_against(module: nn.Module, on_maps: bool | None) -> str | None:
    """Why a module cannot be passed, if it cannot."""
    if isinstance(module, CONVOLUTIONS):
        if on_maps is False:
            return "it reads no maps"
        return None if module.groups == 1 else "its channels are in groups"
    if isinstance(module, nn.Linear):
        return "it reads maps: flatten them first" if on_maps else None
    if isinstance(module, _BatchNorm):
        return None if module.running_mean is not None else "it has no running mean"
    if isinstance(module, nn.Flatten):
        if not on_maps or (module.start_dim, module.end_dim) != (1, -1):
            return "only maps are flattened, from dimension 1 to the last"
    elif isinstance(module, _POOLS):
        if not on_maps:
            return "it reads no maps"
        averages = isinstance(module, (nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d))
        padding = torch.as_tensor(module.padding) if averages else torch.zeros(())
        if padding.any() and module.count_include_pad:
            return "its averages have zeros at the border; say count_include_pad=False"
    elif not isinstance(module, _ACTIVATIONS):
        return "it is neither a layer that is cut nor an activation"
    return None


def _mark_kept(layers: list[_Layer]) -> None:
    """Say which outputs of each layer the next ones need; all of the last."""
    kept = torch.ones_like(layers[-1].varies)
    for layer in reversed(layers):
        layer.kept = layer.kept_in = kept
        if isinstance(layer.module, _WEIGHTED):
            layer.kept_in = layer.reads[kept].any(0)
            if not layer.kept_in.any():  # a layer has to read something, if with weights of zero
                layer.kept_in[0] = True
        kept = layer.kept_in.reshape(-1, layer.copies).any(1)
    # A map that is kept is kept with all its pixels.
    layers[0].kept_in = kept
    for before, layer in itertools.pairwise(layers):
        layer.kept_in = before.kept.repeat_interleave(layer.copies)
        if not isinstance(layer.module, _WEIGHTED):
            layer.kept = layer.kept_in


def _inputs(module: nn.Module) -> int | None:
    """The number of inputs that a module wants; None if any."""
    if isinstance(module, nn.Linear):
        return module.in_features
    if isinstance(module, CONVOLUTIONS):
        return module.in_channels
    if isinstance(module, _BatchNorm):
        return module.num_features
    if isinstance(module, nn.PReLU) and len(module.weight) > 1:
        return len(module.weight)
    return None


def _zero_padded(module: "_Convolution") -> bool:
    if module.padding == "same":
        padded = any(width > 1 for width in module.kernel_size)
    else:
        padded = module.padding != "valid" and any(module.padding)
    return padded and module.padding_mode == "zeros"


def _any(mask: Tensor, dim: int) -> Tensor:
    """Whether any entry is true over a dimension and those after it, if there are such."""
    return mask.flatten(dim).any(dim) if mask.ndim > dim else mask
