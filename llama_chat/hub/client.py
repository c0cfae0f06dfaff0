"""Talks to the Hub through huggingface_hub's session: its token, proxies, certificates, offline switch."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

from llama_chat import __version__
from llama_chat.errors import LlamaChatError, PullError
from llama_chat.hub.names import COMMIT, HubModel, endpoint, is_safe_path

if TYPE_CHECKING:
    from huggingface_hub import ModelInfo
    from huggingface_hub.errors import HfHubHTTPError

TIMEOUT_S = 10.0
MOST_BYTES_A_REQUEST = 10 * 10**9
"""The Hub's file servers send no more than 50 GB in one answer (huggingface_hub 2.4)."""

_BLOB = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_TRANSIENT = (408, 429, 500, 502, 503, 504)
_log = logging.getLogger(__name__)


class ConnectionBroke(Exception):  # noqa: N818  (it says what happened; it never reaches a user)
    """The network or the server failed in a way that may pass."""


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """A file of a repository."""

    name: str
    size_bytes: int
    blob: str
    """Its SHA-256, or for small files git's SHA-1: its name in the cache."""


@dataclass(frozen=True, slots=True)
class Listing:
    """What the Hub says of a repository at one commit."""

    commit: str
    files: dict[str, RemoteFile]
    licence: str | None
    is_gated: bool


def look_up(model: HubModel) -> Listing:
    """The repository's files and sizes at its newest commit of that revision.

    Raises:
        PullError: it is not there, or not for everybody.
        ConnectionBroke: the Hub does not answer.
    """
    info = _model_info(model)
    files = [_remote_file(sibling, model) for sibling in info.siblings or ()]
    if info.gated and files and not any(files):
        raise _gated(model)
    if not COMMIT.fullmatch(info.sha or ""):
        raise PullError(f"{_host()} names no commit of {model.name}.")
    licences = [tag.removeprefix("license:") for tag in info.tags or () if tag.startswith("license:")]
    return Listing(
        commit=str(info.sha),
        files={file.name: file for file in files if file is not None},
        licence=licences[0] if licences else None,
        is_gated=bool(info.gated),
    )


def _model_info(model: HubModel) -> ModelInfo:
    from huggingface_hub import HfApi

    api = HfApi(endpoint=endpoint(), library_name="llama-chat", library_version=__version__)
    try:
        with _told_as_ours(model):
            return api.model_info(
                model.repo_id, revision=model.revision, timeout=TIMEOUT_S, files_metadata=True
            )
    except (ValueError, KeyError, TypeError) as error:  # a login page of a hotel, a proxy's own words
        raise PullError(
            f"{_host()} does not answer as the Hub does.",
            hint="Look at the network connection, and at HF_ENDPOINT if it is set.",
        ) from error


@contextmanager
def open_download(model: HubModel, commit: str, file: RemoteFile, start: int) -> Iterator[Download]:
    """The file's bytes from `start` on, as far as one answer brings them.

    Raises:
        PullError: the Hub refuses it.
        ConnectionBroke: what went wrong may pass.
    """
    from huggingface_hub import get_session
    from huggingface_hub.utils import build_hf_headers, hf_raise_for_status

    headers = build_hf_headers(library_name="llama-chat", library_version=__version__)
    headers["Accept-Encoding"] = "identity"
    if start or file.size_bytes > MOST_BYTES_A_REQUEST:
        stop = min(file.size_bytes, start + MOST_BYTES_A_REQUEST)
        headers["Range"] = f"bytes={start}-{stop - 1}"
    url = f"{endpoint()}/{model.repo_id}/resolve/{commit}/{quote(file.name)}"
    with _told_as_ours(model):  # another host, as the redirect to a file server, does not see the token
        session = get_session()
        with session.stream("GET", url, headers=headers, timeout=TIMEOUT_S, follow_redirects=True) as answer:
            hf_raise_for_status(answer)
            is_rest = answer.status_code == 206
            if is_rest and not answer.headers.get("Content-Range", "").startswith(f"bytes {start}-"):
                raise ConnectionBroke("the server sent another part than was asked for")
            yield Download(start if is_rest else 0, answer.iter_bytes())


@dataclass(frozen=True, slots=True)
class Download:
    """Bytes that come in."""

    start: int
    """Where in the file they begin: 0 where the server does not send parts."""
    chunks: Iterator[bytes]


