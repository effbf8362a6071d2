"""Errors of the training commands; each message is a sentence for the user."""


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
