"""The nouns that every room shares: jobs, messages, asks, records. Values only: no files, no sockets, no tasks.

DESIGN: one JobSpec goes in, one vocabulary of records comes out. What a record's `data` holds, by type (all keys are
always present unless marked `?`; sizes are bytes, durations milliseconds, times epoch milliseconds, money USD):

    session.created   id, face, workspace, isolation, name, parent (the session that it is a fork of, or null)
    session.changed   name?, status?, workspace?, permission_mode?, permissions?: what is new ({"always": [tool names]})
    job.created       spec (JobSpec as JSON; what is secret in it is in secrets.json), key, payload (SHA-256 hex or
                      null), dialect (int)
    job.started       model, resolved_model, provider, tools, mcp_servers ([{name, type, status (connected, failed),
                      error (or null), tool_count}]), permission_mode, containment, sandbox (off, or the level in force:
                      bwrap, unshare+landlock, landlock, none), network? (whether tools reach every host), history?
                      (jobs that the session had before), cwd?, instructions? (of MCP servers, as models are told them),
                      commands? ([{name, path, source, description}]), agents? ([name]), skills? ([name]), plugins?
                      ([name]), plugin_errors? ([{name, error}])
    phase             name, index, count, percent, title?, details?
                      plan, planned (count: tasks), task (index of count begins), task.done, prescan, compact
                      of a run of a spec: spec (details: path, created, bytes), context (agents_md, tree, symbols),
                      planned and verify (steps: [{id, title, type, needs_approval, command, patch (SHA-256 or null)}],
                      the plan and what comes behind it; why? it is none of the model's), step (id: it begins),
                      step.done (id, ok, message, exit_code? of a command, applied? of a patch)
                      of a turn of a chat: turn (spec: its path or null, created: whether it was made just now)
    tasks             tasks: the session's whole task list from now on: [{id, title, text, done}]
    text.delta        message, block, text               thinking.delta the same
    input.delta       message, block, call, name, text   text: a piece of the call's JSON input
    message           id, role, content, model, usage    one complete message; of role user what a person said, or what
                      a mode says in their place: a task of a list, the instructions for a subagent
    message.changed   id, content: what the message is to the model from now on
    history.compacted dropped, left, text, task, before, after    the first *dropped* messages are now one that says
                      *text*, and the *task* at hand if there is one; left: messages there are now; before and after:
                      estimated tokens of the conversation
    history.cleared   (nothing): what was said before is forgotten
    history.imported  entry: what an imported session says of one of its jobs (engine/archive.py)
    import.staged     type, data: a record that takes effect with the session.imported behind it
    session.imported  sha256 (of the zip that the session now is, a blob), name, created, fragments_made, records (how
                      many of those staged before are its): replaces all that the session was, but for its jobs
    tool.started      call, name, input, subject       subject: what it is about, on one line, for people
    tool.output       call, text
    tool.finished     call, name, subject, ok, summary, duration_ms, content, artifact, skipped?   content: what the
                      model is told; skipped: that it was not run, since it only repeats others
    ask.opened        id, kind (permission, question, plan, step), call, tool, input, question, options, deadline,
                      questions? (of kind question: [{question, header, options: [{label, description}], multiSelect}])
    ask.settled       id, decision (allow, deny, always, answer), reason, by, answer?, updated_input?
    context.added     id, kind (file, class, method, text), name, size, sha256 (of a text, which is a blob; else null);
                      with a job: gone when that job ends
    context.dropped   ids
    context.changed   id, pinned
    notice            level (info, warning, error), text, code
    hook              event, url (scheme, host and port; `plugin:NAME` of a plugin's), call, decision (or null), reason,
                      error (or null), duration_ms
    usage             input_tokens, output_tokens, cached_tokens, written_tokens?, cost, output_cost? (part of cost),
                      model, provider, calls (made until this reply came), salvaged (tool calls read from text),
                      request_bytes and prefix_bytes (of them, as many as the last request began with too; null where
                      nothing is sent), first_ms, duration_ms (of the reply), stop? (why the reply ended),
                      sent? (digests of the request: messages, without what clients put into the context; system?,
                      tools? ({name: digest}), context? (tokens that the model takes, or null), material? (characters
                      left out): where it is not as in the request before of that conversation)
    checkpoint        id, tree: what the workspace is at the beginning of a job or of a part of it, for its diff
    files.saved       checkpoint, message (the user message that it is named by), files: [{path, kind (file, link,
                      absent), sha256 (null: not kept), size, mode (null: only that it is executable or not is known),
                      executable}]: what they were before this job first touched them, or, without a job, before a
                      rewind; mark? (a tree: what they were before the first command), unchanged? ([path]: were saved,
                      and then not changed)
    files.rewound     checkpoint, undo, restored, removed, failed: [{path, error}]
    commit            sha, files, message
    chat.set          mode (chat, spec), spec_path, why (created, drafted, switched), drafted (whether the spec was
                      made); created: system_prompt, auto_run, workspace (as it was given) too
    chat.message      id, role, parts (as clients see them), turn, run (whether that turn begins by itself)
    chat.queued       turn: that begins as soon as it can
    chat.failed       turn, error: that could not begin
    chat.canceled     (nothing): what is at work ends, and what is queued never begins
    artifact          sha256, size, media_type, call, name?    name: of a file, by which clients get it
    job.finished      outcome, stop_reason, error ({code, message, details?} or null), result, turns, cost, duration_ms,
                      diff, structured? (what the result says as JSON, where that was asked for), permission_mode?
                      (the one in force at its end)

Results of tools are not repeated in a message: `tool.finished` holds them, and the history is folded from both, so that
every tool_use has exactly one tool_result by construction.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any, Literal

import attrs

DIALECT = 1  # of the faces' folds: in job.created, so that ordinals clients hold stay what they were
PROTOCOL = 1  # between daemon and executor: in the ready line


class JobState(StrEnum):
    """The states that a job can be in. The last four are final."""

    QUEUED = "queued"
    RUNNING = "running"
    WAITING = "waiting"  # for an ask to be settled
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    INTERRUPTED = "interrupted"

    @property
    def terminal(self) -> bool:
        return self in (JobState.COMPLETED, JobState.FAILED, JobState.CANCELLED, JobState.INTERRUPTED)


class Mode(StrEnum):
    ASK = "ask"
    SEARCH = "search"
    CODE = "code"
    ARCHITECT = "architect"  # the planner reasons, the code model edits
    LUTZ = "lutz"  # the planner makes a task list, and each task is done as ARCHITECT does it
    QUERY = "query"  # what the client says, with the tools, prompts and permissions that it gives
    CHAT = "chat"  # one turn of a chat session, with the tools of that face
    SPEC_RUN = "spec-run"  # a written spec is planned, and its steps are carried out one by one
    SPEC_DRAFT = "spec-draft"  # a spec is written


TASK_MODES = (Mode.ASK, Mode.SEARCH, Mode.CODE, Mode.ARCHITECT, Mode.LUTZ)  # that a task is given in; QUERY has a face


class PermissionMode(StrEnum):
    DEFAULT = "default"
    ACCEPT_EDITS = "acceptEdits"
    PLAN = "plan"
    BYPASS = "bypassPermissions"


class ToolClass(StrEnum):
    """What a tool can do to the world; permissions are decided by it."""

    READ = "read"
    EDIT = "edit"
    EXEC = "exec"
    NET = "net"
    AGENT = "agent"  # a conversation of its own, with a model whose calls are decided one by one, or with a person
    MCP = "mcp"  # of an MCP server: what it does is that server's business
    MCP_READ = "mcp_read"  # of an MCP server that says of it that it changes nothing


# --- Messages -----------------------------------------------------------------------------------------------------


@attrs.frozen
class Text:
    text: str


@attrs.frozen
class Thinking:
    thinking: str
    signature: str | None = None  # opaque; the service that made it wants it back unchanged


@attrs.frozen
class Image:
    """*data*: base64; in a log empty where it is the blob *sha256*."""

    media_type: str
    data: str = attrs.field(default="", repr=False)
    sha256: str | None = None


@attrs.frozen
class ToolUse:
    id: str
    name: str
    input: Mapping[str, Any]


@attrs.frozen
class ToolResult:
    tool_use_id: str
    content: tuple[Text | Image, ...]
    is_error: bool = False


Block = Text | Thinking | Image | ToolUse | ToolResult
_BLOCKS: dict[str, type[Any]] = {
    "text": Text,
    "thinking": Thinking,
    "image": Image,
    "tool_use": ToolUse,
    "tool_result": ToolResult,
}
_BLOCK_NAMES = {kind: name for name, kind in _BLOCKS.items()}


@attrs.frozen
class Message:
    role: Literal["user", "assistant"]
    content: tuple[Block, ...]
    id: str = ""
    model: str = ""  # that made it, by its provider's name for it; empty for what a person said and tools returned

    @property
    def text(self) -> str:
        return "".join(block.text for block in self.content if isinstance(block, Text))

    @property
    def calls(self) -> tuple[ToolUse, ...]:
        return tuple(block for block in self.content if isinstance(block, ToolUse))


def block_to_json(block: Block) -> dict[str, Any]:
    """{"type": "text" | "thinking" | "image" | "tool_use" | "tool_result", …the block's fields}."""
    fields: dict[str, Any] = {"type": _BLOCK_NAMES[type(block)]}
    for name in (field.name for field in attrs.fields(type(block))):
        fields[name] = getattr(block, name)
    if isinstance(block, ToolResult):
        fields["content"] = [block_to_json(part) for part in block.content]
    return fields


def block_from_json(data: Mapping[str, Any]) -> Block:
    """The inverse of block_to_json. Raises KeyError or TypeError for what it did not write."""
    fields = dict(data)
    kind = _BLOCKS[fields.pop("type")]
    if kind is ToolResult:
        fields["content"] = blocks_from_json(fields["content"])
    block: Block = kind(**fields)
    return block


def blocks_from_json(data: Sequence[Mapping[str, Any]]) -> tuple[Any, ...]:
    return tuple(block_from_json(part) for part in data)


@attrs.frozen
class Usage:
    """Tokens of one or more model calls; *cached* and *written* ones are part of *input*."""

    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0  # that the service had in its cache
    written_tokens: int = 0  # that it put there, where that has a price of its own

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            self.input_tokens + other.input_tokens,
            self.output_tokens + other.output_tokens,
            self.cached_tokens + other.cached_tokens,
            self.written_tokens + other.written_tokens,
        )


