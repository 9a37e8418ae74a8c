"""A browser as a person has it, driven over the Chrome DevTools Protocol: one headless Chromium, one page at a time.

What the page asks of the network, what goes wrong in it and how long it is busy is written down while it is used.
"""

from __future__ import annotations

import base64
import json
import math
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import attrs
import trio
from trio_websocket import ConnectionClosed, WebSocketConnection, connect_websocket_url

READY_SECONDS, ANSWER_SECONDS, WAIT_SECONDS = 60.0, 60.0, 30.0
MOST_MESSAGE = 1 << 28  # bytes: screenshots are big
FLAGS = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--mute-audio",
    "--hide-scrollbars",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-sync",
    "--disable-extensions",
]
HIDE = "MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"  # nothing of the world has an address
WATCH = """
window.seen = {violations: [], longest: 0};
document.addEventListener("securitypolicyviolation", event => {
    seen.violations.push(event.violatedDirective + " " + event.blockedURI);
});
new PerformanceObserver(list => {
    for (const entry of list.getEntries()) seen.longest = Math.max(seen.longest, entry.duration);
}).observe({type: "longtask"});
"""
KEYS = {"Enter": 13, "Escape": 27, "Tab": 9}


class BrowserFailed(Exception):
    """A command was refused, or what a test waits for did not come."""


@attrs.define(eq=False)
class Browser:
    """A connection to Chromium. Commands go to the browser itself, or to a page by its session."""

    socket: WebSocketConnection
    pages: dict[str, Page] = attrs.field(factory=dict)
    _last: int = 0
    _waiting: dict[int, tuple[trio.Event, list[dict[str, Any]]]] = attrs.field(factory=dict)

    async def command(self, method: str, session: str = "", **params: Any) -> dict[str, Any]:
        """Raises BrowserFailed."""
        self._last += 1
        answered, answers = self._waiting.setdefault(self._last, (trio.Event(), []))
        message = {"id": self._last, "method": method, "params": params} | ({"sessionId": session} if session else {})
        await self.socket.send_message(json.dumps(message))
        with trio.move_on_after(ANSWER_SECONDS):
            await answered.wait()
        if not answers or "error" in answers[0]:
            raise BrowserFailed(f"{method}: {answers[0]['error'] if answers else 'no answer'}")
        result: dict[str, Any] = answers[0]["result"]
        return result

    async def listen(self) -> None:
        """Until Chromium is gone."""
        try:
            while True:
                self._hear(json.loads(await self.socket.get_message()))
        except ConnectionClosed:
            pass

    def _hear(self, message: dict[str, Any]) -> None:
        if "id" in message:
            event, answers = self._waiting.pop(message["id"])
            answers.append(message)
            event.set()
        elif page := self.pages.get(message.get("sessionId", "")):
            page.hear(message["method"], message["params"])

    async def open_page(self, width: int = 1440, height: int = 900, *, dark: bool = False) -> Page:
        """An empty page in a context of its own: no cookie of another."""
        context = (await self.command("Target.createBrowserContext"))["browserContextId"]
        target = (await self.command("Target.createTarget", url="about:blank", browserContextId=context))["targetId"]
        session = (await self.command("Target.attachToTarget", targetId=target, flatten=True))["sessionId"]
        page = self.pages[session] = Page(self, session)
        for domain in ("Page", "Runtime", "Network", "Log"):
            await page.command(f"{domain}.enable")
        await page.command("Page.addScriptToEvaluateOnNewDocument", source=WATCH)
        await page.resize(width, height)
        await page.prefer(dark=dark)
        return page


