"""The errors of the converters; each names the thing, the value, the rule and the way out."""


class ConverterError(Exception):
    """Base of every error that a user of the converters can provoke."""


class ModelLoadError(ConverterError):
    """A file or function that does not give a Keras model the kit can work on."""


class RecipeError(ConverterError):
    """A recipe that cannot be read or whose passes cannot follow one another."""


class RewriteError(ConverterError):
    """A pass that cannot do what its options ask on this model."""


class TrainingError(ConverterError):
    """Data, options or a result that make training pointless or impossible."""


class ExportError(ConverterError):
    """A model that cannot be converted, or a conversion whose file is wrong."""


class ProofError(ConverterError):
    """A pass or a file whose weights do not hold what was asked of them."""


class SearchError(ConverterError):
    """A study that cannot be opened or does not belong to what is searched."""
