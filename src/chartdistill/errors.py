"""The error family. Every message says what failed, where, the value, what is allowed, and what to do.

    ChartDistillError
    +-- ConfigError (ValueError)      an option, a config file, a task file
    +-- InputError (ValueError)       records, labels, gold: something the user gave us to read
    +-- ModelError (ValueError)       a model folder that is missing, unsafe or unfit
    +-- ArtefactError (RuntimeError)  a run folder: missing stage, other writer, changed input
    +-- EngineError (RuntimeError)    generation failed, or failed too often
    +-- TrainingError (RuntimeError)  loss not finite, nothing to train on, self-check failed
    +-- PrivacyError (PermissionError) something tried to leave the machine
    +-- TrustGateError (RuntimeError) the work is done, but the student does not pass the config's gates
    +-- ParityError (RuntimeError)    an export would answer otherwise than the student does

Each is also a standard-library type, so callers that know nothing of this package can catch it.
"""

from __future__ import annotations


class ChartDistillError(Exception):
    """Base of everything this package raises on purpose. The CLI prints it without a traceback."""

    exit_code = 1


class ConfigError(ChartDistillError, ValueError):
    """A config or task file is wrong. Names the option path and the allowed values."""

    exit_code = 2


class InputError(ChartDistillError, ValueError):
    """Records, labels or gold cannot be used. Names the file and line, or the record id."""

    exit_code = 3


class ModelError(ChartDistillError, ValueError):
    """A model folder is missing, incomplete, unsafe (pickle) or of the wrong kind."""

    exit_code = 4


class ArtefactError(ChartDistillError, RuntimeError):
    """A run folder is not in the state a verb needs."""

    exit_code = 5


class EngineError(ChartDistillError, RuntimeError):
    """An engine did not start, died, or failed on too many requests."""

    exit_code = 6


class TrainingError(ChartDistillError, RuntimeError):
    """Training cannot start or must stop."""

    exit_code = 7


class PrivacyError(ChartDistillError, PermissionError):
    """A connection to a host the config does not allow was refused."""

    exit_code = 8


class NoGoError(ChartDistillError, RuntimeError):
    """`doctor` says that the run cannot succeed here. Nothing was begun."""

    exit_code = 9


class TrustGateError(ChartDistillError, RuntimeError):
    """A trust gate was missed, could not be judged, or was changed after the answers. Raised when all is written."""

    exit_code = 10


class ParityError(ChartDistillError, RuntimeError):
    """What was to be exported answers otherwise than the trained student, beyond the limits. Nothing is exported."""

    exit_code = 11
