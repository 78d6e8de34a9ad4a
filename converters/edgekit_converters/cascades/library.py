"""TFMOT, imported in a way that leaves the process's Keras alone."""

from __future__ import annotations

import os
import warnings

import tensorflow as tf

from edgekit_converters.quiet import quiet

_VARIABLE = "TF_USE_LEGACY_KERAS"
_before = os.environ.get(_VARIABLE)
# tf.keras decides at its first use which Keras it is; TFMOT's import would decide for Keras 2.
_ = tf.keras.Model
try:
    with quiet(), warnings.catch_warnings():
        # TFMOT compares versions with distutils, which says at each import that it is old.
        warnings.simplefilter("ignore", DeprecationWarning)
        import tensorflow_model_optimization as tfmot
        from tensorflow_model_optimization.python.core.clustering.keras.experimental import (
            cluster as sparse_cluster,
        )
        from tensorflow_model_optimization.python.core.quantization.keras import quantizers
        from tensorflow_model_optimization.python.core.quantization.keras.default_8bit import (
            default_8bit_quantize_configs as configs_8bit,
        )
        from tensorflow_model_optimization.python.core.quantization.keras.default_8bit import (
            default_8bit_quantize_layout_transform as layout_8bit,
        )
        from tensorflow_model_optimization.python.core.quantization.keras.default_8bit import (
            default_8bit_quantize_registry as registry_8bit,
        )
        from tensorflow_model_optimization.python.core.quantization.keras.default_8bit import (
            default_8bit_quantize_scheme as scheme_8bit,
        )
finally:
    if _before is None:
        os.environ.pop(_VARIABLE, None)
    else:
        os.environ[_VARIABLE] = _before

# Each pass traces new models, at which TensorFlow advises the user to write another program.
tf.get_logger().addFilter(lambda record: "triggered tf.function retracing" not in record.msg)

__all__ = [
    "configs_8bit",
    "layout_8bit",
    "quantizers",
    "registry_8bit",
    "scheme_8bit",
    "sparse_cluster",
    "tfmot",
]
