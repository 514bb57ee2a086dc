"""Certificates: what was audited, by which laws, with what result; bound to the code and the options by a hash."""

from __future__ import annotations

import hashlib
import importlib
import json
import platform
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import numpy as np
from attrs import frozen

from slt.audit.conduct import Judged, laws_of, passed
from slt.audit.findings import Example, Finding
from slt.config.rendering import render_value

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from slt.audit.laws import Lab
    from slt.audit.subject import Subject

__all__ = ["FOLDER", "Certificate", "certify", "find_certificate", "options_of", "plugin_hash", "read_certificates"]

FOLDER = "certificates"
"""Folder beside a package's modules that the certificates of slt's own plugins come in."""

_FORMAT = 1
_CODE = (".py", ".pyd", ".so")


@frozen
class Certificate:
    """The result of an audit.

    Attributes:
        kind: ``features`` or ``strategies``.
        name: The word in config.toml.
        target: ``module:class``.
        distribution: Where it comes from.
        version: That distribution's version.
        hash: See `plugin_hash`.
        definition: A feature set's own definition string; empty for a strategy.
        options: Every option and its value, as TOML.
        feature_sets: What a strategy was shown: ``name hash`` of each feature set.
        float_tolerance: Difference between floats that the plugin declares rounding may make; 0 = bit for bit.
        cross_symbol: It declares that symbols know each other.
        interval_ms: Base interval of the audit.
        seed: Seed of the audit.
        rows: Bars of the law market.
        data: Files of the user's that the laws were asked on; empty = random walks.
        date: When, ISO, UTC; told by the command line.
        environment: Versions of slt, Python and numpy, and the machine.
        judged: Every law and what came of it.
    """

    kind: str
    name: str
    target: str
    distribution: str
    version: str
    hash: str
    definition: str
    options: dict[str, str]
    feature_sets: tuple[str, ...]
    float_tolerance: float
    cross_symbol: bool
    interval_ms: int
    seed: int
    rows: int
    data: tuple[str, ...]
    date: str
    environment: str
    judged: tuple[Judged, ...]

    @property
    def passed(self) -> bool:
        """Whether every law of its kind was asked, none broke and none failed."""
        return passed(self.judged) and {j.law for j in self.judged} == set(laws_of(self.kind))

    @property
    def file_name(self) -> str:
        """``<kind>-<name>-<first 12 of the hash>.json``."""
        return f"{self.kind}-{self.name}-{self.hash[:12]}.json"

    def to_json(self) -> str:
        """The certificate as JSON text."""
        fields = attrs.asdict(self, recurse=False)
        laws = [
            {
                "law": j.law,
                "title": j.title,
                "verdict": j.finding.verdict,
                "text": j.finding.text,
                "example": attrs.asdict(j.finding.example) if j.finding.example else None,
            }
            for j in self.judged
        ]
        head = {"format": _FORMAT, "passed": self.passed}
        return json.dumps({**head, **{k: v for k, v in fields.items() if k != "judged"}, "laws": laws}, indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Certificate:
        """What `to_json` wrote.

        Raises:
            ValueError: It is no certificate, or of another format.
        """
        try:
            table = json.loads(text)
            if table["format"] != _FORMAT:
                raise ValueError(f"format {table['format']}, this version of slt reads {_FORMAT}")
            judged = tuple(
                Judged(
                    law["law"],
                    Finding(law["verdict"], law["text"], Example(**law["example"]) if law["example"] else None),
                )
                for law in table["laws"]
            )
            names = [f.name for f in attrs.fields(cls) if f.name != "judged"]
            fields: dict[str, Any] = {n: tuple(table[n]) if isinstance(table[n], list) else table[n] for n in names}
            return cls(**fields, judged=judged)
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"no certificate: {type(error).__name__} {error}") from error

    def lines(self) -> Iterator[str]:
        """The certificate as text for people."""
        yield f"{self.kind}:{self.name}, from {self.distribution} {self.version} ({self.target})"
        yield f"hash {self.hash[:12]}, audited {self.date} with {self.environment}"
        if self.definition:
            yield f"definition: {self.definition}"
        if self.feature_sets:
            yield f"features: {', '.join(self.feature_sets)}"
        tolerance = f"floats within {self.float_tolerance:g}, as declared" if self.float_tolerance else "bit for bit"
        shown = f"{len(self.data)} files of candles" if self.data else "random walks"
        yield f"seed {self.seed}, {self.rows} bars of {shown}, {tolerance}"
        yield ""
        for judged in self.judged:
            yield f"{judged.finding.verdict:<8}{judged.title}: {judged.finding.text}"
        yield ""
        count = sum(j.finding.verdict in {"broken", "failed"} for j in self.judged)
        left = [key for key in laws_of(self.kind) if key not in {j.law for j in self.judged}]
        if left:
            yield f"not asked: {', '.join(left)}"
        yield "every law holds" if self.passed else f"{count} of {len(self.judged)} laws are broken: no certificate"

    def write(self, folder: Path) -> Path:
        """Write the JSON into a folder, which is made if need be, and return its path."""
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / self.file_name
        path.write_text(self.to_json(), encoding="utf-8")
        return path


