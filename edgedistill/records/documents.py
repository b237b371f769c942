"""The documents that commands print with `--json`. The JSON Schema of each is made of its record, see `edgedistill schema`."""

from __future__ import annotations

from pydantic import Field, JsonValue

from edgedistill.records.artifacts import NotLowered
from edgedistill.records.base import Record, Unavailable
from edgedistill.records.generation import Generation
from edgedistill.records.manifest import Manifest, Ship
from edgedistill.records.metric import Metric
from edgedistill.records.results import ArtifactResult, Pair, Score
from edgedistill.records.summary import Ranges
from edgedistill.records.updates import Index
from edgedistill.records.verdicts import Latency, Load, Parity, Status


class Exported(Record):
    """What `export` prints: the artifacts that were asked for, and where their bundles are."""

    run: str
    status: Status
    metric: Metric = Field(description="What scores are.")
    artifacts: list[ArtifactResult]
    not_lowered: list[NotLowered] = Field([], description="Files that were asked for and could not be made.")
    ranges: Ranges
    bundles: dict[str, str] = Field(description="Folder of each target's bundle.")


class Verified(Record):
    """What `verify` prints: every artifact of a run, and int8 artifacts among each other."""

    run: str
    status: Status
    metric: Metric = Field(description="What scores are.")
    artifacts: list[ArtifactResult]
    not_lowered: list[NotLowered] = Field([], description="Files that were asked for and could not be made.")
    pairs: list[Pair]
    ranges: Ranges


class Benched(Record):
    """What `bench` prints: every artifact of a run, measured on this machine."""

    run: str
    status: Status
    metric: Metric = Field(description="What scores are.")
    artifacts: list[ArtifactResult]
    not_lowered: list[NotLowered] = Field([], description="Files that were asked for and could not be made.")
    environment: dict[str, JsonValue]


class ExternalScore(Record):
    """The score on val of a file from elsewhere, and of the run's student."""

    file: Score | Unavailable
    student: Score | Unavailable


class OwnFile(Record):
    """What a run found out of its own file of the same format, precision and input as one from elsewhere."""

    name: str
    sha256: str
    same: bool = Field(description="Whether both are the same bytes.")
    ok: bool | None
    parity: Parity | Unavailable


class VerifiedFile(Record):
    """What `verify FILE --against RUN` prints: a file from elsewhere against the programs of a run."""

    file: str
    format: str
    sha256: str
    bytes: int
    warnings: list[str]
    precision: str
    run: str
    executed_by: str
    runtime: dict[str, str]
    ok: bool | None
    status: Status
    parity: Parity | Unavailable
    metric: Metric = Field(description="What scores are.")
    score: ExternalScore
    own: OwnFile | None = Field(None, description="The run's own file of this kind; null where it has none.")


class Port(Record):
    """An input or output of a file."""

    name: str
    dtype: str
    shape: list[int | str]


class BenchedFile(Record):
    """What `bench FILE` prints: one model file, measured on this machine with a random input."""

    left_out = ("generation",)

    file: str
    format: str
    bytes: int
    sha256: str
    warnings: list[str]
    inputs: list[Port] = Field(description="What the file takes; the random sample is such.")
    outputs: list[Port]
    device: str
    threads: int
    environment: dict[str, JsonValue]
    status: Status
    versions: dict[str, str] | Unavailable
    load_ms: Load | Unavailable
    first_inference_ms: float | Unavailable
    latency_ms: Latency | Unavailable
    median_interval_ms: tuple[float, float] | Unavailable
    steady: bool | Unavailable
    peak_rss_mb: float | Unavailable
    peak_rss_source: str | Unavailable
    generation: Generation | Unavailable | None = Field(None, description="What new tokens take, of a file that keeps a state.")


class Bundled(Record):
    """What `bundle` prints: the bundle of each target, and which artifact of it to ship."""

    run: str
    bundles: dict[str, str] = Field(description="Folder of each target's bundle.")
    archives: dict[str, str] = Field(description="The same as one .zip file.")
    sha256: dict[str, str] = Field(description="SHA-256 of each .zip file.")
    ship: dict[str, Ship] = Field(description="Which artifact of each target to ship, and why.")