# --- What is asked of an executor ---------------------------------------------------------------------------------


@attrs.frozen
class Models:
    """Model names by role, as the client wrote them; None for the default of the role."""

    planner: str | None = None
    code: str | None = None
    scan: str | None = None
    fallback: str | None = None  # serves the rest of a job whose own model cannot be reached; None: there is none


@attrs.frozen
class Rules:
    """Permission rules as settings files have them: `Tool`, or `Tool(pattern)`."""

    allow: tuple[str, ...] = ()
    ask: tuple[str, ...] = ()
    deny: tuple[str, ...] = ()

    def __add__(self, other: Rules) -> Rules:
        return Rules(self.allow + other.allow, self.ask + other.ask, self.deny + other.deny)


@attrs.frozen
class ToolPolicy:
    allowed: tuple[str, ...] = ()  # empty: every tool of the mode; those named run without being asked for
    disallowed: tuple[str, ...] = ()
    permission_mode: PermissionMode = PermissionMode.DEFAULT
    rules: Rules = Rules()
    ask_seconds: float | None = 600.0  # an ask that is open for longer is refused; None: never; 0: nobody is there
    prompt_tool: str | None = None  # of an MCP server, that is called where a person would be asked for permission


@attrs.frozen
class Limits:
    turns: int | None = None
    usd: float | None = None
    seconds: float | None = None


