"""What can go wrong, by name. Rooms raise these; each face has one table that turns them into its answers."""

from __future__ import annotations

from collections.abc import Iterable


class AgentdError(Exception):
    """Its text is safe to show to a client: no secret, no trace, and it says what to do where that is known."""

    code = "INTERNAL_ERROR"


class InvalidRequest(AgentdError):
    """A request does not say what it has to. *problems*: each "what is wrong @ $.path.to[0].it"."""

    code = "VALIDATION_ERROR"

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems = list(problems)
        super().__init__("; ".join(self.problems))


class InvalidSetting(AgentdError):
    """A flag or a variable does not say what it has to. Its text names it."""

    code = "INVALID_SETTING"


class PayloadTooLarge(AgentdError):
    code = "PAYLOAD_TOO_LARGE"

    def __init__(self, limit: int) -> None:
        super().__init__(f"the request body is larger than {limit} bytes")


class SessionNotFound(AgentdError):
    code = "SESSION_NOT_FOUND"

    def __init__(self, session_id: str) -> None:
        super().__init__(f"no session {session_id}")
        self.session_id = session_id


class JobNotFound(AgentdError):
    code = "JOB_NOT_FOUND"

    def __init__(self, job_id: str) -> None:
        super().__init__(f"no job {job_id}")


class FragmentNotFound(AgentdError):
    code = "NOT_FOUND"

    def __init__(self, fragment_id: str) -> None:
        super().__init__(f"no fragment {fragment_id} in the context")


class AskNotFound(AgentdError):
    code = "ASK_NOT_FOUND"

    def __init__(self, ask_id: str) -> None:
        super().__init__(f"no ask {ask_id}")


class AskSettled(AgentdError):
    code = "ASK_SETTLED"

    def __init__(self, ask_id: str, decision: str) -> None:
        super().__init__(f"ask {ask_id} was settled already: {decision}")
        self.decision = decision


class JobInProgress(AgentdError):
    code = "JOB_IN_PROGRESS"

    def __init__(self, state: str) -> None:
        super().__init__("a job is in progress; an executor runs one at a time. Try again when it has ended")
        self.state = state


class InvalidCheckpoint(AgentdError):
    """There is no such checkpoint, or it is one of another session."""

    code = "INVALID_CHECKPOINT"

    def __init__(self, checkpoint_id: str) -> None:
        super().__init__(f"Checkpoint '{checkpoint_id}' is not valid for session")
        self.checkpoint_id = checkpoint_id


class IdempotencyKeyReused(AgentdError):
    code = "IDEMPOTENCY_KEY_REUSED"

    def __init__(self) -> None:
        super().__init__("this Idempotency-Key was used for a job with another payload; use a new key per job")


class ReadOnly(AgentdError):
    code = "READ_ONLY"

    def __init__(self, mode: str) -> None:
        super().__init__(f"this executor is read-only, and {mode} jobs write; modes that only read work here")


class NotARepository(AgentdError):
    code = "NO_GIT"

    def __init__(self, path: str) -> None:
        super().__init__(f"{path} is not a git repository, so there is no diff; `git init` there makes it one")


class GitFailed(AgentdError):
    code = "GIT_FAILED"


class ModelUnavailable(AgentdError):
    """No provider has a model of that name."""

    code = "MODEL_UNAVAILABLE"

    def __init__(self, name: str, known: Iterable[str]) -> None:
        there_is = ", ".join(known) or "none"
        super().__init__(
            f"MODEL_UNAVAILABLE: {name}. Models here: {there_is}. "
            f"To use one of them under this name: --model-alias {name}=builtin"
        )
        self.name = name


class ProviderFailed(AgentdError):
    """A language model service did not do its part."""

    code = "PROVIDER_ERROR"


class ContextFull(ProviderFailed):
    """A conversation is longer than its model takes, and summing it up did not make it short enough."""

    code = "CONTEXT_OVERFLOW"

    def __init__(self, model: str, tokens: int) -> None:
        super().__init__(
            f"the conversation does not fit into the context of {model} (about {tokens} tokens), and summing it up did "
            "not make enough room; start a new session, put less into the context, or use a model with a larger one"
        )


class ToolFailed(AgentdError):
    """A tool call did not work. The text goes to the model as an error result; the job goes on."""

    code = "TOOL_FAILED"


class StoreFailed(AgentdError):
    """The disk refused: full, read-only, or gone. Nothing was acknowledged."""

    code = "STORE_FAILED"


class BlobNotFound(AgentdError):
    """There is no blob of that name, or no longer: those of a job go when it ends."""

    code = "BLOB_NOT_FOUND"

    def __init__(self, sha256: str) -> None:
        super().__init__(f"no blob {sha256}")


class Locked(AgentdError):
    """Somebody else owns the directory."""

    code = "LOCKED"


class Forbidden(AgentdError):
    """Who asks is known, but may not do this."""

    code = "FORBIDDEN"


class CapacityExceeded(AgentdError):
    """Every slot of the session manager is taken."""

    code = "CAPACITY_EXCEEDED"

    def __init__(self, size: int) -> None:
        super().__init__(f"all {size} slots are taken; close a session, or try again later")


class Busy(AgentdError):
    """As many executors live as there may be, and each is at work. *retry_after*: seconds."""

    code = "BUSY"

    def __init__(self, most: int, retry_after: int = 5) -> None:
        super().__init__(f"all {most} executors are at work; try again later, or raise --max-executors")
        self.retry_after = retry_after


class ExecutorFailed(AgentdError):
    """The executor process did not start, or died."""

    code = "SPAWN_FAILED"


class NotStarted(ExecutorFailed):
    """There was no process at all: the program is missing, or this machine is short of memory, files or disk."""


class WorktreeFailed(AgentdError):
    """A session's worktree could not be made. Nothing of it is left."""

    code = "SPAWN_FAILED"


def only_cause(exc: Exception) -> Exception:
    """What happened, out of the groups that nurseries put around it; the group itself where several things did. One
    thing may have happened to several tasks: a disk that is full."""
    if not isinstance(exc, ExceptionGroup):
        return exc
    first, *others = [only_cause(each) for each in exc.exceptions]
    return first if all((type(each), str(each)) == (type(first), str(first)) for each in others) else exc
