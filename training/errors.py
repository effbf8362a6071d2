"""Errors of the training commands; each message is a sentence for the user."""

_MARK = "Exception encountered:"  # what Keras writes before the reason, the innermost one last


def short_reason(error: Exception, length: int) -> str:
    """Return the reason in an error of Keras, on one line of at most `length` characters.

    Keras may write a whole configuration before the reason.
    """
    text = " ".join(str(error).split()).rpartition(_MARK)[2].strip() or type(error).__name__
    half = (length - 5) // 2
    return text if len(text) <= length else f"{text[:half]} ... {text[-half:]}"


class TrainingError(Exception):
    """A training command cannot go on."""


class DataError(TrainingError):
    """The data are not MNIST; the message says what was expected and what was read."""


class FitError(TrainingError):
    """A run cannot go on: there is nothing to resume, or the checkpoints are of another recipe."""


class PublishError(TrainingError):
    """A network cannot be written as a bundle, or a bundle lacks a file that is needed."""


class ImportingError(TrainingError):
    """A network from elsewhere cannot be imported; the message says why and what to do."""


class AdaptError(TrainingError):
    """A network is not adapted to a user's pictures; the message says why and what is needed."""
