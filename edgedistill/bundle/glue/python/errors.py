"""The errors of this package. Each message says what was found, what was expected, and what to do."""


class ModelError(Exception):
    """Base of all errors of this package."""


class BundleError(ModelError):
    """The bundle is missing, damaged, changed, unsigned, or newer than this code."""


class RuntimeMissing(ModelError):
    """No runtime is installed that runs an artifact of the bundle, or the one that is installed is too old."""


class InputError(ModelError):
    """An input has another type, shape or size than the model takes."""


class RuntimeFailed(ModelError):
    """The runtime failed; its own error is the cause."""


class Cancelled(ModelError):
    """The caller cancelled the call."""


class Closed(ModelError):
    """The model was closed before."""
