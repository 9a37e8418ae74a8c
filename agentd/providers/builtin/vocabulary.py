"""The words that questions are made of, and what is known of them without looking into a repository."""

from __future__ import annotations

# Words of a question that say nothing about where the answer is.
_STOP = """
a about actually after again algorithm all also always am an and another any anything are as asked asks at be
because become becomes been before being between both but by can cannot class classes code codebase could defined
describe did do does doing done down during each either else ever every everything exactly explain explanation few
find for from function functions gets getting give given gives go goes had happen happens has have having he her
here him his how i if implemented in instead into is it its itself just keep keeps kept kind let like list locate
look made make makes many may me mean means method methods might module more most much must my name named need needs
never no nor not now occurrence occurrences of off often on one only onto or other our out over overview own part
parts per please possible project put referenced related remaining repo repository right same say says see several
shall she should show so some somebody someone something still such summarise summarize summary take taken takes
tell than that the their them then there these they thing things this those through to together too two under until
up upon us usage usages use used uses using usually very via want was way we well were what whatever when where
whether which while who whole whom whose why will with within without work works would you your
"""
# Words that say a little: they are searched for, and count for less.
_VAGUE = """
add allow applied applies apply argument base based call called caller case change check decide decides define
determine determines different exist exists file files find finds first get handle handled handles implement
implements item last line lines long new number object package place program provide result return returns safe set
step support supports text turn turned type value values variable
"""
# Forms that do not begin as their base form does.
_IRREGULAR = """
began=begin broke=break broken=break built=build chosen=choose found=find held=hold hidden=hide kept=keep lost=lose
ran=run sent=send spawned=spawn spoken=speak thrown=throw told=tell written=write wrote=write
"""
# A word, and other words that programs have for the same.
_SYNONYMS = """
abort cancel terminate kill stop, argument parameter arg, asynchronous async, authenticate login auth credential
authentication login auth credential, begin start launch, bound limit max cap, cache memoize, character char
circle cycle circular loop, clone copy duplicate, combine merge join concat, command cmd, compare match equal
compress deflate, config setting option, configuration config setting, convert transform translate
corruption crc checksum damage, create make build, database db sql, decode parse, delete remove unlink erase discard
detect guess sniff, dictionary dict mapping, directory dir folder, environment environ env, error exception failure
escape quote, evict expire remove, execute run exec, expand substitute interpolate, file path, final terminal
find search lookup, garbage gc, image picture, language locale, limit max bound size, link symlink, lock mutex
message msg, normalize norm canonical, number count num, order sort priority, parse read decode, password passwd
pattern regex, permission access mode, receive recv read, reference ref, regular regex, relative join resolve
remove delete discard pop, request req, response resp, retry backoff, send write emit, shell sh, size length len bytes
startup boot init, state status, string str, temporary temp tmp, terminate finish end, thread worker, timezone tz
token credential, verify check, wait block, worker thread, write dump encode
"""
# Written apart, or with a hyphen, by people and together by programs.
_COMPOUNDS = """
start-up shut-down set-up clean-up look-up back-up log-in log-out time-out time-zone time-stamp roll-back call-back
white-list black-list name-space place-holder end-point data-base meta-data sub-process file-name path-name
user-name host-name key-word check-sum check-point stack-trace read-only multi-part new-line white-space work-space
work-flow
"""

STOP = frozenset(_STOP.split())
VAGUE = frozenset(_VAGUE.split())
IRREGULAR = dict(pair.split("=") for pair in _IRREGULAR.split())
SYNONYMS = [(word, others) for word, *others in map(str.split, _SYNONYMS.strip().replace("\n", ",").split(","))]
COMPOUNDS = "|".join(pair.replace("-", "[ -]") for pair in _COMPOUNDS.split())  # as a regular expression
