"""All errors of pachvault, and the exit code of each.

    PachvaultError        1   failed
    ├── UsageError        2   bad input: a flag, a policy, an address
    │   └── InvalidInputError     a text has a form that means nothing
    ├── NoVaultError     10   no vault at the target, or one that this version cannot read
    ├── BusyError        11   the vault or the backup repo is in use by another run
    ├── VaultKeyError    12   wrong or missing key
    ├── DamageError      13   stored objects are missing or damaged; one of:
    │   ├── AbsentError       an object that should exist is missing
    │   └── CorruptError      an object exists, and its bytes are wrong
    │       └── TakenError    another object has the name already
    ├── StoreError        1   the target does not answer or refuses; nothing is known of its objects
    │   ├── FullError         the target is full
    │   └── DeniedError       this user lacks a permission
    └── PachydermError    1   the cluster refused
        ├── TransientError    the cluster does not answer; a retry may succeed
        ├── UnsupportedError  this Pachyderm has no such call, or the feature is switched off
        ├── NotSignedInError  the auth token is missing, wrong or expired
        ├── NotAllowedError   with authentication on, the caller lacks a right
        └── SourceGoneError   pachd reports that the source no longer exists

Unreachable is not absent, and absent is not corrupt. Code for which absence is a valid answer catches
AbsentError (a store) or SourceGoneError (a cluster) by name. Code that records damage as a finding catches
DamageError. Out of memory is Python's MemoryError; only the outermost layer catches it, because it
does not mean that the data is damaged.

An error has fields (what, where, hint). Its `str` is the one line that the user reads; the outermost layer
prints it once.
"""

from __future__ import annotations

EXIT_OK = 0
EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_PARTIAL = 3
EXIT_NO_VAULT = 10
EXIT_BUSY = 11
EXIT_KEY = 12
EXIT_DAMAGE = 13
EXIT_INTERRUPTED = 130


class PachvaultError(Exception):
    """The base of all errors: what went wrong, where, and a hint what to do; one line."""

    exit_code = EXIT_FAILED

    def __init__(self, what: str, *, where: str = "", hint: str = "") -> None:
        self.what = what
        self.where = where
        self.hint = hint
        super().__init__(what)

    def __str__(self) -> str:
        line = f"{self.where}: {self.what}" if self.where else self.what
        return f"{line} ({self.hint})" if self.hint else line


class UsageError(PachvaultError):
    """The input is wrong. Nothing was done."""

    exit_code = EXIT_USAGE


class InvalidInputError(UsageError, ValueError):
    """A text has the wrong form. It is a ValueError, too, so that pydantic adds the name of the field."""


class NoVaultError(PachvaultError):
    """The target holds no vault, or one that this version cannot read."""

    exit_code = EXIT_NO_VAULT


class BusyError(PachvaultError):
    """Another run uses the vault or the repo that this one needs."""

    exit_code = EXIT_BUSY


class VaultKeyError(PachvaultError):
    """The objects are encrypted with a key that was not given."""

    exit_code = EXIT_KEY


class DamageError(PachvaultError):
    """Stored objects are absent or corrupt. Raise one of the subclasses."""

    exit_code = EXIT_DAMAGE


class AbsentError(DamageError):
    """An object that should exist is missing: the store itself reports that."""


class CorruptError(DamageError):
    """Stored bytes do not match their name, or what the object that names them records."""


class TakenError(CorruptError):
    """Another complete object has the name already. One of the two is damaged."""


class StoreError(PachvaultError):
    """The target does not answer, or refuses the call."""


class FullError(StoreError):
    """The target is full."""


class DeniedError(StoreError):
    """The target does not permit this to this user."""


class PachydermError(PachvaultError):
    """Pachyderm refused the call."""


class TransientError(PachydermError):
    """Pachyderm does not answer, or fails in a way that may pass. A retry may succeed."""


class UnsupportedError(PachydermError):
    """This Pachyderm has no such call: it is older, or the feature (authentication) is disabled."""


class NotSignedInError(PachydermError):
    """Pachyderm knows no caller: the auth token is missing, wrong or expired."""


class NotAllowedError(PachydermError):
    """The caller lacks a right. The hint is the command that grants it."""


class SourceGoneError(PachydermError):
    """Pachyderm reports that a source no longer exists: it was deleted, squashed or dropped."""
