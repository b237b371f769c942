"""Says what to change in a recipe when a server refuses a request."""

import json
import re
from http import HTTPStatus
from typing import Any

from edgedistill.tasks.causal_lm.answers.recipe import Endpoint
from edgedistill.tasks.causal_lm.answers.reply import said_in

_AGAIN = (HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.CONFLICT, HTTPStatus.TOO_MANY_REQUESTS)
_NO_MONEY = "insufficient_quota"
_FIELDS = {
    "max_completion_tokens": "endpoint.limit_field",
    "max_tokens": "answers.sampling.max_tokens",
    "temperature": "answers.sampling.temperature",
    "top_p": "answers.sampling.top_p",
    "top_logprobs": "endpoint.top_logprobs",
    "logprobs": "endpoint.top_logprobs",
    "model": "endpoint.model",
    "seed": "answers.sampling.seed",
    "stop": "answers.sampling.stop",
}
"""Where a recipe has what a request calls so."""
_ALSO_WORDS = ("model", "seed", "stop")
"""Names that are words of English too: they count in quotes only."""


def parsed(body: str) -> Any:
    """The body of a refusal: JSON, or its text."""
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return body


def may_succeed_later(status: int, content: Any) -> bool:
    """Whether the same request may succeed later. An account without money does not fill by waiting."""
    return (status in _AGAIN or status >= HTTPStatus.INTERNAL_SERVER_ERROR) and not _is_code(content, _NO_MONEY)


def _is_code(content: Any, code: str) -> bool:
    error = content.get("error") if isinstance(content, dict) else None
    return isinstance(error, dict) and code in (error.get("code"), error.get("type"))


def told(endpoint: Endpoint, host: str, url: str, status: int, content: Any, location: str | None, prompt: str) -> str:
    """What to tell of a refusal: the field of the recipe, the host, what it said, and what to do.

    location: where a redirect points to. prompt: the key of the prompt.
    """
    said = f"{host} answered {status} ({said_in(content)})"
    if status < HTTPStatus.BAD_REQUEST:
        target = (location or "nowhere").partition("?")[0]
        return f"endpoint.base_url: {host} redirects {url} to {target}; write the final URL, since a key is sent to no other host"
    if status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
        if endpoint.key_from is None:
            return f"endpoint.key_from: {said}; name the environment variable that holds a key"
        return f"endpoint.key_from: {said}; expected a valid key for '{endpoint.model}' in the environment variable {endpoint.key_from}"
    field = _field(content)
    if status == HTTPStatus.NOT_FOUND:
        if field == "endpoint.model" or "model" in said.lower():
            return f"endpoint.model: {said}; expected the name of a model that it serves, found '{endpoint.model}'"
        return f"endpoint.base_url: {said} at {url}; expected a URL that {'/'.join(url.rsplit('/', 2)[-2:])} can follow, most often .../v1"
    if field is None:
        return f"endpoint: {said} for the prompt {prompt[:12]}; change what it names, or leave that prompt out"
    return f"{field}: {said}; change it, and the same command continues"


def _field(content: Any) -> str | None:
    """The field of a recipe that a refusal is about."""
    error = content.get("error") if isinstance(content, dict) else None
    named = error.get("param") if isinstance(error, dict) else None
    text = json.dumps(content).replace("'", '"').replace('\\"', '"')
    if "max_completion_tokens" in text:
        return _FIELDS["max_completion_tokens"]
    if isinstance(named, str):
        return _FIELDS.get(named)
    # FastAPI has a list of names, others have a sentence.
    for name, field in _FIELDS.items():
        if f'"{name}"' in text or (name not in _ALSO_WORDS and re.search(rf"\b{name}\b", text)):
            return field
    return None
