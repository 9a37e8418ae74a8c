"""What a person does with the dashboard, in a real browser before the built file."""

from __future__ import annotations

import json
import subprocess
from io import BytesIO
from pathlib import Path
from zipfile import ZipFile

import pytest

from agentd.domain import Entry
from agentd.store.home import SessionDir
from tests.browser.cdp import Browser, Page
from tests.browser.served import TOKEN, Served, call, delta, finished, job, said, usage, write
from tests.modelserver import Turn, model_server
from tests.modelserver import call as call_of

STORM, PARTS = 10_000, 5  # events, and in how many parts they come
MOST_BYTES = 64 << 20  # of memory that it may then hold
LONGEST_MS = 200  # that the page may be busy at a stretch


async def log_in(browser: Browser, served: Served, width: int = 1440, height: int = 900) -> Page:
    page = await browser.open_page(width, height)
    await page.go(f"{served.url}/?token={TOKEN}")
    await page.shows("#link", "Live")
    return page


async def check(page: Page, served: Served) -> None:
    """Nothing went wrong in it, and it asked nobody but its own daemon."""
    foreign = [each for each in page.requests if not each.startswith((served.url, "data:", "blob:", "about:"))]
    assert foreign == []
    assert page.errors == []
    assert await page.evaluate("seen.violations") == []


# --- Logging in ---------------------------------------------------------------------------------------------------


async def test_a_person_logs_in_with_the_token_and_is_kept_in_by_a_cookie(browser: Browser, served: Served) -> None:
    page = await browser.open_page()
    await page.go(f"{served.url}/")
    await page.shows("form label", "Access token")
    await page.click("input[type=password]")
    await page.type("wrong")
    await page.press("Enter")
    await page.shows("[role=alert]", "not valid")
    await page.click("input[type=password]")
    await page.type(TOKEN)
    await page.click("button", "Log in")
    await page.shows("#link", "Live")
    assert await page.evaluate("location.href") == f"{served.url}/"
    assert await page.evaluate("document.cookie") == ""  # no script can read it
    await page.go(f"{served.url}/")
    await page.shows("#link", "Live")
    await page.click("#bar form button", "Log out")
    await page.shows("form label", "Access token")


# --- Lists --------------------------------------------------------------------------------------------------------


async def test_a_session_appears_in_the_list_and_changes_there_as_it_goes(browser: Browser, served: Served) -> None:
    page = await log_in(browser, served)
    await page.shows("#list-note", "No session yet")
    session = served.session(*job("Tidy the attic"))
    await page.shows(".session", "Tidy the attic")
    await page.shows(".session .dot[data-state=running]")
    write(session, finished())
    await page.shows(".session .dot[data-state=completed]")
    await check(page, served)


async def test_a_search_finds_sessions_by_what_was_asked(browser: Browser, served: Served) -> None:
    for text in ("Tidy the attic", "Paint the fence"):
        served.session(*job(text), finished())
    page = await log_in(browser, served)
    await page.shows(".session", "Tidy the attic")
    await page.press("/")
    await page.wait("document.activeElement.id === 'search'")
    await page.type("fence")
    await page.wait("document.querySelectorAll('.session').length === 1")
    await page.press("Enter")
    await page.shows("h1", "Paint the fence")


# --- A conversation -----------------------------------------------------------------------------------------------


async def test_a_reply_streams_into_the_open_session(browser: Browser, served: Served) -> None:
    session = served.session(*job("Explain it"))
    page = await log_in(browser, served)
    await page.click(".session a", "Explain it")
    await page.shows(".said", "Explain it")
    for piece, end in (("It is **sim", "sim"), ("ple**, <img src=x onerror=alert(1)> really", "really")):
        write(session, delta(piece))
        await page.shows(".reply .live", end)
    assert await page.count(".reply strong") == 1
    assert await page.count(".reply img") == 0  # what a model says is text
    write(session, said("assistant", "It is **simple** after all."), finished())
    await page.shows(".reply", "It is simple after all.")
    await page.shows(".end", "Completed")
    assert await page.count(".reply") == 1
    await check(page, served)


