"""Asks a server of OpenAI's API for answers: several requests at once, each tried again until it is answered or refused."""

import asyncio
import json
import os
import random
import time
from collections.abc import Awaitable, Container, Generator, Iterator, Sequence
from contextlib import suppress
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

from pydantic import SecretStr

from edgedistill.errors import DeviceFailed, EdgeDistillError, UserError
from edgedistill.progress import log
from edgedistill.tasks.causal_lm.answers import background, refusal
from edgedistill.tasks.causal_lm.answers.asking import Answer, Prompt
from edgedistill.tasks.causal_lm.answers.ledger import now
from edgedistill.tasks.causal_lm.answers.pace import Pace
from edgedistill.tasks.causal_lm.answers.recipe import Endpoint, Sampling
from edgedistill.tasks.causal_lm.answers.reply import Broken, Received, body_of, read, retry_after, said_in

if TYPE_CHECKING:
    import httpx2

FIRST_WAIT_S = 1.0
"""Before the second try; it doubles with each further one."""
_LONGEST_WAIT_S = 60.0
LONGEST_HOLD_S = 600.0
"""How long a server may tell to wait."""
_GIVE_UP = 3
"""Requests in a row that failed in all their tries: the server is down, not a prompt at fault."""
_CHARACTERS_A_TOKEN = 4
"""An estimate for limits of tokens; the server's count corrects it."""
_SHORTEST_SECRET = 8
"""Shorter keys, as local servers take, occur in texts by chance, and are not hidden there."""

Result = TypeVar("Result")
_Question = tuple[Prompt, int]


class EndpointAsker:
    """The teacher behind an endpoint. `ask` raises UserError for a request that the server refuses, and DeviceFailed where it is down.

    failures: where the reasons of prompts without an answer go; with it they do not end `ask`, however many there are.
    """

    def __init__(self, endpoint: Endpoint, failures: dict[str, str] | None = None) -> None:
        self.endpoint, self.failures = endpoint, failures
        self.model = endpoint.model
        self.top_logprobs = endpoint.top_logprobs
        self.host = urlsplit(endpoint.base_url).netloc
        self._key = _key(endpoint.key_from)

    def ask(self, prompts: Sequence[Prompt], sampling: Sampling, answered: Container[tuple[str, int]] = frozenset()) -> Generator[Answer]:
        """Answer as `Asker.ask` says; at most `endpoint.concurrency` answers are paid and not yet taken at any time."""
        questions = ((prompt, sample) for prompt in prompts for sample in range(sampling.samples) if (prompt.key, sample) not in answered)
        return background.results(lambda hand: _Round(self, sampling, hand).run(questions))

    def client(self) -> "httpx2.AsyncClient":
        """A client that sends the key, and to no host but this one: it follows no redirect."""
        import httpx2

        limits = httpx2.Limits(max_connections=self.endpoint.concurrency)
        return httpx2.AsyncClient(
            timeout=self.endpoint.timeout, limits=limits, auth=None if self._key is None else _bearer(self._key), follow_redirects=False
        )

    def hidden(self, text: str) -> str:
        """`text` of a server without the key, which some repeat."""
        key = "" if self._key is None else self._key.get_secret_value()
        return text.replace(key, "[key]") if len(key) >= _SHORTEST_SECRET else text


def _key(name: str | None) -> SecretStr | None:
    if name is None:
        return None
    value = os.environ.get(name, "").strip()
    if not value:
        raise UserError(f"endpoint.key_from: the environment variable {name} is not set; export it, and the same command continues")
    if not value.isascii() or not value.isprintable() or " " in value:
        raise UserError(f"endpoint.key_from: the environment variable {name} holds what no key has: spaces or special characters")
    return SecretStr(value)


def _bearer(key: SecretStr) -> "httpx2.Auth":
    import httpx2

    def sign(request: "httpx2.Request") -> "httpx2.Request":
        request.headers["Authorization"] = f"Bearer {key.get_secret_value()}"
        return request

    return httpx2.FunctionAuth(sign)


