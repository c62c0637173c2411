"""Implicit fusion as scikit-learn estimators, thin over the engine.

    model = ImplicitFusionClassifier(main="audio")
    model.fit({"audio": X_a, "video": X_v}, y, groups=speakers)
    model.predict(X_a)

For tools that split rows (cross_val_score, GridSearchCV, pipelines), pass a table with
two levels of columns, `pd.concat({"audio": X_a, "video": X_v}, axis=1)`.

Axes: R rows, one utterance each, F features of a modality, K classes.
"""

import io
from abc import ABC, abstractmethod
from collections.abc import Mapping
from contextlib import nullcontext, redirect_stderr
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Self

import numpy as np
import pandas as pd
from scipy.sparse import issparse
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.utils import check_random_state
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import (
    check_array,
    check_consistent_length,
    check_is_fitted,
    column_or_1d,
    validate_data,
)

from ifusion.corpora.corpus import Corpus, Modality
from ifusion.experiment import runs
from ifusion.experiment.options import Options, SweepOptions, value_options
from ifusion.inference.inputs import Inputs, read_inputs
from ifusion.inference.opening import load_predictor
from ifusion.models.architecture import Architecture
from ifusion.training.options import TrainingOptions

ONLY = "features"  # the modality of a plain array
TARGET = "y"
GRID = tuple(round(0.1 * i, 1) for i in range(11))


