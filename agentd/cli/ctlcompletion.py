"""`agentd ctl completion`: what a shell needs to complete commands and flags."""

from __future__ import annotations

from collections.abc import Iterator

from agentd.cli.ctl import COMMANDS, OPTIONS, Usage
from agentd.cli.ctlclient import Ctl


def completion(ctl: Ctl) -> None:
    """For `agentctl`; and for `agentd`, behind its first word."""
    shells = {"bash": bash, "zsh": zsh, "fish": fish}
    [shell] = ctl.words
    if shell not in shells:
        raise Usage(f"{shell}: it is one of {', '.join(shells)}")
    text = shells[shell]()
    ctl.show({"shell": shell, "script": text}, *text.splitlines())


def words_behind(name: str) -> str:
    """What may follow a command, or the first word of several."""
    subs = [each.partition(" ")[2] for each in COMMANDS if each.startswith(f"{name} ")]
    options = COMMANDS[name].options if name in COMMANDS else {}
    return " ".join([*subs, *(f"--{option}" for option in (*options, *OPTIONS))])


def firsts() -> list[str]:
    return list(dict.fromkeys(name.partition(" ")[0] for name in COMMANDS))


def _cases() -> Iterator[str]:
    for name in dict.fromkeys((*COMMANDS, *firsts())):
        yield f'    "{name}") words="{words_behind(name)}" ;;'


def bash() -> str:
    cases = "\n".join(_cases())
    return f"""\
_agentctl() {{
  local cur="${{COMP_WORDS[COMP_CWORD]}}" at=1 words=""
  [[ ${{COMP_WORDS[0]##*/}} == agentd* ]] && at=2
  if (( at == 2 )) && [[ ${{COMP_WORDS[1]}} != ctl ]]; then
    (( COMP_CWORD == 1 )) && COMPREPLY=($(compgen -W "ctl" -- "$cur"))
    return
  fi
  local first="${{COMP_WORDS[at]}}" second="${{COMP_WORDS[at+1]}}"
  if (( COMP_CWORD == at )); then
    COMPREPLY=($(compgen -W "{" ".join(firsts())}" -- "$cur"))
    return
  fi
  (( COMP_CWORD == at + 1 )) && second=""
  local name
  for name in "$first $second" "$first"; do case "$name" in
{cases}
  esac; [[ -n $words ]] && break; done
  COMPREPLY=($(compgen -W "$words" -- "$cur"))
  [[ $cur != -* && ${{#COMPREPLY[@]}} == 0 ]] && COMPREPLY=($(compgen -f -- "$cur"))
}}
complete -o filenames -F _agentctl agentctl agentd agentd.pyz
"""


def zsh() -> str:
    return f"autoload -U +X bashcompinit && bashcompinit\n{bash()}"


def fish() -> str:
    lines = ["function __agentctl_at; string join ' ' -- (commandline -opc)[2..]; end"]
    for name in firsts():
        what = next(command.what for each, command in COMMANDS.items() if each.partition(" ")[0] == name)
        lines.append(f"complete -c agentctl -f -n __fish_use_subcommand -a {name} -d {_quoted(what)}")
    for name in dict.fromkeys((*COMMANDS, *firsts())):
        condition = f'string match -q -- "{name}*" (__agentctl_at)'
        lines.append(f"complete -c agentctl -n '{condition}' -a '{words_behind(name)}'")
    return "\n".join(lines) + "\n"


def _quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
