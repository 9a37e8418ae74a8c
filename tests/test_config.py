"""Settings: what wins, what is refused, and what a command gets to see."""

from __future__ import annotations

from pathlib import Path

import pytest

from agentd.config import (
    PASS_ENV,
    Option,
    Table,
    config_path,
    data_dir,
    parse_aliases,
    read_config,
    read_settings,
    tool_environment,
)
from agentd.errors import InvalidSetting

OPTIONS = {
    "listen-addr": Option("LISTEN_ADDR"),
    "read-only": Option("READ_ONLY", switch=True),
    "model-alias": Option("MODEL_ALIASES", many=True),
    "supervised": Option(switch=True),
}


@pytest.mark.parametrize("argv", [["--listen-addr", "here:1"], ["--listen-addr=here:1"], ["--listen-addr= here:1 "]])
def test_a_flag_beats_the_environment(argv: list[str]) -> None:
    assert read_settings(OPTIONS, argv, {"LISTEN_ADDR": "there:2"}).text("listen-addr") == "here:1"


@pytest.mark.parametrize("blank", ["", "  "])
def test_a_blank_flag_leaves_it_to_the_environment(blank: str) -> None:
    settings = read_settings(OPTIONS, ["--listen-addr", blank], {"LISTEN_ADDR": "there:2"})
    assert settings.text("listen-addr") == "there:2"


def test_a_blank_variable_counts_as_none() -> None:
    assert read_settings(OPTIONS, [], {"LISTEN_ADDR": " "}).text("listen-addr") is None


def test_a_value_may_hold_an_equals_sign() -> None:
    assert read_settings(OPTIONS, ["--model-alias=a=b"], {}).many("model-alias") == ["a=b"]


@pytest.mark.parametrize(
    ("argv", "env", "is_on"),
    [
        (["--read-only"], {}, True),
        (["--read-only", "--supervised"], {}, True),
        (["--read-only", "off"], {"READ_ONLY": "1"}, False),
        (["--read-only=No"], {"READ_ONLY": "1"}, False),
        ([], {"READ_ONLY": "YES"}, True),
        (["--read-only="], {"READ_ONLY": "on"}, True),
        ([], {"READ_ONLY": "0"}, False),
        ([], {}, False),
    ],
)
def test_a_switch_is_on_when_the_flag_or_else_the_environment_says_so(
    argv: list[str], env: dict[str, str], is_on: bool
) -> None:
    assert read_settings(OPTIONS, argv, env).switch("read-only") is is_on


def test_a_word_that_is_neither_true_nor_false_is_refused() -> None:
    with pytest.raises(InvalidSetting, match=r"--read-only \(READ_ONLY\): perhaps is neither true nor false"):
        read_settings(OPTIONS, ["--read-only=perhaps"], {}).switch("read-only")


@pytest.mark.parametrize("argv", [["--listen-adr", "x"], ["word"], ["--read-only", "word"], ["-x"], ["--"]])
def test_what_is_not_a_known_flag_is_refused(argv: list[str]) -> None:
    with pytest.raises(InvalidSetting, match="unknown argument"):
        read_settings(OPTIONS, argv, {})


@pytest.mark.parametrize("argv", [["--listen-addr"], ["--listen-addr", "--read-only"]])
def test_a_flag_without_its_value_is_refused(argv: list[str]) -> None:
    with pytest.raises(InvalidSetting, match="--listen-addr needs a value"):
        read_settings(OPTIONS, argv, {})


def test_only_a_flag_that_may_be_repeated_is_taken_twice() -> None:
    with pytest.raises(InvalidSetting, match="given twice"):
        read_settings(OPTIONS, ["--listen-addr=a", "--listen-addr=b"], {})


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["say", "what"], ["say", "what"]),
        (["--read-only", "yes", "--listen-addr", "x", "no"], ["yes", "no"]),
        (["-", "--read-only"], ["-"]),
        (["--", "--read-only", "-x"], ["--read-only", "-x"]),
        ([], []),
    ],
)
def test_words_stand_between_flags_where_they_are_wanted(argv: list[str], words: list[str]) -> None:
    assert read_settings(OPTIONS, argv, {}, words=True).words == words


@pytest.mark.parametrize("argv", [["-x"], ["--unknown"], ["word", "--unknown=1"]])
def test_an_unknown_flag_is_no_word(argv: list[str]) -> None:
    with pytest.raises(InvalidSetting, match=r"unknown argument: (-x|--unknown)$"):
        read_settings(OPTIONS, argv, {}, words=True)


def test_a_required_setting_that_is_missing_says_how_to_give_it() -> None:
    with pytest.raises(InvalidSetting, match=r"^--listen-addr is required \(or LISTEN_ADDR in the environment\)$"):
        read_settings(OPTIONS, [], {}).required("listen-addr")


