"""What is searched or trained: the interface of all kinds of runs, and the loop that trains."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from importlib import import_module
from typing import Any, Generic, TypeVar, cast

import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import ReduceLROnPlateau

from bregman_nas.data.degradation import Examples, Problem
from bregman_nas.data.files import ImageSet
from bregman_nas.randomness import generator
from bregman_nas.search.core.lockstep import LockstepSearch
from bregman_nas.search.core.trainer import SparseTrainer, Trainer
from bregman_nas.settings import Constant, Engine, Plateau, Run

Network = TypeVar("Network", bound=nn.Module, covariant=True)

# Work between two looks at the clock: a checkpoint can be written after each such stretch.
BATCHES_PER_STRETCH = 32

#: Where the code of each kind of run is, see `Run.kind`: a module, which is not imported before it
#: is needed, and a class in it, or what makes one.
SEARCHES = {
    "mlp": ("bregman_nas.search.core.mlp", "MLPSearch"),
    "densenet": ("bregman_nas.search.core.densenet", "DenseNetSearch"),
    "retraining": ("bregman_nas.baselines.searchers", "Retraining"),
    "competitor": ("bregman_nas.baselines.searchers", "competitor"),
}


class LearningRate(ReduceLROnPlateau):
    """The learning rate of the current epoch; `step` takes an epoch's loss, summed over batches."""

    def __init__(self, start: float, schedule: Constant | Plateau) -> None:
        # torch's schedulers act on an optimizer; this one holds nothing but the learning rate.
        holder = torch.optim.SGD([torch.zeros(())], lr=start)
        # A constant rate waits for ever.
        options = schedule.model_dump(exclude={"kind"}) or {"patience": math.inf}
        super().__init__(holder, threshold_mode="rel", **options)

    @property
    def value(self) -> float:
        """The learning rate of the current epoch."""
        return float(self.optimizer.param_groups[0]["lr"])

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        super().load_state_dict(state_dict)
        self.optimizer.param_groups[0]["lr"] = self.get_last_lr()[0]


