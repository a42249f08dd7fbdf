"""What a diagnosis says: findings, and the report that lists them, worst first."""

from __future__ import annotations

from dataclasses import dataclass

from tinygrad_np.printing import printable

__all__ = ["SEVERITIES", "Diagnosis", "Finding", "Told"]

Told = tuple[str, str, str] | None
"""What a check tells: the place, what was measured, and the remedy; or nothing."""

SEVERITIES = ("error", "warning", "note")
SHOWN = 6
"""How many findings are printed. With more than these, one has to begin with the first ones anyway."""


@dataclass(frozen=True)
class Finding:
    """A mistake that a check has found.

    Attributes:
        check: the name of the check.
        severity: "error": training cannot work like this; "warning": it will work, but worse; "note": may be intended.
        place: the parameter, module or line, or "inputs", "targets", "loss", "optimizer", "train_step".
        message: what was measured.
        remedy: what to do.
        source: where the rule comes from.
    """

    check: str
    severity: str
    place: str
    message: str
    remedy: str
    source: str

    def __str__(self) -> str:
        text = f"[{self.severity}] {self.place}: {self.message}\n   remedy: {self.remedy}\n   ({self.source})"
        return printable(text)


@dataclass(frozen=True)
class Diagnosis:
    """The findings, worst first; prints as a report.

    Attributes:
        findings: in the order of the report.
        examined: what was examined, in a few words.
    """

    findings: list[Finding]
    examined: str

    def __str__(self) -> str:
        if not self.findings:
            return f"diagnose: nothing found in {self.examined}"
        count = len(self.findings)
        lines = [f"diagnose: {count} finding{'s' * (count > 1)} in {self.examined}"]
        lines += [f"{i + 1}. {finding}" for i, finding in enumerate(self.findings[:SHOWN])]
        if count > SHOWN:
            lines.append(f"and {count - SHOWN} more in .findings")
        return printable("\n".join(lines))

    def __repr__(self) -> str:  # short, because `diagnose` has printed the report when a notebook shows its result
        count = len(self.findings)
        return f"<Diagnosis of {count} finding{'s' * (count != 1)}; print() shows the report>"