def test_aliases_of_flags_join_those_of_the_environment_and_win() -> None:
    settings = read_settings(
        OPTIONS, ["--model-alias", "a=flag", "--model-alias=c=flag"], {"MODEL_ALIASES": "a=e, b=e"}
    )
    assert settings.aliases("model-alias") == {"a": "flag", "b": "e", "c": "flag"}


@pytest.mark.parametrize("text", ["gpt-5", "=builtin", "gpt-5=", "a=b,c"])
def test_an_alias_that_is_no_pair_is_refused(text: str) -> None:
    with pytest.raises(InvalidSetting, match="gpt-5=builtin"):
        parse_aliases([text])


@pytest.mark.parametrize(
    ("flag", "env", "path"),
    [
        ("/flag", {"AGENTD_DATA_DIR": "/ours"}, "/flag"),
        (" ", {"AGENTD_DATA_DIR": "/ours", "HARNESS_DATA_DIR": "/older"}, "/ours"),
        (None, {"AGENTD_DATA_DIR": "", "HARNESS_DATA_DIR": "/older", "XDG_STATE_HOME": "/x"}, "/older"),
        (None, {"XDG_STATE_HOME": "/x", "HOME": "/h"}, "/x/agentd"),
        (None, {"XDG_STATE_HOME": "relative", "HOME": "/h"}, "/h/.local/state/agentd"),
        (None, {"HOME": "/h"}, "/h/.local/state/agentd"),
    ],
)
def test_the_first_place_that_is_named_is_the_data_directory(flag: str | None, env: dict[str, str], path: str) -> None:
    assert data_dir(flag, env) == Path(path)


def test_a_command_sees_the_few_names_it_needs_and_no_secret() -> None:
    env = {
        "PATH": "/bin",
        "LC_TIME": "C",
        "https_proxy": "http://proxy",
        "CARGO_HOME": "/c",
        "LD_PRELOAD": "x",
        "OPENAI_API_KEY": "k",
        "AUTH_TOKEN": "t",
        "LC_SECRET": "s",
    }
    seen = tool_environment([*PASS_ENV, "OPENAI*", "AUTH_TOKEN"], {}, env)
    assert seen == {"PATH": "/bin", "LC_TIME": "C", "https_proxy": "http://proxy", "CARGO_HOME": "/c"}


def test_a_request_may_set_any_variable_of_its_commands() -> None:
    assert tool_environment([], {"GH_TOKEN": "theirs", "PATH": "/opt"}, {"PATH": "/bin"}) == {
        "GH_TOKEN": "theirs",
        "PATH": "/opt",
    }


def test_a_command_has_a_path_even_where_we_have_none() -> None:
    assert tool_environment([], {}, {})["PATH"]


# --- The configuration file ---------------------------------------------------------------------------------------


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("flag", "env", "path"),
    [
        ("/flag.toml", {"AGENTD_CONFIG": "/variable.toml"}, "/flag.toml"),
        (" ", {"AGENTD_CONFIG": "/variable.toml"}, "/variable.toml"),
    ],
)
def test_the_configuration_file_is_the_one_that_is_named(flag: str, env: dict[str, str], path: str) -> None:
    assert config_path(flag, env) == Path(path)


def test_else_it_is_the_users_own_where_there_is_one(tmp_path: Path) -> None:
    home = {"HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path / "xdg")}
    assert config_path(None, home) is None
    own = write(tmp_path / "xdg/agentd/config.toml", "")
    assert config_path(None, home) == own
    assert config_path(None, {"HOME": str(tmp_path)}) is None


def test_without_a_file_the_configuration_is_empty() -> None:
    assert read_config(None).only().values == {}


@pytest.mark.parametrize(("text", "problem"), [(None, "cannot be read"), ("a = ", "is no TOML"), ("\0", "is no TOML")])
def test_a_file_that_cannot_be_understood_is_refused_by_name(tmp_path: Path, text: str | None, problem: str) -> None:
    path = tmp_path / "c.toml"
    if text is not None:
        path.write_text(text)
    with pytest.raises(InvalidSetting, match=rf"{path}: {problem}"):
        read_config(path)


def table(**values: object) -> Table:
    return Table(values, "c.toml", "providers.x")


def test_a_key_that_is_not_known_is_told_the_nearest_one() -> None:
    with pytest.raises(InvalidSetting, match=r"^c\.toml: providers\.x\.api_ky: no such key; did you mean api_key\?$"):
        table(api_ky="secret").only("api_key", "base_url")


def test_a_key_that_is_like_no_other_is_told_what_there_is() -> None:
    with pytest.raises(InvalidSetting, match="no such key; there are: api_key, base_url"):
        table(frobnicate=1).only("api_key", "base_url")


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("text", 1),
        ("text", " "),
        ("texts", "a"),
        ("texts", ["a", 1]),
        ("texts", [""]),
        ("switch", 1),
        ("count", 0),
        ("count", True),
        ("count", 1.5),
        ("number", -1),
        ("number", True),
        ("number", float("inf")),
        ("table", []),
        ("tables", {"a": 1}),
        ("words", {"a": 1}),
    ],
)
def test_a_value_of_another_kind_is_refused_by_its_place(kind: str, value: object) -> None:
    with pytest.raises(InvalidSetting, match=r"^c\.toml: providers\.x\.key(\.a)?: "):
        getattr(table(key=value), kind)("key")


