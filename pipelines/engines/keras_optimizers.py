"""What the Keras engine's weights are moved by: AdamW, quick on TensorFlow, and Muon, after a warm-up and a cosine decay."""

import math
from collections.abc import Sequence
from typing import Any

from . import load_framework
from .muon import MOMENTUM, orthogonal, step_size

keras: Any = load_framework("keras")

__all__ = ["optimizer"]


def optimizer(lr: float, steps: int, weight_decay: float, warmup: float, matrices: Sequence[Any] = ()) -> Any:
    """Return what trains a network in so many steps; `matrices` are the variables that Muon trains."""
    warm = max(1, round(steps * warmup))
    schedule = keras.optimizers.schedules.CosineDecay(
        initial_learning_rate=lr / 25, decay_steps=max(1, steps - warm), alpha=0.01, warmup_target=lr, warmup_steps=warm
    )
    fused = keras.backend.backend() == "tensorflow"
    options = {"learning_rate": schedule, "weight_decay": weight_decay, "name": "adamw"}
    if matrices:
        made = (_FusedAdamWAndMuon if fused else _AdamWAndMuon)(matrices, **options)
    else:
        made = (_FusedAdamW if fused else keras.optimizers.AdamW)(**options)
    made.exclude_from_weight_decay(var_names=["bias", "beta", "gamma"])
    return made


class _FusedAdamW(keras.optimizers.AdamW):
    """AdamW for TensorFlow whose step is one operation a variable, where Keras takes some twenty for the same arithmetic.

    They are too small to be computed beside one another. Keras also computes the learning rate anew for each weight that decays,
    and tracing it all took a third of the time until the first step.
    """

    def _apply_weight_decay(self, variables: Any) -> None:
        """Leave it to `update_step`, which is given the learning rate."""

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """Let the weight decay, and take the step."""
        tf, ops, dtype = load_framework("tensorflow"), keras.ops, variable.dtype
        rate, step = ops.cast(learning_rate, dtype), ops.cast(self.iterations + 1, dtype)
        beta_1, beta_2 = ops.cast(self.beta_1, dtype), ops.cast(self.beta_2, dtype)
        if self.weight_decay and self._use_weight_decay(variable):
            variable.assign_sub(variable * (rate * self.weight_decay))
        at = self._get_variable_index(variable)
        tf.raw_ops.ResourceApplyAdam(
            var=variable.handle,
            m=self._momentums[at].value.handle,
            v=self._velocities[at].value.handle,
            beta1_power=ops.power(beta_1, step),
            beta2_power=ops.power(beta_2, step),
            lr=rate,
            beta1=beta_1,
            beta2=beta_2,
            epsilon=ops.cast(self.epsilon, dtype),
            grad=tf.convert_to_tensor(gradient),  # that of an embedding comes row by row
        )


class _AndMuon:
    """Mixed into AdamW: trains some of the variables by Muon, whose average is kept where AdamW's would be."""

    def __init__(self, matrices: Sequence[Any], **options: Any) -> None:
        super().__init__(**options)
        self._asked = frozenset(map(id, matrices))  # Keras would take variables kept here for the optimizer's own
        self._turned: frozenset[int] = frozenset()

    def build(self, variables: Any) -> None:
        """Note the places of the matrices among all variables."""
        super().build(variables)  # type: ignore[misc]
        self._turned = frozenset(i for i, variable in enumerate(variables) if id(variable) in self._asked)

    def _apply_weight_decay(self, variables: Any) -> None:
        """Leave the matrices' to `update_step`."""
        others = [variable for variable in variables if id(variable) not in self._asked]
        super()._apply_weight_decay(others)  # type: ignore[misc]

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """Let a matrix decay, and move it along its average gradient made orthogonal."""
        at = self._get_variable_index(variable)  # type: ignore[attr-defined]
        if at not in self._turned:
            super().update_step(gradient, variable, learning_rate)  # type: ignore[misc]
            return
        ops, average, shape = keras.ops, self._momentums[at], tuple(variable.shape)  # type: ignore[attr-defined]
        rate, gradient = ops.cast(learning_rate, variable.dtype), ops.cast(gradient, variable.dtype)
        average.assign(MOMENTUM * average + (1 - MOMENTUM) * gradient)
        ahead = MOMENTUM * average + (1 - MOMENTUM) * gradient
        rows, columns = math.prod(shape[:-1]), shape[-1]
        turned = orthogonal(ops.reshape(ahead, (rows, columns)), transposed=ops.transpose, length=ops.norm)
        step = rate * step_size(rows, columns) * ops.reshape(turned, shape)
        variable.assign(variable * (1 - rate * self.weight_decay) - step)  # type: ignore[attr-defined]


class _FusedAdamWAndMuon(_AndMuon, _FusedAdamW):
    """Both, for TensorFlow."""


class _AdamWAndMuon(_AndMuon, keras.optimizers.AdamW):
    """Both, for Keras' other backends."""