@attrs.frozen
class ImagePart:
    """An image that goes with the prompt: the blob *sha256* of the session, or what is to be fetched from *url*."""

    media_type: str
    sha256: str | None = None
    url: str | None = None


@attrs.frozen
class SystemPrompt:
    """*replace*: in the place of the mode's own; *append*: behind it."""

    replace: str | None = None
    append: str | None = None


@attrs.frozen
class Hook:
    """A webhook. *matcher*: a regular expression that a tool's name has to begin with."""

    url: str
    timeout: float = 30.0  # seconds
    headers: Mapping[str, str] = attrs.field(factory=dict, repr=False)
    matcher: str | None = None


@attrs.frozen
class McpServer:
    """How an MCP server is reached: the program *command*, or *url*. What it consists of may have keys in it, so all of
    it is a secret. *problem*: why it is not even tried. Times are seconds; None: the default."""

    transport: Literal["stdio", "http", "sse"] = "stdio"
    command: str | None = None
    args: tuple[str, ...] = attrs.field(default=(), repr=False)
    env: Mapping[str, str] = attrs.field(factory=dict, repr=False)
    url: str | None = attrs.field(default=None, repr=False)
    headers: Mapping[str, str] = attrs.field(factory=dict, repr=False)
    connect_seconds: float | None = None
    call_seconds: float | None = None
    problem: str = ""


