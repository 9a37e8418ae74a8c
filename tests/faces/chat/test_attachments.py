"""Attachments: what they are called, how large they may be, what models see of them, how they are handed out."""

from __future__ import annotations

import base64
import re
from collections.abc import Collection
from io import BytesIO
from zipfile import ZipFile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentd.domain import Image, Text
from agentd.faces.chat import attachments
from agentd.faces.chat.attachments import NAME_CHARS, name_for
from tests.chatapi import Api

PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)


def as_json(name: str, data: bytes, mime: str = "") -> dict[str, str]:
    return {"name": name, "mime_type": mime, "content_base64": base64.b64encode(data).decode()}


def form(data: bytes, name: str = "file", filename: str = "ui.png", mime: str = "image/png") -> tuple[bytes, str]:
    head = (
        f'--b\r\nContent-Disposition: form-data; name="{name}"; filename="{filename}"\r\nContent-Type: {mime}\r\n\r\n'
    )
    return head.encode() + data + b"\r\n--b--\r\n", "multipart/form-data; boundary=b"


async def upload(api: Api, chat: str, data: bytes, kind: str) -> tuple[int, dict[str, str]]:
    return await api.ask("POST", f"/{chat}/attachments", data, content_type=kind)


async def test_a_form_and_base64_do_the_same(api: Api) -> None:
    chat = await api.create()
    told = await upload(api, chat, *form(PNG))
    assert told == (200, {"ref": "attachments/ui.png", "mime_type": "image/png"})
    assert await api.post(f"/{chat}/attachments", as_json("x.txt", b"hi")) == {
        "ref": "attachments/x.txt",
        "mime_type": "application/octet-stream",
    }
    answer = await api.answer("GET", f"/{chat}/attachments/ui.png")
    assert (answer.body, answer.content_type) == (PNG, "image/png")
    assert ("X-Content-Type-Options", "nosniff") in answer.headers


async def test_a_page_is_handed_out_as_no_page_of_ours(api: Api) -> None:
    chat = await api.create()
    await api.post(f"/{chat}/attachments", as_json("x.html", b"<script>", "text/html"))
    answer = await api.answer("GET", f"/{chat}/attachments/x.html")
    assert ("Content-Security-Policy", "sandbox; default-src 'none'") in answer.headers
    assert ("Content-Disposition", 'attachment; filename="x.html"') in answer.headers


async def test_what_is_no_attachment_is_refused(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    chat = await api.create()
    assert await upload(api, chat, *form(PNG, name="other")) == (400, {"error": "file required"})
    bodies = {"content_base64 required": {"content_base64": " "}, "invalid base64 content": {"content_base64": "a*b"}}
    for text, body in bodies.items():
        assert await api.ask("POST", f"/{chat}/attachments", body) == (400, {"error": text})
    assert await upload(api, chat, b"[]", "application/json") == (400, {"error": "invalid json"})
    assert (await upload(api, chat, b"--b\r\n", "multipart/form-data"))[0] == 400
    assert (await api.ask("POST", "/sess_x/attachments", {"content_base64": "aGk="}))[0] == 404
    monkeypatch.setattr(attachments, "LARGEST", 100)
    assert (await upload(api, chat, *form(b"x" * 101)))[0] == 413
    assert (await api.ask("POST", f"/{chat}/attachments", as_json("x", b"x" * 101)))[0] == 413
    assert (await upload(api, chat, *form(b"x" * 100)))[0] == 200


async def test_base64_may_have_line_breaks(api: Api) -> None:
    chat = await api.create()
    encoded = "\r\n".join(re.findall(".{1,20}", base64.b64encode(PNG).decode()))
    told = await api.post(f"/{chat}/attachments", {"name": "a.png", "content_base64": encoded})
    assert (await api.answer("GET", f"/{chat}/{told['ref']}")).body == PNG


async def test_a_session_takes_only_so_many(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agentd.faces.chat.app.MOST", 2)
    chat = await api.create()
    refs = [(await api.post(f"/{chat}/attachments", as_json("a.txt", b"x")))["ref"] for _ in range(2)]
    assert refs[0] == "attachments/a.txt"
    assert re.fullmatch(r"attachments/att_\w+\.txt", refs[1])
    assert (await api.ask("POST", f"/{chat}/attachments", as_json("b.txt", b"x")))[0] == 400


async def test_models_get_images_and_short_texts_and_the_names_of_the_rest(api: Api) -> None:
    chat = await api.create()
    for name, data in (("a.png", PNG), ("b.txt", b"some text"), ("c.zip", b"PK\0\0"), ("d.png", b"no image")):
        await api.post(f"/{chat}/attachments", as_json(name, data))
    parts = [
        *({"type": "image", "ref": f"attachments/{name}.png"} for name in "ad"),
        *({"type": "file", "ref": f"attachments/{name}"} for name in ("b.txt", "c.zip", "nothing")),
    ]
    api.says("ok")
    told = await api.post(f"/{chat}/messages", {"role": "user", "parts": parts})
    session = await api.turn(chat, told["turn_id"])
    assert session["messages"][0]["parts"] == parts
    image, *rest = api.model.requests[0].messages[0].content
    assert isinstance(image, Image | Text)
    assert [block.text for block in rest if isinstance(block, Text)] == [
        "[image: attachments/d.png]",
        "[file: attachments/b.txt]\nsome text",
        "[file: attachments/c.zip]",
        "[file: attachments/nothing]",
    ]


async def test_an_export_has_them(api: Api) -> None:
    chat = await api.create()
    await api.post(f"/{chat}/attachments", as_json("a.png", PNG))
    answer = await api.answer("GET", f"/{chat}/export")
    archive = ZipFile(BytesIO(answer.body))
    assert set(archive.namelist()) == {"session.json", "events.ndjson", "attachments/a.png"}
    assert archive.read("attachments/a.png") == PNG
    assert ("Content-Disposition", f'attachment; filename="{chat}.zip"') in answer.headers


@pytest.mark.parametrize(
    ("given_name", "name"),
    [
        ("ui.png", "ui.png"),
        ("../../etc/passwd", "passwd.bin"),
        (r"C:\dir\a.txt", "a.txt"),
        ("dir/", r"att_\w+\.bin"),
        ("..", r"att_\w+\.bin"),
        ("", r"att_\w+\.bin"),
        (".bashrc", "_bashrc.bin"),
        ("a\r\nb.txt", "a__b.txt"),
        ("x" * 300 + ".txt", "x{116}.txt"),
        ("name.", "name.bin"),
    ],
)
def test_a_name_is_kept_as_far_as_it_will_do(given_name: str, name: str) -> None:
    assert re.fullmatch(name, name_for(given_name, ()))


@given(st.text(max_size=300), st.sets(st.text(max_size=5)))
def test_whatever_a_file_is_called_its_name_is_one_of_a_file_in_one_directory(
    given_name: str, taken: Collection[str]
) -> None:
    name = name_for(given_name, taken)
    assert 0 < len(name) <= NAME_CHARS
    assert not name.startswith(".")
    assert not set(name) & set("/\\\0\r\n")
    assert "." in name
    assert name not in taken