async def test_tool_calls_are_folded_and_open_to_what_they_did(browser: Browser, served: Served) -> None:
    edit = {"file_path": "a.py", "old_string": "a - b", "new_string": "a + b"}
    served.session(
        *job("Fix it"),
        *call("Bash", {"command": "make test"}, "1 passed", number=1),
        *call("Edit", edit, "Replaced 1 occurrence in a.py", number=2),
        usage(900, 80, 0.01),
        finished(),
    )
    page = await log_in(browser, served)
    await page.click(".session a", "Fix it")
    await page.shows(".call summary", "make test")
    assert await page.evaluate("document.querySelector('.call').open") is False
    await page.click(".call summary", "make test")
    await page.shows(".call .output", "1 passed")
    await page.shows(".diff .removed", "-a - b")
    await page.shows(".diff .added", "+a + b")
    await page.shows(".timeline li", "make test")
    await page.press("3")
    await page.shows(".inspector figure .readout", "$0.010")
    await check(page, served)


async def test_an_approval_from_the_inbox_lets_the_job_go_on(browser: Browser, served: Served) -> None:
    session = served.session(*job("Look around"), finished())
    page = await log_in(browser, served)
    await page.click(".session a", "Look around")
    await page.shows(".end.completed")
    await page.evaluate("document.querySelector('.composer select').value = 'code'")
    await page.press("c")
    await page.wait("document.activeElement.matches('.composer textarea')")
    await page.type("Run the command `echo done > proof.txt`.")
    await page.press("Enter")
    await page.shows("#inbox-count", "1")
    await page.click("#to-inbox")
    await page.shows(".ask pre.command", "echo done > proof.txt")
    await page.click(".ask button", "Edit input")
    await page.evaluate("document.querySelector('.ask textarea').select()")
    await page.type('{"command": "echo more > proof.txt"}')
    await page.click(".ask button", "Approve")
    await page.shows(".inbox", "Nothing waits for you")
    await page.click(".session a", "Look around")
    await page.wait("document.querySelectorAll('.end.completed').length === 2")
    assert (served.workspace / "proof.txt").read_text() == "more\n"
    assert served.ask("GET", f"/jobs?session={session.id}")["items"][0]["mode"] == "code"
    await check(page, served)


async def test_a_denial_tells_the_model_why(browser: Browser, served: Served) -> None:
    session = served.session(*job("Look around"), finished())
    served.ask("POST", f"/sessions/{session.id}/message", {"text": "Run the command `touch no.txt`.", "mode": "code"})
    page = await log_in(browser, served)
    await page.click(".session a", "Look around")
    await page.click(".ask .why")
    await page.type("not in this house")
    await page.click(".ask button", "Deny")
    await page.shows(".inline-ask", "Denied: not in this house")
    await page.wait("document.querySelectorAll('.end').length === 2")
    assert not (served.workspace / "no.txt").exists()
    await check(page, served)


# --- What goes wrong ----------------------------------------------------------------------------------------------


async def test_the_page_recovers_when_the_daemon_is_killed_and_misses_nothing(browser: Browser, served: Served) -> None:
    session = served.session(*job("Go on and on"))
    page = await log_in(browser, served)
    await page.click(".session a", "Go on and on")
    write(session, delta("before"))
    await page.shows(".reply", "before")
    served.kill()
    await page.shows("#link", "Reconnecting")
    write(session, delta(", meanwhile"))
    served.session(*job("Made while it was away"))
    served.start()
    await page.shows("#link", "Live")
    await page.shows(".reply", "before, meanwhile")
    await page.shows(".session", "Made while it was away")
    await page.shows(".end.interrupted")  # nobody is at work in it, which the daemon found when it started
    assert await page.count(".reply") == 1
    assert [each for each in page.errors if "ERR_" not in each] == []  # that nobody answered is what was tested


