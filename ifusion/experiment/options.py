"""The options of an experiment; plain data that needs no JAX."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, Literal, get_args, get_origin, get_type_hints

from ifusion.concordance import Convention
from ifusion.corpora.corpus import Corpus
from ifusion.evaluation.postprocessing import PostProcessingOptions
from ifusion.models.architecture import Architecture
from ifusion.preprocessing.sequences import SequenceOptions
from ifusion.systems.options import SystemOptions
from ifusion.training.options import Native, TrainingOptions

TUNED = ("baseline", "alpha")
LEAST = {  # what numbers of the sweep are at least
    "save_every_seconds": 0,
    "memory_gib": 0,
    "block_mib": 0,
    "tuning_epochs": 0,
    "keep_snapshots": 1,
}


@dataclass(frozen=True)
class SweepOptions:
    """Which lanes to train, and with what resources.

    Attributes:
      modalities: in the order of the loss weights; () for all of the corpus.
      mains: modalities to deploy on; () for every one.
      targets: what to predict; () for all of the corpus.
      alphas: weights of the auxiliary modalities (Sec. 4.2), 0 among them.
      seeds: seeds of initial weights, minibatch order and all other randomness.
      l2: weight penalties that dev chooses from. Not in the paper.
      delays: annotation delays that dev chooses from [s] (Sec. 4.2); delays that round
        to the same frame count once.
      tune: "baseline" chooses l2 and delay for alpha = 0 and keeps them along the grid;
        "alpha" chooses them for each alpha. Not in the paper.
      tuning_seeds: seeds that choose l2 and delay; () for all.
      tuning_epochs: above 0, epochs of a first pass over l2 and delay, after which the
        best third goes on, see `systems.tuning`; 0 trains all settings in full. Not in
        the paper.
      memory_gib: device memory to use [GiB]; 0 for all of a device, without limit on a
        CPU.
      block_mib: above 0, size of the blocks that train is read in [MiB], for corpora
        larger than memory; 0 to hold train in memory.
      save_every_seconds: time between snapshots [s], taken after an epoch.
      keep_snapshots: how many snapshots to keep, in case one is damaged.
      native: "auto" trains GRU layers in C++ if they were compiled and are faster than
        in JAX, "on" wherever they were compiled, "off" never; "avx512", "avx2" or
        "plain" names the instruction set. A run keeps what it started with.
    """

    modalities: tuple[str, ...] = ()
    mains: tuple[str, ...] = ()
    targets: tuple[str, ...] = ()
    alphas: tuple[float, ...] = tuple(round(0.1 * i, 1) for i in range(11))
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)
    l2: tuple[float, ...] = (0.0,)
    delays: tuple[float, ...] = (0.0,)
    tune: str = "baseline"
    tuning_seeds: tuple[int, ...] = ()
    tuning_epochs: int = 0
    memory_gib: float = 0.0
    block_mib: float = 0.0
    save_every_seconds: float = 60.0
    keep_snapshots: int = 2
    native: Native = "auto"

    def __post_init__(self) -> None:
        """Rejects values that make no sense."""
        for name, least in LEAST.items():
            if not least <= getattr(self, name) < float("inf"):
                raise ValueError(
                    f"sweep.{name} is {getattr(self, name)}; expected at least {least}"
                )
        if 0 not in self.alphas:
            raise ValueError(
                "sweep.alphas lacks 0.0, the baseline that every alpha is compared with"
            )
        if self.tune not in TUNED:
            raise ValueError(
                f"sweep.tune is {self.tune!r}; expected one of {', '.join(TUNED)}"
            )


@dataclass(frozen=True)
class EvaluationOptions:
    """How predictions are scored.

    Attributes:
      metric: chooses epoch, setting and alpha on dev.
      cluster: column of the recordings whose values are independent draws.
      convention: convention of the CCC, see `ifusion.concordance`; regression only.
    """

    metric: str = "micro_f1"
    cluster: str = "speaker"
    convention: Convention = "population"


@dataclass(frozen=True)
class Options:
    """All options of an experiment; the defaults are for a classification.

    Attributes:
      model: sizes of the networks.
      training: options of the training loop.
      sequences: what the GRU runs over.
      loss: loss of a regression: "squared_error", "ccc" or "ccc_sequences".
      sweep: which lanes to train.
      evaluation: how predictions are scored.
      postprocessing: post-processing of a regression.
      systems: options of the other systems.
    """

    model: Architecture = field(default_factory=Architecture)
    training: TrainingOptions = field(default_factory=TrainingOptions)
    sequences: SequenceOptions = field(default_factory=SequenceOptions)
    loss: str = "squared_error"
    sweep: SweepOptions = field(default_factory=SweepOptions)
    evaluation: EvaluationOptions = field(default_factory=EvaluationOptions)
    postprocessing: PostProcessingOptions = field(default_factory=PostProcessingOptions)
    systems: SystemOptions = field(default_factory=SystemOptions)


SECTIONS: Mapping[str, Any] = {  # of a config that are fields of `Options`
    "sweep": SweepOptions,
    "evaluation": EvaluationOptions,
    "postprocessing": PostProcessingOptions,
    "systems": SystemOptions,
}


def continuous_options() -> Options:
    """Returns the defaults of a regression over time, such as RECOLA (Sec. 4.1.2).

    Sec. 4.2: two GRU layers in each branch, two shared. Not in the paper: the loss,
    windows of 128 frames and their overlap, the delays tried, the CCC that chooses
    alpha, and which draws are independent.
    """
    return Options(
        model=Architecture(branch_layers=2, shared_layers=2),
        sequences=SequenceOptions(window=128, hop=64),
        sweep=SweepOptions(delays=tuple(round(0.4 * i, 1) for i in range(21))),
        evaluation=EvaluationOptions(metric="ccc_pooled", cluster="recording"),
    )


def value_options() -> Options:
    """Returns the defaults for one value per recording, such as sentiment.

    Not in the paper: the loss is the squared error, the CCC chooses alpha, and
    predictions are not post-processed.
    """
    return Options(
        evaluation=EvaluationOptions(metric="ccc_pooled"),
        postprocessing=PostProcessingOptions(steps=()),
    )


def default_options(corpus: Corpus) -> Options:
    """Returns the defaults for the task of a corpus."""
    if corpus.classes:
        return Options()
    return value_options() if corpus.frame_step is None else continuous_options()


def options_to_dict(options: Options) -> dict[str, Any]:
    """Converts options to the sections of a config, see `options_from_dict`."""
    model = asdict(options.model)
    del model["recurrent"], model["pooling"]  # follow from the corpus
    training = {**asdict(options.training), **asdict(options.sequences)}
    return {
        "model": model,
        "training": {**training, "loss": options.loss},
        **{name: asdict(getattr(options, name)) for name in SECTIONS},
    }


def options_from_dict(sections: Mapping[str, Mapping[str, Any]]) -> Options:
    """Reads options from the sections of a config.

    Args:
      sections: {"model", "training", "sweep", "evaluation", "postprocessing",
        "systems"}; `training` also holds `SequenceOptions` and the loss. Lists, as in
        JSON, become tuples.

    Raises:
      ValueError: if a section or entry is missing or unknown, or a value makes no
        sense.
    """
    training = dict(_section(sections, "training"))
    loss = str(training.pop("loss", Options.loss))
    names = [entry.name for entry in fields(SequenceOptions)]
    sequences = {name: training.pop(name) for name in names if name in training}
    others: dict[str, Any] = {
        name: _read(name, kind, _section(sections, name))
        for name, kind in {"model": Architecture, **SECTIONS}.items()
    }
    return Options(
        training=_read("training", TrainingOptions, training),
        sequences=_read("training", SequenceOptions, sequences),
        loss=loss,
        **others,
    )


def with_sweep(options: Options, **entries: Any) -> Options:
    """Replaces entries of the section `sweep`; None keeps an entry."""
    given = {name: value for name, value in entries.items() if value is not None}
    return replace(options, sweep=replace(options.sweep, **given))


def _section(sections: Mapping[str, Mapping[str, Any]], name: str) -> Mapping[str, Any]:
    if not isinstance(sections.get(name), Mapping):
        raise ValueError(f"the config has no section {name!r}")
    return sections[name]


def _read(section: str, kind: Any, entries: Mapping[str, Any]) -> Any:
    known = {entry.name for entry in fields(kind)}
    unknown = sorted(set(entries) - known)
    if unknown:
        raise ValueError(
            f"{section}.{unknown[0]} is not an option; expected one of "
            f"{', '.join(sorted(known))}"
        )
    values = {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in entries.items()
    }
    hints = get_type_hints(kind)
    for name, value in values.items():
        if not _fits(value, hints[name]):
            expected = _describe(hints[name])
            raise ValueError(f"{section}.{name} is {value!r}; expected {expected}")
    return kind(**values)


def _describe(kind: Any) -> str:
    """Describes the values that `_fits` accepts."""
    arguments = get_args(kind)
    if get_origin(kind) is tuple:
        return f"a tuple of {arguments[0].__name__}"
    return " or ".join(map(repr, arguments)) if arguments else str(kind.__name__)


def _fits(value: Any, kind: Any) -> bool:
    """Returns whether a value has the declared type of an option."""
    if get_origin(kind) is tuple:
        inner = get_args(kind)[0]
        return isinstance(value, tuple) and all(_fits(x, inner) for x in value)
    if get_origin(kind) is Literal:
        return value in get_args(kind)
    if kind in (int, float) and isinstance(value, bool):
        return False
    return isinstance(value, (int, float) if kind is float else kind)
