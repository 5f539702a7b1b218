"""The few exceptions that a user's mistake raises.

Each carries one sentence that says what is wrong, where, and what to do next.
The command line prints that sentence and ends with exit code 2; Python callers
catch :class:`TellapartError` to catch them all.
"""


class TellapartError(Exception):
    """A mistake in what the user gave us; the message is the whole explanation."""


class DataError(TellapartError):
    """The images, their folder or their labels cannot be used as they are."""


class RecipeError(TellapartError):
    """A recipe or a ``--set`` is wrong; ``problems`` lists every mistake found."""

    def __init__(self, message: str, problems: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.problems = problems


class WeightsError(TellapartError):
    """Pretrained weights are missing, damaged, or belong to another network."""


class MissingPackageError(TellapartError):
    """What is wanted needs packages that are not installed; the message has the command."""


class RunError(TellapartError):
    """A run folder is missing, unfinished, damaged, or used for what it cannot do."""


class BundleError(TellapartError):
    """An exported bundle cannot be made, or is missing, damaged or not to be run here."""


class FileError(TellapartError):
    """A file cannot be written: the disk is full, or the place may not be written to."""


class TrainingError(TellapartError):
    """Training was stopped because its result would have been nonsense."""