def test_a_value_is_never_in_what_is_said_of_it() -> None:
    with pytest.raises(InvalidSetting) as caught:
        table(key=["s3cret"]).text("key")
    assert "s3cret" not in str(caught.value)


def test_a_word_is_one_of_those_there_are() -> None:
    assert table(key="a").one_of("key", "a", "b") == "a"
    with pytest.raises(InvalidSetting, match="expected a or b"):
        table(key="c").one_of("key", "a", "b")


def test_what_is_not_there_is_none_or_empty() -> None:
    empty = table()
    assert [empty.text("k"), empty.switch("k"), empty.count("k"), empty.number("k")] == [None] * 4
    assert (empty.texts("k"), empty.tables("k"), empty.words("k")) == ((), {}, {})


# --- What beats what ----------------------------------------------------------------------------------------------

LAYERED = {
    "pool-size": Option("POOL_SIZE", key="manager.pool_size", default="8"),
    "data-dir": Option("OURS", also="OLDER"),
    "allowed-host": Option(key="serve.allowed_hosts", many=True),
    "check": Option("CHECK", switch=True, key="serve.check"),
}


@pytest.mark.parametrize(
    ("argv", "env", "file", "found"),
    [
        (["--pool-size=1"], {"POOL_SIZE": "2"}, {"pool_size": 3}, (["1"], "--pool-size")),
        ([], {"POOL_SIZE": "2"}, {"pool_size": 3}, (["2"], "POOL_SIZE")),
        ([], {"POOL_SIZE": " "}, {"pool_size": 3}, (["3"], "c.toml")),
        ([], {}, {"pool_size": " 3 "}, (["3"], "c.toml")),
        ([], {}, {}, (["8"], "default")),
    ],
)
def test_a_flag_beats_a_variable_beats_the_file_beats_the_default(
    argv: list[str], env: dict[str, str], file: dict[str, object], found: tuple[list[str], str]
) -> None:
    settings = read_settings(LAYERED, argv, env)
    settings.file = Table({"manager": file}, "c.toml")
    assert settings.find("pool-size") == found
    assert settings.text("pool-size") == found[0][0]


def test_an_older_variable_counts_while_the_newer_is_not_set() -> None:
    assert read_settings(LAYERED, [], {"OLDER": "/old"}).find("data-dir") == (["/old"], "OLDER")
    assert read_settings(LAYERED, [], {"OURS": "/new", "OLDER": "/old"}).text("data-dir") == "/new"


def test_what_nobody_said_and_has_no_default_is_nothing() -> None:
    assert read_settings(LAYERED, [], {}).find("data-dir") == ([], "default")


def test_the_file_may_list_what_may_be_repeated() -> None:
    settings = read_settings(LAYERED, [], {})
    settings.file = Table({"serve": {"allowed_hosts": ["a", "b"], "check": True}}, "c.toml")
    assert settings.many("allowed-host") == ["a", "b"]
    assert settings.switch("check") is True


@pytest.mark.parametrize("value", [{"a": 1}, " ", ["a", []], [["a"]]])
def test_a_value_of_the_file_that_is_no_text_is_refused_by_its_place(value: object) -> None:
    settings = read_settings(LAYERED, [], {})
    settings.file = Table({"manager": {"pool_size": value}}, "c.toml")
    with pytest.raises(InvalidSetting, match=r"^c\.toml: manager\.pool_size: expected a text or a number$"):
        settings.text("pool-size")


def test_a_misfit_names_flag_and_variable_or_the_place_in_the_file() -> None:
    settings = read_settings(LAYERED, [], {})
    assert str(settings.misfit("pool-size", "is odd")) == "--pool-size (POOL_SIZE): is odd"
    settings.file = Table({"manager": {"pool_size": 3}}, "c.toml")
    assert str(settings.misfit("pool-size", "is odd")) == "c.toml: manager.pool_size: is odd"