async def test_an_approval_outlives_the_daemon_that_asked_for_it(browser: Browser, served: Served) -> None:
    session = served.session(*job("Look around"), finished())
    order = {"text": "Run the command `echo late > proof.txt`.", "mode": "code"}
    served.ask("POST", f"/sessions/{session.id}/message", order)
    page = await log_in(browser, served)
    await page.click("#to-inbox")
    await page.shows(".ask pre.command", "echo late")
    served.kill()
    await page.shows("#link", "Reconnecting")
    served.start()
    await page.shows("#link", "Live")
    await page.click(".ask button", "Approve")
    await page.shows(".inbox", "Nothing waits for you")
    await page.shows(".session .dot[data-state=completed]")
    assert (served.workspace / "proof.txt").read_text() == "late\n"


async def test_a_failed_job_says_why_and_can_be_tried_again(browser: Browser, served: Served) -> None:
    prompt = "Run the command `echo again`."
    session = served.session(*job(prompt), finished("failed", message="the model service is overloaded"))
    page = await log_in(browser, served)
    await page.click(".session a", prompt)
    await page.shows(".end.failed", "overloaded")
    await page.press("r")
    await page.click(".ask button", "Approve")
    await page.shows(".end.completed")
    assert len(served.ask("GET", f"/jobs?session={session.id}")["items"]) == 2
    await check(page, served)


async def test_a_job_that_waits_can_be_cancelled(browser: Browser, served: Served) -> None:
    session = served.session(*job("Look around"), finished())
    served.ask("POST", f"/sessions/{session.id}/message", {"text": "Run the command `touch no.txt`.", "mode": "code"})
    page = await log_in(browser, served)
    await page.click(".session a", "Look around")
    await page.shows(".ask button", "Approve")
    await page.press("x")
    await page.shows(".end.cancelled")
    await page.shows(".session .dot[data-state=cancelled]")
    await check(page, served)


# --- Runs ---------------------------------------------------------------------------------------------------------

SPEC = """# Greeting

1. Run the command `echo hello > hello.txt`.
2. Run the command `rm -rf old`.
3. Run the command `cat hello.txt`.
"""


async def test_a_run_is_started_approved_and_exported(browser: Browser, served: Served, tmp_path: Path) -> None:
    (served.workspace / "spec.md").write_text(SPEC)
    page = await log_in(browser, served)
    await page.press("n")
    await page.click("dialog .segments button", "Run of a spec")
    await page.click("dialog label input", "")
    await page.type(str(served.workspace))
    await page.click("dialog .fields .fields input")
    await page.type("spec.md")
    await page.press("Enter")
    await page.shows(".ask pre.command", "rm -rf old")
    await page.shows(".timeline li[data-state=waiting]", "rm -rf old")
    await page.click(".ask button", "Approve")
    await page.shows(".end.completed")
    await page.wait("document.querySelectorAll('.timeline li[data-state=ok]').length === 3")
    await page.click(".menu summary")
    exported = await page.download(tmp_path / "downloads", ".zip", ".popup button", "Export as zip")
    with ZipFile(BytesIO(exported)) as archive:
        assert json.loads(archive.read("run.json"))["status"] == "succeeded"
    await check(page, served)


async def test_a_run_that_waits_can_be_cancelled_and_started_again(browser: Browser, served: Served) -> None:
    (served.workspace / "spec.md").write_text(SPEC)
    page = await log_in(browser, served)
    served.run("spec.md")
    await page.click(".session a", "spec.md")
    await page.shows(".ask button", "Approve")
    await page.click(".session-head button", "Cancel")
    await page.shows(".end.cancelled")
    await page.click(".session-head button", "Retry")
    await page.shows(".ask button", "Approve")
    await page.wait("document.querySelectorAll('.session').length === 2")
    await check(page, served)


# --- Chats --------------------------------------------------------------------------------------------------------