@attrs.frozen
class Agent:
    """A subagent that Task can start. *prompt*: its system prompt; *tools*: of its parent's, None for all of them;
    *model*: None for its parent's."""

    description: str
    prompt: str
    tools: tuple[str, ...] | None = None
    model: str | None = None


@attrs.frozen
class Plugin:
    """A directory of commands, agents, skills, hooks and MCP servers. *enabled*: no: it is left out, wherever named."""

    name: str
    path: str | None = None
    enabled: bool = True


@attrs.frozen
class Sandbox:
    """What commands, stdio MCP servers and file tools may touch beside the workspace and the job's directories.
    *hosts*: where the network is allowed, only these: `name`, `*.name`, each with or without `:port`; empty: all."""

    enabled: bool = True
    paths: tuple[str, ...] = ()
    network: bool = False
    hosts: tuple[str, ...] = ()


@attrs.frozen
class OutputFormat:
    """What the last answer has to be. *schema*: JSON Schema; of type json it is advice."""

    type: Literal["json", "json_schema"] = "json_schema"
    schema: Mapping[str, Any] | None = None


@attrs.frozen
class RunSpec:
    """A spec to carry out. Paths as the client gave them: a relative *spec* is below the workspace."""

    workspace: str
    spec: str
    verify: tuple[str, ...] = ()  # commands that check what patches changed


@attrs.frozen
class SpecDraft:
    """A spec to write: `specs/<name>/spec.md` below the workspace. *overwrite*: also where there is one."""

    name: str
    overwrite: bool = False


@attrs.frozen
class ChatPart:
    """Of what somebody says in a chat: text, or the blob *sha256*, which clients know as *ref*; None: there is none."""

    type: str
    text: str = ""
    ref: str = ""
    media_type: str = ""
    sha256: str | None = None


@attrs.frozen
class ChatMessage:
    id: str
    role: str  # user, system, assistant, tool
    parts: tuple[ChatPart, ...]


@attrs.frozen
class ChatSpec:
    """A turn of a chat. *messages*: that the model has not had yet, in order."""

    turn: str  # id
    messages: tuple[ChatMessage, ...] = ()
    spec: str | None = None  # path of the spec that is written; None: not in spec mode
    verify: tuple[str, ...] = ()  # commands that check what was changed
    retry: bool = False  # it has been run before