def _remote_file(sibling: Any, model: HubModel) -> RemoteFile | None:
    """The file, if it can be fetched. Nothing that the server says is trusted.

    Raises:
        PullError: a name that would lead out of the cache.
    """
    name, lfs = str(sibling.rfilename), sibling.lfs
    size_bytes = lfs.size if lfs is not None else sibling.size
    blob = lfs.sha256 if lfs is not None else sibling.blob_id
    if not is_safe_path(name):
        raise PullError(f"{model.repo_id} has a file of an impossible name: {name[:80]!r}.")
    if not isinstance(size_bytes, int) or size_bytes < 0 or not _BLOB.fullmatch(str(blob)):
        return None
    return RemoteFile(name, size_bytes, str(blob))


@contextmanager
def _told_as_ours(model: HubModel) -> Iterator[None]:
    """What huggingface_hub and its HTTP library raise, as our own errors; what they log, in our log."""
    from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled

    _log_as_ours()
    # httpx below 2.0, httpx2 since: whichever it is, all that its requests raise has this base.
    http_error: type[Exception] = next(
        base for base in HfHubHTTPError.__mro__ if base.__name__ == "HTTPError"
    )
    try:
        yield
    except (LlamaChatError, ConnectionBroke):
        raise
    except OfflineModeIsEnabled as error:
        raise ConnectionBroke("HF_HUB_OFFLINE keeps it off the network") from error
    except HfHubHTTPError as error:
        if error.response.status_code in _TRANSIENT:
            raise ConnectionBroke(f"it answers with status {error.response.status_code}") from error
        raise _refusal(error, model) from error
    except http_error as error:
        raise ConnectionBroke(_reason(error)) from error


def _gated(model: HubModel) -> PullError:
    from huggingface_hub import get_token

    if get_token():
        return PullError(
            f"{model.repo_id} is gated, and your token has no access yet: ask for it at {model.page}"
        )
    return PullError(
        f"{model.repo_id} is gated: accept its terms at {model.page}, then set HF_TOKEN.",
        hint=f"A token is made at {endpoint()}/settings/tokens",
    )


def _refusal(error: HfHubHTTPError, model: HubModel) -> PullError:
    from huggingface_hub.errors import (
        DisabledRepoError,
        GatedRepoError,
        RemoteEntryNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    status = error.response.status_code
    if isinstance(error, GatedRepoError):
        return _gated(model)
    if isinstance(error, RevisionNotFoundError):
        return PullError(
            f"{model.repo_id} has no revision '{model.revision}'.", hint=f"See {model.page}/tree"
        )
    if isinstance(error, DisabledRepoError):
        return PullError(f"{model.repo_id} is disabled on the Hub.", hint=f"See {model.page}")
    if isinstance(error, RemoteEntryNotFoundError):
        return PullError(f"{model.repo_id}: a file that was listed is gone.", hint="Pull again.")
    if isinstance(error, RepositoryNotFoundError):
        return PullError(
            f"{_host()} has no model '{model.repo_id}', or it is private.",
            hint="Look at the spelling; for a private one, set HF_TOKEN.",
        )
    if status == 401:
        return PullError(
            f"{_host()} does not take your token.", hint=f"Renew HF_TOKEN at {endpoint()}/settings/tokens"
        )
    return PullError(f"{_host()} refuses {model.repo_id} with status {status}.", hint=f"See {model.page}")


def _reason(error: Exception) -> str:
    text = "".join(c if c.isprintable() else " " for c in str(error)).strip()
    return (text or type(error).__name__)[:160]


def _host() -> str:
    return urlsplit(endpoint()).netloc or endpoint()


def not_reached(model: HubModel, why: str) -> PullError:
    """The error for a Hub that does not answer."""
    return PullError(
        f"{_host()} cannot be reached for {model.name}: {why}.",
        hint="Look at the network connection, then try again.",
    )


class _OurLog(logging.Handler):
    """Passes a library's words on to the log of this package."""

    def emit(self, record: logging.LogRecord) -> None:
        _log.handle(record)


def _log_as_ours() -> None:
    """Keep huggingface_hub's warnings off stderr, which the chat draws on."""
    library = logging.getLogger("huggingface_hub")
    if not any(isinstance(handler, _OurLog) for handler in library.handlers):
        library.handlers[:] = [_OurLog()]
        library.propagate = False