class _ImplicitFusion(BaseEstimator, ABC):
    """What both estimators share."""

    def __init__(
        self,
        main: str | None = None,
        alpha: float | str = "dev",
        members: int = 1,
        hidden_size: int = 100,
        epochs: int = 100,
        patience: int = 15,
        batch_size: int = 128,
        learning_rate: float = 1e-3,
        l2: float = 0.0,
        dev_share: float = 0.2,
        random_state: Any = None,
        verbose: bool = False,
    ) -> None:
        """Takes the options; `fit` checks them.

        Args:
          main: modality to predict from; the first by default.
          alpha: weight of the other modalities, or "dev" for the best of 0, 0.1 ... 1
            on the groups held out.
          members: number of networks to average, each with its own seed.
          hidden_size: H of every layer.
          epochs: at most.
          patience: epochs without a better score on the groups held out.
          batch_size: utterances per update.
          learning_rate: of Adam.
          l2: penalty on weights.
          dev_share: share of the rows to hold out, to choose epoch and alpha.
          random_state: draws the groups held out and the seeds.
          verbose: whether to print progress.
        """
        self.main = main
        self.alpha = alpha
        self.members = members
        self.hidden_size = hidden_size
        self.epochs = epochs
        self.patience = patience
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.l2 = l2
        self.dev_share = dev_share
        self.random_state = random_state
        self.verbose = verbose

    def fit(self, X: Any, y: Any, groups: Any = None) -> Self:  # noqa: N803
        """Trains, and chooses epoch and alpha on the groups held out.

        Args:
          X: {modality: (R, F)}, a table of two levels of columns, or (R, F).
          y: (R,) classes of a classifier, values of a regressor.
          groups: (R,), such as speakers; by default each row is a group.

        Raises:
          ValueError: an array or option makes no sense.
        """
        tables, y = self._read_train(X, y)
        labels, classes = self._code(y)
        self._train(tables, self._corpus(tables, labels, groups, classes))
        return self

    @abstractmethod
    def _code(self, y: Any) -> tuple[np.ndarray, tuple[str, ...]]:
        """Turns y into the labels and classes of a corpus; () = regression."""

    def _train(self, tables: Mapping[str, pd.DataFrame], corpus: Corpus) -> None:
        """Trains on a corpus, and keeps the predictor of the main modality."""
        main = self.main or next(iter(tables))
        if main not in tables:
            raise ValueError(f"main is {main!r}; X has {', '.join(tables)}")
        fused = len(tables) > 1 and self.alpha != 0
        if not (self.alpha == "dev" or _is_number(self.alpha)):
            raise ValueError(f"alpha is {self.alpha!r}; expected 'dev' or a number")
        alphas = GRID if self.alpha == "dev" else tuple({0.0, float(self.alpha)})
        first = int(check_random_state(self.random_state).randint(2**31 - self.members))
        base = Options() if corpus.classes else value_options()
        options = replace(
            base,
            model=Architecture(hidden_size=self.hidden_size),
            training=TrainingOptions(
                epochs=self.epochs,
                patience=self.patience,
                batch_size=self.batch_size,
                learning_rate=self.learning_rate,
            ),
            sweep=SweepOptions(
                mains=(main,),
                alphas=tuple(sorted(alphas)) if fused else (0.0,),
                seeds=tuple(range(first, first + self.members)),
                l2=(self.l2,),
            ),
        )
        system = "implicit_fusion" if fused else "baseline"
        quiet = nullcontext() if self.verbose else redirect_stderr(io.StringIO())
        with TemporaryDirectory() as folder, quiet:
            place = Path(folder) / "run"
            runs.train(place, runs.Plan(corpus, options, (system,)))
            alpha = float(self.alpha) if fused and self.alpha != "dev" else None
            self.predictor_ = load_predictor(place, main, system, alpha=alpha)
        self.alpha_ = float(self.predictor_.members[0].setting.get("alpha", 0.0))
        self.main_ = main

    def _corpus(
        self,
        tables: Mapping[str, pd.DataFrame],
        labels: np.ndarray,
        groups: Any,
        classes: tuple[str, ...],
    ) -> Corpus:
        count = len(labels)
        owners = np.arange(count) if groups is None else np.asarray(groups)
        check_consistent_length(labels, owners)
        dev = _hold_out(
            owners,
            labels if classes else np.zeros(count, int),
            self.dev_share,
            check_random_state(self.random_state),
        )
        return Corpus(
            name="scikit-learn",
            recording=np.array([f"r{i}" for i in range(count)]),
            partition=np.where(dev, "dev", "train"),
            speaker=np.array(
                [f"g{i}" for i in np.unique(owners, return_inverse=True)[1]]
            ),
            modalities={
                m: Modality(tuple(map(str, table.columns)), table.to_numpy(np.float32))
                for m, table in tables.items()
            },
            targets=(TARGET,),
            labels=labels[:, None],
            classes=classes,
        )

    def _read_train(self, X: Any, y: Any) -> tuple[dict[str, pd.DataFrame], Any]:  # noqa: N803
        """Checks X and y, and names the columns of X: a table per modality."""
        tables = _by_modality(X)
        if tables is None:
            numeric = isinstance(self, RegressorMixin)
            X, y = validate_data(  # noqa: N806
                self, X, y, dtype=np.float32, ensure_min_samples=2, y_numeric=numeric
            )
            names = [f"{ONLY}_{i}" for i in range(X.shape[1])]
            return {ONLY: pd.DataFrame(X, columns=names)}, y
        tables = {m: _checked(m, table) for m, table in tables.items()}
        y = column_or_1d(y, warn=True)
        if isinstance(self, RegressorMixin):
            y = check_array(y, ensure_2d=False, dtype=np.float64, input_name="y")
        check_consistent_length(y, *tables.values())
        self.n_features_in_ = sum(table.shape[1] for table in tables.values())
        return tables, y

    def _average(self, X: Any) -> np.ndarray:  # noqa: N803
        """Predicts from the main modality: (R, K) probabilities, or (R,) values."""
        check_is_fitted(self, "predictor_")
        tables = _by_modality(X)
        names = self.predictor_.features[self.main_]
        if tables is not None:
            if self.main_ not in tables:
                raise ValueError(f"X has {', '.join(tables)}, but not {self.main_!r}")
            table = _checked(self.main_, tables[self.main_])
            inputs = read_inputs(self.predictor_, table)
        elif self.main_ == ONLY:
            X = validate_data(self, X, dtype=np.float32, reset=False)  # noqa: N806
            inputs = Inputs({ONLY: X}, np.ones(len(X), int), None, ())
        else:
            table = _checked(self.main_, X)
            own = isinstance(X, pd.DataFrame)
            inputs = read_inputs(
                self.predictor_,
                table if own else table.to_numpy(),
                names=None if own else names,
            )
        return self.predictor_.average(inputs)[TARGET].astype(np.float32)


