"""Tools whose calls are questions to a person: AskUserQuestion, and ExitPlanMode, which has a plan approved.

The question is asked before the call has begun: nothing is in flight, so it outlives the process. Contract of the
agent API, sections 10.1 and 11.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import attrs

from agentd.domain import PermissionMode, Text, ToolClass
from agentd.engine.asks import NOBODY, YES_OR_NO, Settlement, Subject
from agentd.errors import ToolFailed
from agentd.tools.base import ToolContext, ToolOutcome
from agentd.tools.schema import SUBJECT_CHARACTERS, arg, input_schema, parse

QUESTION_TOOL, PLAN_TOOL = "AskUserQuestion", "ExitPlanMode"
MOST_QUESTIONS, MOST_OPTIONS, HEADER_CHARS = 4, 4, 12


@runtime_checkable
class Asking(Protocol):
    """A tool whose calls a person answers."""

    def asked(self, call_input: Mapping[str, Any]) -> Subject:
        """What is asked. Raises ToolFailed for an input that asks nothing."""

    def answered(self, call_input: Mapping[str, Any], settled: Settlement) -> ToolOutcome:
        """What the model is told of the answer."""


@attrs.frozen
class OptionInput:
    label: str = arg("One to five words: what is chosen")
    description: str = arg("What that means, or what comes of it", default="")


@attrs.frozen
class QuestionInput:
    question: str = arg("The whole question, ending in a question mark")
    header: str = arg("A label of at most 12 characters: Database", default="")
    options: tuple[OptionInput, ...] = arg("Two to four answers to choose from", default=())
    multiSelect: bool = arg("Whether several may be chosen", default=False)  # noqa: N815 - the wire's name


@attrs.frozen
class AskUserQuestionInput:
    questions: tuple[QuestionInput, ...] = arg("One to four questions")


class AskUserQuestion:
    name = QUESTION_TOOL
    description = (
        "Ask the user what only they can decide: a preference, an ambiguity, a choice between ways to go. The answer "
        "is the result. Do not ask what the repository can tell, nor for permission: that is asked for you."
    )
    input_schema: Mapping[str, Any] = input_schema(AskUserQuestionInput)
    tool_class = ToolClass.AGENT

    def subject(self, call_input: Mapping[str, Any]) -> str:
        try:
            return self.asked(call_input).question[:SUBJECT_CHARACTERS]
        except ToolFailed:
            return ""

    def asked(self, call_input: Mapping[str, Any]) -> Subject:
        questions = parse(AskUserQuestionInput, _long_form(call_input)).questions
        if not 1 <= len(questions) <= MOST_QUESTIONS:
            raise ToolFailed(f"questions has {len(questions)} questions; it takes 1 to {MOST_QUESTIONS}")
        for index, each in enumerate(questions):
            if not each.question.strip():
                raise ToolFailed(f"questions[{index}].question is empty; it says what is asked")
            if len(each.options) > MOST_OPTIONS:
                raise ToolFailed(f"questions[{index}].options has {len(each.options)}; {MOST_OPTIONS} is the most")
        told = [attrs.asdict(attrs.evolve(each, header=each.header[:HEADER_CHARS])) for each in questions]
        text = "\n".join(each.question for each in questions)
        return Subject("question", text, [option.label for option in questions[0].options], told)

    def answered(self, call_input: Mapping[str, Any], settled: Settlement) -> ToolOutcome:
        if settled.answer is None:
            told = settled.reason if settled.by in ("timeout", "agentd") else f"it was declined ({settled.reason})"
            return ToolOutcome((Text(f"The question has no answer: {told}."),), "no answer", is_error=True)
        return ToolOutcome((Text(_by_question(settled.answer)),), settled.answer.split("\n", 1)[0][:SUBJECT_CHARACTERS])

    async def run(self, call_input: Mapping[str, Any], context: ToolContext) -> ToolOutcome:
        raise ToolFailed(f"The question has no answer: {NOBODY}.")


def _long_form(call_input: Mapping[str, Any]) -> Mapping[str, Any]:
    """{"question", "options"?: labels} as {"questions"}."""
    if "questions" in call_input or "question" not in call_input:
        return call_input
    labels = call_input.get("options") or []
    options = [{"label": label} if isinstance(label, str) else label for label in _as_list(labels)]
    return {"questions": [{"question": call_input["question"], "options": options}]}


def _as_list(value: object) -> Sequence[object]:
    return value if isinstance(value, list) else [value]


def _by_question(answer: str) -> str:
    """An answer that is a JSON object, by question, as lines; any other as it is."""
    try:
        given = json.loads(answer)
    except (ValueError, RecursionError):
        return answer
    if not isinstance(given, dict) or not given:
        return answer
    return "\n".join(f"{question}: {_said(value)}" for question, value in given.items())


def _said(value: object) -> str:
    if isinstance(value, str):
        return value
    return ", ".join(map(_said, value)) if isinstance(value, list) else json.dumps(value, ensure_ascii=False)


@attrs.frozen
class ExitPlanModeInput:
    plan: str = arg("The plan, in Markdown: what is to be changed, where, in which order, and how it is checked")


@attrs.frozen
class ExitPlanMode:
    """*change_mode*: what an approved plan leads to."""

    change_mode: Callable[[PermissionMode], None]
    name: str = PLAN_TOOL
    description: str = (
        "Show the user your plan and ask whether to go ahead with it. Call it once the plan is complete; nothing can "
        "be changed before it is approved."
    )
    input_schema: Mapping[str, Any] = attrs.field(factory=lambda: input_schema(ExitPlanModeInput))
    tool_class: ToolClass = ToolClass.AGENT

    def subject(self, call_input: Mapping[str, Any]) -> str:
        return " ".join(str(call_input.get("plan", "")).split())[:SUBJECT_CHARACTERS]

    def asked(self, call_input: Mapping[str, Any]) -> Subject:
        plan = parse(ExitPlanModeInput, call_input).plan
        if not plan.strip():
            raise ToolFailed("plan is empty; it says what is to be done")
        return Subject("plan", plan, YES_OR_NO)

    def answered(self, call_input: Mapping[str, Any], settled: Settlement) -> ToolOutcome:
        if not settled.allowed:
            why = settled.reason or "no reason given"
            text = f"The plan was not approved ({why}). Nothing may be changed yet: go on planning, or ask."
            return ToolOutcome((Text(text),), "not approved", is_error=True)
        self.change_mode(PermissionMode.DEFAULT)
        return ToolOutcome((Text("The plan is approved. You may change things now: carry it out."),), "approved")

    async def run(self, call_input: Mapping[str, Any], context: ToolContext) -> ToolOutcome:
        raise ToolFailed(f"The plan was not approved: {NOBODY}.")
