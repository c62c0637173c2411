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
from ifusion.training.options import TrainingOptions

TUNED = ("baseline", "alpha")


@dataclass(frozen=True)
class SweepOptions:
    """Which lanes to train, and with what resources.

    Attributes:
      modalities: in the order of the loss weights; () = all of the corpus.
      mains: modalities to deploy on; () = every one.
      targets: to predict; () = all of the corpus.
      alphas: weights of the auxiliary modalities (Sec. 4.2), 0 among them.
      seeds: of initial weights, minibatch order and all else that is random.
      l2: weight penalties for dev to choose from. Not in the paper.
      delays: annotation delays [s] for dev to choose from (Sec. 4.2); those that round
        to the same frame count once.
      tune: "baseline" chooses l2 and delay for alpha = 0 and keeps them along the grid;
        "alpha" chooses them for each alpha. Not in the paper.
      tuning_seeds: seeds to choose l2 and delay with; () = all.
      memory_gib: device memory to use [GiB]; 0 = all a device has, no limit on a CPU.
      block_mib: above 0, train is read in blocks of this size [MiB] while lanes train,
        for corpora larger than memory; 0 = held in memory.
      save_every_seconds: [s] between snapshots of training, taken after an epoch.
      keep_snapshots: how many snapshots to keep, in case one is damaged.
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
    memory_gib: float = 0.0
    block_mib: float = 0.0
    save_every_seconds: float = 60.0
    keep_snapshots: int = 2

    def __post_init__(self) -> None:
        """Rejects values that make no sense."""
        for name in ("save_every_seconds", "memory_gib", "block_mib"):
            if not 0 <= getattr(self, name) < float("inf"):
                raise ValueError(
                    f"sweep.{name} is {getattr(self, name)}; expected at least 0"
                )
        if self.keep_snapshots < 1:
            raise ValueError(
                f"sweep.keep_snapshots is {self.keep_snapshots}; expected at least 1"
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
      metric: by which dev chooses epoch, setting and alpha.
      cluster: column of the recordings whose values are independent draws.
      convention: of the CCC, see `ifusion.concordance`; regression only.
    """

    metric: str = "micro_f1"
    cluster: str = "speaker"
    convention: Convention = "population"


@dataclass(frozen=True)
class Options:
    """All options of an experiment; the defaults are those of a classification.

    Attributes:
      model: sizes of the networks.
      training: how lanes are trained.
      sequences: what the GRU runs over.
      loss: of a regression: "squared_error", "ccc" or "ccc_sequences".
      sweep: which lanes to train.
      evaluation: how predictions are scored.
      postprocessing: of a regression.
      systems: grids and sizes of the other systems.
    """

    model: Architecture = field(default_factory=Architecture)
    training: TrainingOptions = field(default_factory=TrainingOptions)
    sequences: SequenceOptions = field(default_factory=SequenceOptions)
    loss: str = "squared_error"
    sweep: SweepOptions = field(default_factory=SweepOptions)
    evaluation: EvaluationOptions = field(default_factory=EvaluationOptions)
    postprocessing: PostProcessingOptions = field(default_factory=PostProcessingOptions)
    systems: SystemOptions = field(default_factory=SystemOptions)


def continuous_options() -> Options:
    """Returns the defaults of a regression over time, such as RECOLA (Sec. 4.1.2).

    Sec. 4.2: two GRU layers in each branch, two shared. Not in the paper: the loss,
    windows of 128 frames and their overlap, the delays searched, the CCC that alpha is
    chosen by, and what counts as an independent draw.
    """
    return Options(
        model=Architecture(branch_layers=2, shared_layers=2),
        sequences=SequenceOptions(window=128, hop=64),
        sweep=SweepOptions(delays=tuple(round(0.4 * i, 1) for i in range(21))),
        evaluation=EvaluationOptions(metric="ccc_pooled", cluster="recording"),
    )


def value_options() -> Options:
    """Returns the defaults of a regression of one value a recording.

    Not in the paper: such as sentiment, or the arousal of an utterance. The loss is the
    squared error, alpha is chosen by CCC, and predictions stay as they are.
    """
    return Options(
        evaluation=EvaluationOptions(metric="ccc_pooled"),
        postprocessing=PostProcessingOptions(steps=()),
    )


def default_options(corpus: Corpus) -> Options:
    """Returns the defaults of the task of a corpus."""
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
        "sweep": asdict(options.sweep),
        "evaluation": asdict(options.evaluation),
        "postprocessing": asdict(options.postprocessing),
        "systems": asdict(options.systems),
    }


def options_from_dict(sections: Mapping[str, Mapping[str, Any]]) -> Options:
    """Reads options from the sections of a config.

    Args:
      sections: {"model", "training", "sweep", "evaluation", "postprocessing",
        "systems"}; `training` also holds the entries of `SequenceOptions` and the loss;
        lists, as JSON has them, become tuples.

    Raises:
      ValueError: a section or an entry is missing or unknown, or a value makes no
        sense.
    """
    training = dict(_section(sections, "training"))
    loss = str(training.pop("loss", Options.loss))
    names = [entry.name for entry in fields(SequenceOptions)]
    sequences = {name: training.pop(name) for name in names if name in training}
    return Options(
        model=_read("model", Architecture, _section(sections, "model")),
        training=_read("training", TrainingOptions, training),
        sequences=_read("training", SequenceOptions, sequences),
        loss=loss,
        sweep=_read("sweep", SweepOptions, _section(sections, "sweep")),
        evaluation=_read(
            "evaluation", EvaluationOptions, _section(sections, "evaluation")
        ),
        postprocessing=_read(
            "postprocessing",
            PostProcessingOptions,
            _section(sections, "postprocessing"),
        ),
        systems=_read("systems", SystemOptions, _section(sections, "systems")),
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
            f"{section}.{unknown[0]} is not an option; expected some of "
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