class ImplicitFusionClassifier(ClassifierMixin, _ImplicitFusion):
    """Classifies utterances from one modality, trained on several.

    Example:
      >>> model = ImplicitFusionClassifier(main="audio", random_state=0)
      >>> model.fit({"audio": X_a, "video": X_v}, y, groups=speakers).predict(X_a)

    Attributes:
      classes_: (K,) the values of y.
      predictor_: `ifusion.inference.predictor.Predictor` of the main modality.
      alpha_: in use; 0 if there is one modality.
      main_: modality to predict from.
    """

    def _code(self, y: Any) -> tuple[np.ndarray, tuple[str, ...]]:
        check_classification_targets(y)
        self.classes_, codes = np.unique(y, return_inverse=True)
        if len(self.classes_) < 2:
            raise ValueError("y has one class; a classifier needs two or more")
        return codes, tuple(f"class {i}" for i in range(len(self.classes_)))

    def predict_proba(self, X: Any) -> np.ndarray:  # noqa: N803
        """Returns the probability of each of `classes_`: (R, K) float32.

        Args:
          X: features of the main modality (R, F), or as `fit` takes them.
        """
        return self._average(X)

    def predict(self, X: Any) -> np.ndarray:  # noqa: N803
        """Returns the class of each row: (R,); X as of `predict_proba`."""
        probabilities = self.predict_proba(X)
        return np.asarray(self.classes_[probabilities.argmax(1)])


class ImplicitFusionRegressor(RegressorMixin, _ImplicitFusion):
    """Predicts a value of utterances from one modality, trained on several.

    Example:
      >>> model = ImplicitFusionRegressor(main="audio", random_state=0)
      >>> model.fit({"audio": X_a, "video": X_v}, y, groups=speakers).predict(X_a)

    Attributes:
      predictor_: `ifusion.inference.predictor.Predictor` of the main modality.
      alpha_: in use; 0 if there is one modality.
      main_: modality to predict from.
    """

    def _code(self, y: Any) -> tuple[np.ndarray, tuple[str, ...]]:
        return np.asarray(y, np.float32), ()

    def predict(self, X: Any) -> np.ndarray:  # noqa: N803
        """Returns the value of each row: (R,) float32.

        Args:
          X: features of the main modality (R, F), or as `fit` takes them.
        """
        return self._average(X)


def _by_modality(X: Any) -> dict[str, Any] | None:  # noqa: N803
    """Splits a dict or a table with two levels of columns; None for a plain array."""
    if isinstance(X, Mapping) and not issparse(X):  # some sparse matrices are mappings
        return dict(X)
    if isinstance(X, pd.DataFrame) and X.columns.nlevels == 2:
        return {str(m): X[m] for m in dict.fromkeys(X.columns.get_level_values(0))}
    return None


def _checked(modality: str, table: Any) -> pd.DataFrame:
    """Checks that features are finite numbers; columns without names are numbered."""
    named = isinstance(table, pd.DataFrame)
    columns = [str(name) for name in table.columns] if named else None
    values = check_array(table, dtype=np.float32, input_name=modality)
    if columns is None:
        columns = [f"{modality}_{i}" for i in range(values.shape[1])]
    return pd.DataFrame(values, columns=columns)


def _hold_out(
    groups: np.ndarray,
    labels: np.ndarray,
    share: float,
    random: np.random.RandomState,
) -> np.ndarray:
    """Draws groups to hold out until they have that share of the rows: (R,) bool.

    A group stays in train if train would lack a class without it.
    """
    if not 0 < share < 1:
        raise ValueError(f"dev_share is {share}; expected between 0 and 1")
    dev = np.zeros(len(groups), bool)
    names = np.unique(groups)
    for name in names[random.permutation(len(names))]:
        mine = groups == name
        left = ~(dev | mine)
        if left.any() and set(labels[left]) == set(labels):
            dev |= mine
        if dev.mean() >= share:
            break
    if not dev.any():
        raise ValueError(
            "no group can be held out: expected two groups or more, and each class in "
            "two of them"
        )
    return dev


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