class _Round:
    """One call of `ask`; all of it runs in the thread of its event loop."""

    def __init__(self, asker: EndpointAsker, sampling: Sampling, hand: background.Hand[Answer]) -> None:
        self._asker, self._endpoint, self._sampling, self._hand = asker, asker.endpoint, sampling, hand
        self._requests = Pace(asker.endpoint.requests_per_minute)
        self._tokens = Pace(asker.endpoint.tokens_per_minute)
        self._held_until = 0.0
        self._answers = self._failed_in_a_row = 0
        self._last_failure = ""

    async def run(self, questions: Iterator[_Question]) -> None:
        """Answer all questions."""
        async with self._asker.client() as client:
            try:
                async with asyncio.TaskGroup() as workers:
                    for _ in range(self._endpoint.concurrency):
                        workers.create_task(self._work(client, questions))
            except BaseExceptionGroup as group:
                # The first cancels the others.
                raise next((error for error in group.exceptions if isinstance(error, EdgeDistillError)), group.exceptions[0]) from None
        if self._last_failure and not self._answers:
            raise DeviceFailed(self._last_failure)

    async def _work(self, client: "httpx2.AsyncClient", questions: Iterator[_Question]) -> None:
        for prompt, sample in questions:
            failure = await self._answer(client, prompt, sample)
            if failure is None:
                self._answers, self._failed_in_a_row = self._answers + 1, 0
                continue
            if self._asker.failures is not None:
                self._asker.failures[prompt.key] = failure
                continue
            self._failed_in_a_row += 1
            tries = f"{self._endpoint.retries + 1} tries" if self._endpoint.retries else "1 try"
            said = f"{self._asker.host}: {failure}; {tries} for sample {sample} of the prompt {prompt.key[:12]}"
            self._last_failure = f"{said}. What was answered is recorded, and the same command continues"
            if self._failed_in_a_row >= _GIVE_UP:
                raise DeviceFailed(self._last_failure)
            log(f"{said}; the others go on")

    async def _answer(self, client: "httpx2.AsyncClient", prompt: Prompt, sample: int) -> str | None:
        """Ask until there is an answer; returns why there is none after all tries."""
        why = ""
        for number in range(self._endpoint.retries + 1):
            reserved = prompt.characters // _CHARACTERS_A_TOKEN + self._sampling.max_tokens
            await self._turn(reserved)
            received, started = Received(), time.monotonic()
            try:
                await self._receive(client, prompt, sample, received)
            except Broken as broken:
                # What breaks after the teacher's last word has cost nothing but the count of tokens.
                if not received.complete:
                    why = self._asker.hidden(str(broken))
                    # A stream that began has cost its prompt at least.
                    if received.streamed:
                        await self._hand.give(self._made(prompt, sample, received, started))
                    else:
                        self._tokens.correct(-reserved)
                    await self._wait(number, broken)
                    continue
            except asyncio.CancelledError:
                if received.streamed or received.complete:
                    self._hand.leave(self._made(prompt, sample, received, started))
                raise
            answer = self._made(prompt, sample, received, started)
            paid = (answer.usage.prompt, answer.usage.completion)
            if None not in paid:
                self._tokens.correct(sum(count for count in paid if count is not None) - reserved)
            await self._hand.give(answer)
            self._check_logprobs(answer)
            return None
        return why

    def _check_logprobs(self, answer: Answer) -> None:
        if self._endpoint.top_logprobs is not None and answer.text and answer.top_logprobs is None:
            raise UserError(
                f"endpoint.top_logprobs: {self._asker.host} sent an answer of '{self._endpoint.model}' without log-probabilities; leave "
                "top_logprobs out, or ask a server that has them"
            )

    def _made(self, prompt: Prompt, sample: int, received: Received, started: float) -> Answer:
        # Each piece is without the key, and so is what they make together.
        text = self._asker.hidden("".join(received.pieces))
        # Some servers leave the text that ended an answer in it.
        places = [place for stop in self._sampling.stop if (place := text.find(stop)) >= 0]
        return Answer(
            key=prompt.key, sample=sample, text=text[: min(places, default=len(text))], complete=received.complete,
            finish_reason=received.finish_reason, usage=received.tokens(), latency_s=time.monotonic() - started, time=now(),
            source=self._asker.host, top_logprobs=None if self._endpoint.top_logprobs is None else received.logprobs,
        )  # fmt: skip

    async def _turn(self, tokens: float) -> None:
        """Wait until the limits allow a further request."""
        await asyncio.sleep(max(self._requests.reserve(1), self._tokens.reserve(tokens)))
        while (left := self._held_until - time.monotonic()) > 0:
            await asyncio.sleep(left * random.uniform(1.0, 1.1))

    async def _wait(self, number: int, broken: Broken) -> None:
        if broken.wait_s is not None:
            # All of them wait: the server counts the requests of the key, not of a connection.
            self._held_until = max(self._held_until, time.monotonic() + broken.wait_s)
        if number < self._endpoint.retries:
            await asyncio.sleep(min(_LONGEST_WAIT_S, FIRST_WAIT_S * 2**number) * random.uniform(0.5, 1.0))

    async def _receive(self, client: "httpx2.AsyncClient", prompt: Prompt, sample: int, received: Received) -> None:
        import httpx2

        url = f"{self._endpoint.base_url}/{'completions' if prompt.messages is None else 'chat/completions'}"
        # Escapes of JSON carry what UTF-8 can't.
        content = json.dumps(self._request(prompt, sample)).encode()
        try:
            request = client.build_request("POST", url, content=content, headers={"Content-Type": "application/json"})
            response = await self._in_time(client.send(request, stream=True))
            try:
                if response.status_code != HTTPStatus.OK:
                    await self._refused(response, url, prompt)
                await read(response, received, self._in_time, self._asker.hidden)
            finally:
                with suppress(httpx2.HTTPError):
                    await response.aclose()
        except TimeoutError:
            raise Broken(f"nothing arrived for {self._endpoint.timeout:g} s") from None
        except httpx2.TimeoutException as error:
            raise Broken(f"nothing arrived for {self._endpoint.timeout:g} s ({type(error).__name__})") from None
        except httpx2.HTTPError as error:
            raise Broken(f"the connection failed ({type(error).__name__}: {str(error) or 'no reason'})") from None

    async def _in_time(self, step: Awaitable[Result]) -> Result:
        # A timeout of the client begins again with each byte, and so with each comment that keeps a stalled stream open.
        async with asyncio.timeout(self._endpoint.timeout):
            return await step

    async def _refused(self, response: "httpx2.Response", url: str, prompt: Prompt) -> None:
        # Hidden at once, and again in what is told: JSON may have written it with escapes.
        content = refusal.parsed(self._asker.hidden((await self._in_time(body_of(response))).decode("utf-8", "replace")))
        status = response.status_code
        if not refusal.may_succeed_later(status, content):
            location = response.headers.get("location")
            said = refusal.told(self._endpoint, self._asker.host, url, status, content, location, prompt.key)
            raise UserError(self._asker.hidden(said))
        wait_s = retry_after(response.headers.get("retry-after"))
        if wait_s is not None and wait_s > LONGEST_HOLD_S:
            raise DeviceFailed(f"{self._asker.host} answered {status} and asks to wait for {wait_s:.0f} s; then the same command continues")
        raise Broken(f"{status} {self._asker.hidden(said_in(content))}", wait_s)

    def _request(self, prompt: Prompt, sample: int) -> dict[str, Any]:
        sampling = self._sampling
        request: dict[str, Any] = {
            "model": self._endpoint.model,
            self._endpoint.limit_field: sampling.max_tokens,
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "stream": True,
            "stream_options": {"include_usage": True},
        }
        if sampling.seed is not None:
            request["seed"] = sampling.seed + sample
        if sampling.stop:
            request["stop"] = sampling.stop
        alternatives = self._endpoint.top_logprobs
        if prompt.messages is None:
            return {**request, "prompt": prompt.text, **({} if alternatives is None else {"logprobs": alternatives})}
        asked = {} if alternatives is None else {"logprobs": True, "top_logprobs": alternatives}
        return {**request, "messages": prompt.messages, **asked}