class Published(Record):
    """What `publish` prints: the repository as it is now."""

    repository: str
    signed: bool
    index: Index


class CheckedBundle(Record):
    """What `bundle check` prints."""

    bundle: str
    status: Status
    document: str | None = Field(alias="schema", description="Schema of its manifest; null where it could not be read.")
    target: str | None
    files: int
    bytes: int
    signed: bool | None = Field(description="Whether the owner of the key signed it; null where no key was given.")
    problems: list[str] = Field(description="What is wrong, a sentence each.")


class BundleChange(Record):
    """A difference between two bundles."""

    part: str = Field(description="What differs: a part of the manifest, or an artifact.")
    before: JsonValue
    after: JsonValue
    app: str | None = Field(description="What an app has to change; null where it needs nothing but the new files.")


class ComparedBundles(Record):
    """What `bundle diff` prints."""

    a: str
    b: str
    replaceable: bool = Field(description="Whether an app that has A takes B without a change of its code.")
    changes: list[BundleChange]


class Reported(Record):
    """What `report` prints: where the page is."""

    report: str


class ErrorFacts(Record):
    """One error, with a text for each mistake."""

    type: str
    message: str
    errors: list[str]
    exit_code: int


class Failed(Record):
    """What every command prints instead when it fails."""

    error: ErrorFacts


def documents() -> dict[str, type[Record]]:
    """The record of each document with a schema, by the command that prints it."""
    from edgedistill.records.advice import Advice
    from edgedistill.records.baseline import Baseline
    from edgedistill.records.catalogue import DocumentList, NewRecipe, RecipeList, RecipeText, TargetList
    from edgedistill.records.comparisons import CompareDocument
    from edgedistill.records.cost import CostDocument
    from edgedistill.records.devices import DeviceList
    from edgedistill.records.doctor import Diagnosis
    from edgedistill.records.drift import DriftDocument
    from edgedistill.records.gate import Gated, ReleaseCard
    from edgedistill.records.generated import GeneratedText
    from edgedistill.records.inspection import Inspection
    from edgedistill.records.kit import KitFacts
    from edgedistill.records.leakage import LeakageDocument
    from edgedistill.records.ledger import LedgerCheck, LedgerExample, LedgerSummary, Removal
    from edgedistill.records.review import ReviewDocument
    from edgedistill.records.router import RouterDocument
    from edgedistill.records.scrub import Scrubbed
    from edgedistill.records.shadow import ShadowDocument
    from edgedistill.records.stored import DeviceBench, ExportedResults, FleetBench, FleetStress, Results
    from edgedistill.records.stress import StressDocument
    from edgedistill.records.students import StudentComparison
    from edgedistill.records.summary import Summary

    return {
        "run": Summary, "distill": Summary, "export": Exported, "verify": Verified, "verify-file": VerifiedFile, "bench": Benched,
        "bench-file": BenchedFile, "bench-device": DeviceBench, "bench-devices": FleetBench, "compare": CompareDocument,
        "stress": StressDocument, "stress-devices": FleetStress, "devices": DeviceList, "results": Results,
        "results-export": ExportedResults, "doctor": Diagnosis, "inspect": Inspection, "report": Reported, "error": Failed,
        "init": NewRecipe, "kit": KitFacts, "recipe": RecipeText, "recipes": RecipeList, "schema": DocumentList,
        "students": StudentComparison, "targets": TargetList, "bundle": Bundled, "bundle-check": CheckedBundle,
        "bundle-diff": ComparedBundles, "manifest": Manifest, "publish": Published, "updates": Index, "cost": CostDocument,
        "generate": GeneratedText, "review": ReviewDocument, "ledger": LedgerSummary, "ledger-example": LedgerExample,
        "ledger-check": LedgerCheck, "ledger-removal": Removal, "baseline-teacher": Baseline, "advise": Advice, "shadow": ShadowDocument,
        "scrub": Scrubbed, "route": RouterDocument, "monitor": DriftDocument, "gate": Gated, "release-card": ReleaseCard,
        "leakage": LeakageDocument,
    }  # fmt: skip