@attrs.define(eq=False)
class Page:
    browser: Browser
    session: str
    requests: list[str] = attrs.field(factory=list)  # addresses
    errors: list[str] = attrs.field(factory=list)  # what the console says of what goes wrong

    def hear(self, method: str, params: dict[str, Any]) -> None:
        match method:
            case "Network.requestWillBeSent":
                self.requests.append(params["request"]["url"])
            case "Runtime.exceptionThrown":
                details = params["exceptionDetails"]
                self.errors.append(str(details.get("exception", {}).get("description") or details["text"]))
            case "Runtime.consoleAPICalled" if params["type"] in ("error", "warning", "assert"):
                self.errors.append(
                    " ".join(str(each.get("value") or each.get("description")) for each in params["args"])
                )
            case "Log.entryAdded" if params["entry"]["level"] in ("error", "warning"):
                self.errors.append(f"{params['entry']['text']} {params['entry'].get('url', '')}")

    async def command(self, method: str, **params: Any) -> dict[str, Any]:
        return await self.browser.command(method, self.session, **params)

    async def resize(self, width: int, height: int) -> None:
        await self.command(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600
        )

    async def prefer(self, *, dark: bool) -> None:
        features = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        await self.command("Emulation.setEmulatedMedia", features=features)

    async def go(self, url: str) -> None:
        told = await self.command("Page.navigate", url=url)
        if "errorText" in told:
            raise BrowserFailed(f"{url}: {told['errorText']}")
        await self.wait("document.readyState === 'complete'")

    async def evaluate(self, script: str) -> Any:
        """What an expression is; a promise is waited for. Raises BrowserFailed for what it throws."""
        told = await self.command("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in told:
            details = told["exceptionDetails"]
            raise BrowserFailed(f"{script}: {details.get('exception', {}).get('description', details['text'])}")
        return told["result"].get("value")

    async def wait(self, condition: str, seconds: float = WAIT_SECONDS) -> Any:
        """Until an expression is true, and what it is then. Raises BrowserFailed with what the page says instead."""
        wanted = f"""new Promise((resolve, reject) => {{
            const end = performance.now() + {seconds * 1000};
            const look = () => {{
                let found; try {{ found = {condition}; }} catch {{ found = false; }}
                if (found) resolve(found === true ? true : JSON.parse(JSON.stringify(found)));
                else if (performance.now() > end) resolve(null);
                else setTimeout(look, 15);
            }};
            look();
        }})"""
        for _ in range(5):  # the page may be left while it is asked
            try:
                found = await self.evaluate(wanted)
            except BrowserFailed as exc:
                if "navigated" not in str(exc) and "destroyed" not in str(exc):
                    raise
                continue
            if found is not None:
                return found
            break
        raise BrowserFailed(f"not so: {condition}\n{self.errors}\n{await self.text('body')}")

    async def shows(self, selector: str, text: str = "") -> None:
        """Until something that fits *selector* is visible and has *text* in it."""
        await self.wait(
            f"[...document.querySelectorAll({json.dumps(selector)})].some(each => each.checkVisibility() "
            f"&& (each.textContent + (each.value || '')).includes({json.dumps(text)}))"
        )

    async def text(self, selector: str) -> str:
        return str(await self.evaluate(f"document.querySelector({json.dumps(selector)})?.innerText ?? ''"))

    async def count(self, selector: str) -> int:
        return int(await self.evaluate(f"document.querySelectorAll({json.dumps(selector)}).length"))

    async def click(self, selector: str, text: str = "") -> None:
        """The middle of the first visible element that fits and has *text* in it, with a mouse."""
        box = None
        while box is None:  # what was there a moment ago may just be drawn anew
            await self.shows(selector, text)
            box = await self._middle(selector, text)
        x, y = map(math.floor, box)
        for kind in ("mousePressed", "mouseReleased"):
            await self.command("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    async def _middle(self, selector: str, text: str) -> Any:
        return await self.evaluate(
            f"""(() => {{
            const found = [...document.querySelectorAll({json.dumps(selector)})].find(each => each.checkVisibility()
                && (each.textContent + (each.value || '')).includes({json.dumps(text)}));
            if (!found) return null;
            found.scrollIntoView({{block: "nearest"}});
            const box = found.getBoundingClientRect();
            return [box.x + box.width / 2, box.y + box.height / 2];
        }})()"""
        )

    async def type(self, text: str) -> None:
        """Into what has the focus."""
        await self.command("Input.insertText", text=text)

    async def press(self, key: str) -> None:
        more: dict[str, Any] = {"windowsVirtualKeyCode": KEYS[key]} if key in KEYS else {"text": key}
        text = {"text": "\r"} if key == "Enter" else {}
        await self.command("Input.dispatchKeyEvent", type="keyDown", key=key, **more, **text)
        await self.command("Input.dispatchKeyEvent", type="keyUp", key=key)

    async def download(self, into: Path, kind: str, selector: str, text: str) -> bytes:
        """What a click there brings: the file in the new directory *into* whose name ends in *kind*, which it does only
        once it is whole. Raises TooSlowError."""
        await trio.Path(into).mkdir()
        await self.command("Page.setDownloadBehavior", behavior="allow", downloadPath=str(into))
        await self.click(selector, text)
        with trio.fail_after(WAIT_SECONDS):
            while True:
                for path in await trio.Path(into).glob(f"*{kind}"):
                    return await path.read_bytes()
                await trio.sleep(0.02)

    async def attach(self, selector: str, path: Path) -> None:
        """A file, as if it were chosen there."""
        root = (await self.command("DOM.getDocument"))["root"]["nodeId"]
        node = (await self.command("DOM.querySelector", nodeId=root, selector=selector))["nodeId"]
        await self.command("DOM.setFileInputFiles", files=[str(path)], nodeId=node)

    async def heap(self) -> int:
        """Bytes that its objects have, without what nobody holds any more."""
        await self.command("HeapProfiler.collectGarbage")
        return int((await self.command("Runtime.getHeapUsage"))["usedSize"])

    async def frame(self) -> None:
        """Until what has changed is drawn."""
        await self.evaluate("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => done(true))))")

    async def screenshot(self, path: Path) -> None:
        await self.frame()
        data = base64.b64decode((await self.command("Page.captureScreenshot"))["data"])
        await trio.Path(path).write_bytes(data)


@asynccontextmanager
async def open_browser(program: str, profile: Path) -> AsyncIterator[Browser]:
    """A Chromium of its own, whose files are below *profile*."""
    argv = [program, *FLAGS, f"--host-resolver-rules={HIDE}", f"--user-data-dir={profile}", "--remote-debugging-port=0"]
    async with trio.open_nursery() as nursery:
        null = subprocess.DEVNULL
        process = await trio.lowlevel.open_process([*argv, "about:blank"], stdin=null, stdout=null, stderr=null)
        try:
            socket = await connect_websocket_url(nursery, await _address(profile), max_message_size=MOST_MESSAGE)
            browser = Browser(socket)
            nursery.start_soon(browser.listen)
            yield browser
            await socket.aclose()
        finally:
            process.kill()
            nursery.cancel_scope.cancel()
            with trio.CancelScope(shield=True):
                await process.wait()


async def _address(profile: Path) -> str:
    """Chromium writes a file when it listens; it has no other way to say so."""
    with trio.fail_after(READY_SECONDS):
        while True:
            try:
                port, path = (profile / "DevToolsActivePort").read_text().split()
            except (FileNotFoundError, ValueError):
                await trio.sleep(0.05)
                continue
            return f"ws://127.0.0.1:{port}{path}"