PATCH = """--- a/calc.py
+++ b/calc.py
@@ -1,2 +1,2 @@
 def add(a, b):
-    return a - b
+    return a + b
"""


async def test_a_chat_edits_after_an_approval_and_is_cancelled_retried_and_exported(
    browser: Browser, pyz: Path, tmp_path: Path
) -> None:
    says = (
        Turn("The sign is wrong.", calls=(call_of("apply_patch", patch=PATCH),)),
        Turn("It adds now."),
        Turn(calls=(call_of("shell", command="cat notes.txt"),)),
        Turn(calls=(call_of("shell", command="cat notes.txt"),)),
        Turn("That was it."),
    )
    with model_server("openai", *says) as model:
        served = Served(pyz, tmp_path, {"OPENAI_API_KEY": "k", "OPENAI_BASE_URL": model.base_url})
        served.start()
        try:
            await _chat(browser, served, tmp_path)
        finally:
            served.stop()


async def _chat(browser: Browser, served: Served, root: Path) -> None:
    repository(served.workspace)
    (root / "notes.txt").write_text("some notes")
    page = await log_in(browser, served)
    await page.press("n")
    await page.shows("dialog")
    await page.type(str(served.workspace))
    await page.click("dialog textarea")
    await page.type("Mend calc.py")
    await page.click("dialog button", "Start")
    await page.shows(".ask .diff .added", "+    return a + b")
    await page.click(".ask button", "Approve")
    await page.shows(".reply", "It adds now.")
    await page.press("2")
    await page.shows(".file-diff .added", "+    return a + b")
    await page.attach(".composer input[type=file]", root / "notes.txt")
    await page.shows(".composer .chip", "notes.txt")
    await page.press("c")
    await page.type("Look at this")
    await page.press("Enter")
    await page.shows(".said .chip", "notes.txt")
    await page.shows(".ask button", "Deny")
    await page.click(".session-head button", "Cancel")
    await page.shows(".end.cancelled")
    await page.click(".session-head button", "Retry")
    await page.click(".ask button", "Approve")
    await page.shows(".reply", "That was it.")
    await page.click(".menu summary")
    exported = await page.download(root / "downloads", ".zip", ".popup button", "Export as zip")
    with ZipFile(BytesIO(exported)) as archive:
        assert "attachments/notes.txt" in archive.namelist()
    await check(page, served)


def repository(place: Path) -> None:
    (place / "calc.py").write_text("def add(a, b):\n    return a - b\n")
    git = ["git", "-c", "user.name=t", "-c", "user.email=t@example.invalid"]
    for words in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "begin"]):
        subprocess.run([*git, *words], cwd=place, check=True)


# --- Much ---------------------------------------------------------------------------------------------------------


