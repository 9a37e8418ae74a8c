"""Whether a command line may do what cannot be undone: for a gate that is then forced. A guess, on the side of care.

Recursive deletion, another user's rights, disk tools, git's push, reset --hard and clean, infrastructure tools that
apply or destroy, code that comes from elsewhere into a shell; and what could not be read.
"""

from __future__ import annotations

import re

from agentd.engine.shellcommands import Reading, Simple, read_command
from agentd.engine.shellruns import UNKNOWN_CODE, UNKNOWN_NAME
from agentd.engine.shellwords import DYNAMIC

AS_OTHERS = {"sudo", "su", "doas", "pkexec", "runuser", "sudoedit"}
DISK_TOOLS = {
    *("badblocks", "blkdiscard", "cfdisk", "cryptsetup", "dd", "diskutil", "fdisk", "gdisk", "hdparm", "lvremove"),
    *("mdadm", "mke2fs", "mkswap", "parted", "pvremove", "sfdisk", "sgdisk", "shred", "vgremove", "wipefs", "zpool"),
}
INFRASTRUCTURE = {
    *("aws-cdk", "cdk", "cdktf", "helm", "kubectl", "oc", "opentofu", "pulumi", "terraform", "terragrunt", "tofu"),
}
CHANGES = {"apply", "delete", "deploy", "destroy", "drain", "replace", "uninstall", "up", "apply-all", "destroy-all"}
DOWNLOADS = {"aria2c", "curl", "fetch", "http", "https", "lynx", "wget", "xh"}

_DISK = re.compile(r"/dev/(sd|hd|vd|xvd|nvme|mmcblk|disk|loop|dm-|mapper/)")
_RECURSIVE = re.compile(r"-\w*[rR]\w*|--r\w*")


def is_destructive(command: str) -> bool:
    """Never raises."""
    reading = read_command(command)
    if not reading.whole or {UNKNOWN_CODE, UNKNOWN_NAME}.intersection(reading.doubts):
        return True
    return _runs_a_download(reading) or any(map(_is_destructive, reading.commands))


def _runs_a_download(reading: Reading) -> bool:
    code = any("code" in doubt for doubt in reading.doubts)
    return code and any(simple.program in DOWNLOADS for simple in reading.commands)


def _is_destructive(simple: Simple) -> bool:
    if any(map(_DISK.match, simple.writes)):
        return True
    return any(words and _destroys(words) for words in (simple.words, *simple.tails()))


def _destroys(words: tuple[str, ...]) -> bool:
    program, arguments = words[0].rsplit("/", 1)[-1], words[1:]
    match program:
        case "rm" | "chmod" | "chown" | "chgrp":
            # A name that is not known comes from find or xargs: there are many of them.
            return any(map(_RECURSIVE.fullmatch, arguments)) or (program == "rm" and DYNAMIC in arguments)
        case "find":
            return "-delete" in arguments
        case "git":
            return _git_destroys(arguments)
        case _ if program in INFRASTRUCTURE:
            return not CHANGES.isdisjoint(arguments)
    return program in AS_OTHERS or program in DISK_TOOLS or program.startswith("mkfs")


def _git_destroys(arguments: tuple[str, ...]) -> bool:
    match arguments:
        case ("push", *_):
            return True
        case ("reset", *options):
            return any(option.startswith("--har") for option in options)
        case ("clean", *options):
            return not any(re.fullmatch(r"-\w*n\w*|--dry-run", option) for option in options)
    return False
