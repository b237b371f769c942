"""How a recipe names a teacher that writes answers, how it draws them, and which of them are kept."""

import ipaddress
import re
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from edgedistill.recipe.base import Config, FilePath, mistake

_ENVIRONMENT = re.compile(r"[A-Z][A-Z0-9_]*")
_API = "the http or https URL that clients of OpenAI call base_url, such as http://localhost:8000/v1"
_PRIVATE_NAMES = (".local", ".internal", ".localhost", ".lan")


def _url(value: str) -> str:
    try:
        parts = urlsplit(value)
        usable = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        raise mistake(_API, "found a text that is no URL") from None
    # What follows may hold a key, so the mistakes below do not repeat it.
    if parts.username is not None or parts.password is not None or parts.query or parts.fragment:
        raise mistake(
            "a URL of host and path only; name an environment variable with the key in key_from", "found a URL with credentials or a query"
        )
    if not usable:
        raise mistake(_API)
    return value.rstrip("/")


def _variable(value: Any) -> Any:
    if isinstance(value, str) and not _ENVIRONMENT.fullmatch(value):
        # It may be the key itself: it must not be printed.
        raise mistake("the NAME of an environment variable that holds it, in capital letters, such as TEACHER_KEY", "found something else")
    return value


def _is_private(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_private
    except ValueError:
        return "." not in host or host.endswith(_PRIVATE_NAMES)


class Endpoint(Config):
    """A server with the completions API of OpenAI, which answers prompts."""

    base_url: Annotated[str, AfterValidator(_url)] = Field(
        description="URL of the API up to its version, such as http://localhost:8000/v1; chat/completions or completions follows."
    )
    model: str = Field(min_length=1, description="Name of the model as the server calls it.")
    key_from: Annotated[str | None, BeforeValidator(_variable)] = Field(
        None, description="NAME of the environment variable that holds the key; null sends none."
    )
    timeout: float = Field(
        120.0, gt=0, le=3600, description="Seconds without a new piece of an answer after which a request is given up and tried again."
    )
    retries: int = Field(5, ge=0, le=100, description="Further tries of a request that failed.")
    requests_per_minute: float | None = Field(None, gt=0, description="Most requests a minute, tries included; null has no limit.")
    tokens_per_minute: int | None = Field(None, ge=1, description="Most tokens a minute, of prompts and answers; null has no limit.")
    concurrency: int = Field(4, ge=1, le=512, description="Requests at once.")
    top_logprobs: int | None = Field(
        None, ge=1, le=20, description="Alternatives of each token whose log-probabilities are recorded too; null records none."
    )
    limit_field: Literal["max_tokens", "max_completion_tokens"] = Field(
        "max_tokens", description="What the server calls the most tokens of an answer; some newer models take max_completion_tokens only."
    )

    @model_validator(mode="after")
    def _keeps_the_key(self) -> "Endpoint":
        parts = urlsplit(self.base_url)
        if self.key_from is not None and parts.scheme == "http" and not _is_private(parts.hostname or ""):
            raise mistake("https, since everybody on the way can read a key that http sends", f"found key_from and {self.base_url}")
        return self


class Sampling(Config):
    """How answers are drawn. All but `samples` belongs to the identity of an answer: a change asks, and pays, anew."""

    samples: int = Field(1, ge=1, le=1024, description="Answers for each prompt.")
    temperature: float = Field(1.0, ge=0, le=10, description="Logits are divided by it; 0 takes the likeliest token each time.")
    top_p: float = Field(1.0, gt=0, le=1, description="Draw among the likeliest tokens that together have this probability.")
    max_tokens: int = Field(512, ge=1, le=1_000_000, description="Most tokens of an answer.")
    seed: int | None = Field(
        0, ge=0, lt=2**31, description="Seed of the first sample of each prompt; null leaves it to the server. Servers may ignore it."
    )
    stop: list[Annotated[str, Field(min_length=1)]] = Field([], description="Texts that end an answer; they are not part of it.")

    @model_validator(mode="after")
    def _differ(self) -> "Sampling":
        if self.samples > 1 and self.temperature == 0:
            raise mistake("samples: 1, since all answers at temperature 0 are the same", f"found {self.samples} samples at temperature 0")
        return self


def _pattern(value: str) -> str:
    try:
        re.compile(value)
    except re.error as error:
        raise mistake(f"a regular expression of Python ({error})") from error
    return value


Pattern = Annotated[str, AfterValidator(_pattern)]


class Range(Config):
    """A least and a largest number; null has no limit."""

    min: int | None = Field(None, ge=0, description="Least number; null has no limit.")
    max: int | None = Field(None, ge=1, description="Largest number; null has no limit.")

    @model_validator(mode="after")
    def _ordered(self) -> "Range":
        if self.min is not None and self.max is not None and self.min > self.max:
            raise mistake("min of at most max", f"found min {self.min} and max {self.max}")
        return self


class Agreement(Config):
    """Self-consistency (arXiv:2203.11171): an answer is believed if many samples of its prompt give the same."""

    share: float = Field(0.5, gt=0, le=1, description="Least share of a prompt's samples that give the same answer.")
    answer: Pattern | None = Field(
        None,
        description="Regular expression of what is compared: its first group, or all that it matches; the last match counts. "
        "null compares whole texts, or JSON values.",
    )
    keep: Literal["one", "all_distinct"] = Field(
        "one",
        description="one keeps one text of the most frequent answer; all_distinct keeps the texts of every answer that has the share, "
        "so that diversity stays where several answers are right.",
    )


class Checks(Config):
    """Which answers are kept."""

    format: Literal["text", "json"] = Field("text", description="What an answer has to be; json is one JSON value and nothing around it.")
    schema_file: FilePath | None = Field(None, description="File with the JSON Schema that answers have to satisfy.")
    tokens: Range = Field(Range(), description="Tokens of an answer, as the teacher counts them: {min: A, max: B}.")
    characters: Range = Field(Range(), description="Characters of an answer: {min: A, max: B}.")
    cut_off: bool = Field(False, description="Keep answers that sampling.max_tokens cut off, as continuations of plain texts may be.")
    policy: list[Pattern] = Field([], description="Regular expressions that no part of an answer may match.")
    duplicates: int = Field(1, ge=1, le=1024, description="Equal or nearly equal answers of one prompt that are kept.")
    similarity: float = Field(
        0.8, gt=0, le=1, description="Share of common pieces of 5 characters from which answers are nearly equal (Jaccard); 1: equal ones."
    )
    agreement: Agreement | None = Field(None, description="How many samples of a prompt have to agree; null asks for no agreement.")

    @model_validator(mode="after")
    def _schema_of_json(self) -> "Checks":
        if self.schema_file is not None and self.format != "json":
            raise mistake("format: json beside schema_file, since a schema says what a JSON value has to be", f"found {self.format}")
        return self