@attrs.frozen
class JobSpec:
    """One job, complete: what any face's request becomes. Faces validate, the executor checks types only."""

    mode: Mode
    prompt: str
    models: Models = Models()
    tools: ToolPolicy = ToolPolicy()
    limits: Limits = Limits()
    auto_commit: bool = False
    auto_compress: bool = False  # sum the conversation up after the job, or after each of its tasks
    pre_scan: bool = False  # ASK: the scan model looks for what matters first
    context_texts: tuple[str, ...] = attrs.field(default=(), repr=False)  # for this job alone; never in the log
    images: tuple[ImagePart, ...] = ()
    system: SystemPrompt = SystemPrompt()
    env: Mapping[str, str] = attrs.field(factory=dict, repr=False)  # of commands; a secret, as headers of hooks are
    directories: tuple[str, ...] = ()  # beside the workspace, in which edits are as free as there
    hooks: Mapping[str, Hook] = attrs.field(factory=dict)  # by event: PreToolUse …
    # MCP servers, laid over those of the site; None: these alone; empty: none at all. A secret.
    servers: Mapping[str, McpServer] | None = None
    agents: Mapping[str, Agent] = attrs.field(factory=dict)  # for Task, by name
    plugins: tuple[Plugin, ...] = ()  # laid over those of the site, by name
    sources: tuple[Literal["project", "user"], ...] = ()  # whose settings, memory, skills, agents and servers are read
    output_style: str | None = None  # the name of a file of these sources
    sandbox: Sandbox | None = None  # None: as the site has it
    output: OutputFormat | None = None
    checkpoints: bool = False  # keep what files were before the job touched them
    thinking_tokens: int | None = None  # a hint to the service
    user: str | None = None  # the end user, as the service is told
    settings: str | None = None  # path of a settings file: permission rules, env, model
    run: RunSpec | None = None  # of mode SPEC_RUN
    chat: ChatSpec | None = None  # of mode CHAT
    draft: SpecDraft | None = None  # of mode SPEC_DRAFT
    # What the face that asked wants to find again; its own business.
    face: Mapping[str, Any] = attrs.field(factory=dict, repr=False)


@attrs.frozen
class Record:
    """One line of a session's log. *parent* is the id of the Task call that a subagent's record belongs to."""

    pos: int  # from 1, no gaps
    ts: int  # epoch milliseconds
    job: str | None
    type: str
    data: dict[str, Any]
    parent: str | None = None


@attrs.frozen
class Entry:
    """A record that has no position and time yet: what a writer appends."""

    type: str
    data: dict[str, Any]
    job: str | None = None
    parent: str | None = None


# --- Between a daemon and its executors ---------------------------------------------------------------------------


EVERY_HOST = ("*",)  # of Site.sandbox_hosts


@attrs.frozen
class Site:
    """What whoever runs this machine has set for every job on it. *sandbox*: how it is where a job does not say:
    off, best-effort (the best level that works here) or require (commands are refused where none does)."""

    servers: Mapping[str, McpServer] = attrs.field(factory=dict)
    connect_seconds: float = 5.0  # for an MCP server to be there
    plugins: tuple[Plugin, ...] = ()
    plugin_hooks: bool = False  # whether programs that plugins name as hooks are run
    sandbox: Literal["off", "best-effort", "require"] = "off"
    sandbox_hosts: tuple[str, ...] = ()  # that commands in that sandbox may reach, or EVERY_HOST
    offline: bool = False  # nothing but loopback and *reachable* may be contacted
    reachable: tuple[str, ...] = ()  # host:port of what is configured


@attrs.frozen
class Hello:
    """What an executor is told in one line on its standard input. All that is secret goes here: argv and environment
    of a process can be read by others. Paths are absolute, and the same on both sides."""

    session: str  # id
    session_dir: str
    token: str = attrs.field(default="", repr=False)  # what every request has to carry; made at launch if empty
    epoch: int = 1  # of the session's executors, this is the how manyth
    lease: float | None = None  # seconds without an authenticated request after which it ends; None: no such limit
    nonce_file: str = ""  # what is in it is told in Ready, as proof that both see the same files; made at launch
    parent: int | None = None  # the process to die with; None where a launcher is between the two
    url_policy: str = "local"  # of hooks, images and pages: agent API contract, 12.5
    hook_secret: str = attrs.field(default="", repr=False)  # by which deliveries are signed
    providers: Mapping[str, Any] = attrs.field(factory=dict, repr=False)  # a providers.settings.Catalog, with its keys
    site: Site = Site()


@attrs.frozen
class Ready:
    """What an executor answers, in one line on its standard output, once it takes requests."""

    address: str  # unix:/path or host:port
    pid: int
    starttime: int  # of that pid, in clock ticks after boot: together they name a process for ever. 0: unknown
    boot_id: str
    protocol: int
    nonce: str
    sandbox: str  # the level of containment that commands get