class Search(ABC, Generic[Network]):
    """A network that is searched or trained: its images, its trainer, what is noted of it.

    Args:
        run: its settings.
        images: the raw images.
        seed: decides start, noise and order.
        engine: `compact`, or `textbook` for the same by full-size module and autograd.
        device: where it runs.

    Attributes:
        problem: the images to train on and to be evaluated by.
        network: with nothing taken out; see `full_network`.
        trainer: what trains it.
        rate: the learning rate.
        epoch: where training stands, from 0; `batch` is the next, `summed_loss` of those before.
        history: an entry for each epoch that has ended.
    """

    network: Network
    trainer: Trainer
    #: The attributes that make up the state, beside the trainer and the learning rate.
    _state: tuple[str, ...] = ("epoch", "batch", "summed_loss", "history")

    def __init__(
        self, run: Run, images: ImageSet, seed: int, engine: Engine = "compact", device: str = "cpu"
    ) -> None:
        self.run, self.seed, self.engine, self.device = run, seed, engine, torch.device(device)
        self.problem = self._problem(images).to(self.device)
        self.rate = LearningRate(run.optimizer.learning_rate, run.protocol.schedule)
        self.epoch, self.batch, self.summed_loss = 0, 0, 0.0
        self.history: list[dict[str, Any]] = []

    @abstractmethod
    def _problem(self, images: ImageSet) -> Problem:
        """The images as the network sees them."""

    def train_examples(self, epoch: int) -> Examples:
        """The images of an epoch, which is counted from 0."""
        return self.problem.train

    @property
    def searches(self) -> list["Search[Network]"]:
        """This one: to be trained as those in lockstep are."""
        return [self]

    def begin_epoch(self, epoch: int) -> None:
        """Set the images trained on to those of an epoch."""
        self.problem = replace(self.problem, train=self.train_examples(epoch))

    def batches(self, epoch: int, batch_size: int) -> list[Tensor]:
        """The indices of the images of each batch of an epoch, int64, in an order of the seed."""
        numbers = generator(self.seed, "order", epoch)
        order = torch.randperm(len(self.problem.train), generator=numbers)
        return list(order.to(self.device).split(batch_size))

    def train_batches(self, batches: Sequence[Tensor]) -> None:
        """Make one step for each batch, and note it."""
        loss = self.trainer.train_batches(self.problem.train, batches, self.rate.value)
        self.summed_loss += loss
        self.batch += len(batches)

    def compact(self, learning_rate: float) -> None:
        """Between two epochs: the time for compaction. The learning rate will not rise."""
        self.trainer.compact(learning_rate)

    def end_epoch(self) -> None:
        """Note an epoch whose batches have all been trained on."""
        rate, loss = self.rate.value, self.summed_loss / self.batch
        self.compact(rate)
        noted = {"epoch": self.epoch + 1, "learning_rate": rate, "train_loss": loss}
        self.history.append(noted | self.observe(rate))
        self.rate.step(self.summed_loss)
        self.epoch, self.batch, self.summed_loss = self.epoch + 1, 0, 0.0

    @abstractmethod
    def observe(self, learning_rate: float) -> dict[str, Any]:
        """What the history keeps of the network as it is now."""

    @abstractmethod
    def result(self) -> dict[str, Any]:
        """Losses and architecture of the network as it is now, evaluated as a full-size module."""

    def picture(self, network: nn.Module | None = None) -> Tensor | None:
        """Images to look at, uint8 [height, width], if any; `network` may stand for this one."""
        return None

    def full_network(self) -> Network:
        """The network as it is now, with nothing taken out."""
        self.network.load_state_dict(self.trainer.full_parameters())
        return self.network

    def state_dict(self) -> dict[str, Any]:
        """Everything from which training continues bit for bit."""
        kept = {name: getattr(self, name) for name in self._state}
        return {"trainer": self.trainer.state_dict(), "rate": self.rate.state_dict(), **kept}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from what `state_dict` returned."""
        self.trainer.load_state_dict(state["trainer"])
        self.rate.load_state_dict(state["rate"])
        for name in self._state:
            setattr(self, name, state[name])


class SparseSearch(Search[Network]):
    """A search by Bregman iterations; it notes which groups switch on and off."""

    trainer: SparseTrainer
    _state = (*Search._state, "_active")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # The module of the kind makes the network at its start, and what trains it.
        space: Any = import_module(SEARCHES[self.run.kind][0])
        self.network = space.network(self.run, self.seed).to(self.device)
        self.trainer = space.trainer_of(self.run, self.network, self.engine)
        self._active = self.trainer.active()

    def _switched(self) -> dict[str, list[int]]:
        """For each layer, how many groups came on and went off since the last look."""
        before, self._active = self._active, self.trainer.active()
        pairs = list(zip(before, self._active, strict=True))
        return {
            "switched_on": [int((now & ~old).sum()) for old, now in pairs],
            "switched_off": [int((old & ~now).sum()) for old, now in pairs],
        }


def train(
    search: Search[nn.Module] | LockstepSearch,
    epochs: int,
    batch_size: int,
    after_stretch: Callable[[], None] = lambda: None,
    after_epoch: Callable[[], None] = lambda: None,
) -> None:
    """Train from where the search stands to the end.

    Args:
        search: of one seed, or of several that stand in the same batch.
        epochs: how many in all.
        batch_size: of all batches but the last of an epoch, which may be smaller.
        after_stretch: called after every few batches, in a state that can be saved.
        after_epoch: called once the history has its new entry.
    """
    now: Search[nn.Module] = search.searches[0]
    while now.epoch < epochs:
        search.begin_epoch(now.epoch)
        batches = search.batches(now.epoch, batch_size)
        while now.batch < len(batches):
            search.train_batches(batches[now.batch : now.batch + BATCHES_PER_STRETCH])
            if now.batch < len(batches):
                after_stretch()
        for one in search.searches:
            one.end_epoch()
        after_epoch()
        after_stretch()


def searcher(
    run: Run,
    images: ImageSet,
    seed: int,
    engine: Engine = "compact",
    device: str = "cpu",
    found: Mapping[str, Any] | None = None,
) -> Search[nn.Module]:
    """The search of a run at its start, see `Search`; an arm trains what a record has `found`."""
    module, name = SEARCHES[run.kind]
    of_record = () if found is None else (found,)
    made = getattr(import_module(module), name)(run, images, seed, engine, device, *of_record)
    return cast("Search[nn.Module]", made)


def sparse_start(run: Run) -> dict[str, Any]:
    """Options of `sparse_kaiming_normal_`: the density and size of weights that a run wants."""
    scale = run.protocol.initial_scale
    size: Any = {"rescale_variance": True} if isinstance(scale, str) else {"scale": scale}
    return {"density": run.experiment.density, **size}


@torch.no_grad()
def nonnegative_bias_(bias: Tensor, fan_in: int, numbers: torch.Generator) -> None:
    """Fill a bias uniformly on [0, 1 / sqrt(fan_in)], as the authors' code does."""
    bias.copy_(torch.rand(bias.shape, generator=numbers) / math.sqrt(fan_in))