async def test_a_storm_of_events_leaves_the_page_responsive_and_shows_the_latest(
    browser: Browser, served: Served
) -> None:
    session = served.session(*job("Storm"))
    page = await log_in(browser, served)
    await page.click(".session a", "Storm")
    await page.shows(".said", "Storm")
    busy = [await _storm(page, session, part) for part in range(PARTS)]
    write(session, said("assistant", "The storm is over.", message="last"), finished())
    await page.shows(".reply", "The storm is over.")
    await page.shows(".end.completed")
    assert sorted(busy)[PARTS // 2] < LONGEST_MS  # a machine that is at work on other things only adds to it
    assert await page.count(".flow > *") <= 500  # of all that came
    assert await page.evaluate("document.getElementsByTagName('*').length") < 8000
    assert await page.heap() < MOST_BYTES
    await check(page, served)


async def _storm(page: Page, session: SessionDir, part: int) -> float:
    """A part of it; the longest time that the page was busy at a stretch, in ms."""
    await page.evaluate("seen.longest = 0")
    size = STORM // PARTS
    for first in range(part * size, (part + 1) * size, 500):
        write(session, *(entry for number in range(first, first + 500, 5) for entry in _five(number)))
    end = f"Part {part} is over."
    write(session, said("assistant", end, message=end))
    await page.shows(".reply", end)
    return float(await page.evaluate("seen.longest"))


def _five(number: int) -> list[Entry]:
    read = call("Read", {"file_path": f"{number}.py"}, "x" * 200, number=number)
    return [delta(f"Line {number}. ", message=f"m-{number // 50}"), *read]


async def test_a_thousand_sessions_are_a_few_rows(browser: Browser, served: Served) -> None:
    for number in range(300):
        served.session(*job(f"Task {number}"))
    page = await log_in(browser, served)
    await page.shows(".session", "Task")
    await page.wait("document.getElementById('rows').clientHeight > 150 * 62")
    assert await page.count(".session") < 60
    await page.evaluate("document.getElementById('list').scrollTop = 1e6")
    await page.wait("document.getElementById('rows').clientHeight > 290 * 62")
    await check(page, served)


# --- Where it is shown --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dark", [False, True])
async def test_on_a_phone_nothing_is_wider_than_the_screen(browser: Browser, served: Served, dark: bool) -> None:
    wide = {"command": "grep -rn " + "a_very_long_word_" * 30}
    session = served.session(*job("A title that goes on " * 10), *call("Bash", wide, "x" * 500), finished())
    page = await log_in(browser, served, 390, 844)
    await page.prefer(dark=dark)
    for place in ("#/", "#/inbox", "#/overview", f"#/s/{session.id}"):
        await page.evaluate(f"location.hash = {json.dumps(place)}")
        await page.frame()
        assert await page.evaluate("document.documentElement.scrollWidth") == 390, place
    await page.click(".call summary")
    await page.shows(".call .output", "xxx")
    assert await page.evaluate("document.documentElement.scrollWidth") == 390
    await page.click(".narrow", "Details")
    await page.shows(".timeline li")
    await page.click(".back")
    await page.shows(".session", "A title")
    await check(page, served)


async def test_every_control_has_a_name_and_text_stands_out(browser: Browser, served: Served) -> None:
    session = served.session(*job("Look"), *call("Bash", {"command": "true"}, "ok"), finished("failed", message="no"))
    page = await log_in(browser, served)
    for dark in (False, True):
        await page.prefer(dark=dark)
        for place in ("#/", "#/inbox", f"#/s/{session.id}"):
            await page.evaluate(f"location.hash = {json.dumps(place)}")
            await page.frame()
            assert await page.evaluate(NAMELESS) == []
            assert await page.evaluate(PALE) == []


NAMELESS = """[...document.querySelectorAll("button, a, input, select, textarea, [role=img], [role=tab]")]
    .filter(each => each.checkVisibility() && !(each.getAttribute("aria-label") || each.textContent.trim()
        || each.closest("label") || each.title || each.type === "hidden")).map(each => each.outerHTML)"""

PALE = """(() => {
    const canvas = document.createElement("canvas").getContext("2d", {willReadFrequently: true});
    const colour = text => {
        canvas.clearRect(0, 0, 1, 1);
        canvas.fillStyle = text;
        canvas.fillRect(0, 0, 1, 1);
        return [...canvas.getImageData(0, 0, 1, 1).data];
    };
    const light = rgba => {
        const [r, g, b] = rgba.map(v => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const behind = each => {
        for (; each; each = each.parentElement) {
            const found = colour(getComputedStyle(each).backgroundColor);
            if (found[3] === 255) return found;
        }
        return [255, 255, 255];
    };
    const says = each => [...each.childNodes].some(node => node.nodeType === 3 && node.data.trim());
    return [...document.querySelectorAll("body *")].filter(each => {
        if (!each.checkVisibility() || each.disabled || !says(each)) return false;
        const both = [light(colour(getComputedStyle(each).color)), light(behind(each))];
        return (Math.max(...both) + 0.05) / (Math.min(...both) + 0.05) < 4.5;
    }).map(each => each.className + ": " + each.textContent.slice(0, 40));
})()"""  # WCAG 2.2, 1.4.3