def certify(lab: Lab, judged: Sequence[Judged], *, date: str, data: Iterable[str] = ()) -> Certificate:
    """Bind what came of an audit to the plugin's code and options.

    Args:
        lab: Plugin and markets of the audit.
        judged: What `slt.audit.conduct.conduct` returned.
        date: When, ISO, UTC.
        data: Files of the user's that were used.
    """
    subject = lab.subject
    return Certificate(
        kind=subject.kind,
        name=subject.name,
        target=subject.target,
        distribution=subject.distribution,
        version=subject.version,
        hash=_hash_of(subject),
        definition=_definition(subject),
        options=options_of(subject.config),
        feature_sets=tuple(f"{s.name} {_hash_of(s)[:12]}" for s in subject.feature_sets),
        float_tolerance=subject.float_tolerance,
        cross_symbol=subject.is_cross_symbol,
        interval_ms=subject.interval_ms,
        seed=lab.seed,
        rows=lab.rows,
        data=tuple(data),
        date=date,
        environment=_environment(),
        judged=tuple(judged),
    )


def plugin_hash(kind: str, name: str, target: str, options: dict[str, str], definition: str) -> str:
    """SHA-256, hex, of all that a certificate speaks for: the plugin's code, options and definition.

    The code is every ``.py`` file and compiled module of the package that the plugin's module is in, or the module's
    own file where it is in none; not of what it imports from elsewhere. Line ends do not count.
    """
    digest = hashlib.sha256(f"{kind}\n{name}\n{target}\n{definition}\n".encode())
    for option, value in sorted(options.items()):
        digest.update(f"{option} = {value}\n".encode())
    for label, path in _sources(target.partition(":")[0]):
        digest.update(f"{label}\n".encode())
        digest.update(path.read_bytes().replace(b"\r\n", b"\n"))
    return digest.hexdigest()


def options_of(config: Any) -> dict[str, str]:
    """Every option of a plugin's config and its value as TOML; empty text for None."""
    return {f.name: render_value(getattr(config, f.name)) for f in attrs.fields(type(config))}


def package_folder(target: str) -> Path | None:
    """Folder of the package that a plugin's module is in; None where it is in none."""
    module: Any = importlib.import_module(target.partition(":")[0])
    file = Path(module.__file__)
    if hasattr(module, "__path__") or module.__package__:
        return file.parent
    return None


def read_certificates(folder: Path, kind: str, name: str) -> Iterator[Certificate]:
    """Every readable certificate of a plugin in a folder, whatever its hash; none where there is no such folder."""
    for path in sorted(folder.glob(f"{kind}-{name}-*.json")):
        try:
            yield Certificate.from_json(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue


def find_certificate(folders: Iterable[Path], kind: str, name: str, wanted: str) -> Certificate | None:
    """A certificate of this hash on which every law holds; None where no folder has one."""
    for folder in folders:
        for found in read_certificates(folder, kind, name):
            if found.hash == wanted and found.passed:
                return found
    return None


def _hash_of(subject: Subject) -> str:
    definition = _definition(subject)
    return plugin_hash(subject.kind, subject.name, subject.target, options_of(subject.config), definition)


def _definition(subject: Subject) -> str:
    return subject.session().describe().definition if subject.kind == "features" else ""


def _sources(module_name: str) -> Iterator[tuple[str, Path]]:
    folder = package_folder(module_name)
    if folder is None:
        file = Path(str(importlib.import_module(module_name).__file__))
        yield file.name, file
        return
    for path in sorted(p for p in folder.rglob("*") if p.suffix in _CODE):
        yield path.relative_to(folder).as_posix(), path


def _environment() -> str:
    try:
        own = version("selflearningtrader")
    except PackageNotFoundError:  # pragma: no cover - run from a source tree without installation
        own = "unknown"
    python = ".".join(map(str, sys.version_info[:3]))
    return f"slt {own}, Python {python}, numpy {np.__version__}, {platform.system()} {platform.machine()}"
