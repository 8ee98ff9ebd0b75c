"""Options of a JVM that an attested program may have: those that cannot load code which nothing measures.

An allow-list, since the launcher and HotSpot know many ways to name a file that holds code (agents, class paths, shared
archives, option files, compilers), and each release adds some. System properties are open but for those that move the
JDK's own files, or load code or configuration by themselves.
"""

from __future__ import annotations

import re
from typing import Final

from redoubt.errors import ProgramFailed

#: What stands for a folder of the agent in a program's descriptor; only the agent writes it.
MARK: Final = "{redoubt:"
#: Options of the launcher whose value may be the next word.
WITH_VALUE: Final = frozenset(
    {"--add-modules", "--add-reads", "--add-exports", "--add-opens", "--limit-modules", "--enable-native-access"}
)
_ALLOWED: Final = re.compile(
    r"-X(m[nsx]|ss)[0-9]+[kKmMgGtT]?"
    r"|-X(int|mixed|comp|batch|future|rs|internalversion|check:jni|share:(off|auto|on)|log(:[\w+,*=-]+)?)"
    r"|-XX:[+-](?!HeapDump)\w+"
    # A number may be the name of a file, too: -XX:VMOptionsFile=1 reads the options in ./1, agents included.
    r"|-XX:(?!\w*(File|Path|Archive|Flags|List|Options|Command|Only|OnError|OnOutOfMemoryError|HeapAt|AtExit|Lib|AOT"
    r"|Recording|Directives|Dir|Name))\w+=[0-9]+(\.[0-9]+)?[kKmMgGtT%]?"
    r"|-(ea|esa|da|dsa|enableassertions|disableassertions|enablesystemassertions|disablesystemassertions)(:[\w.$]*)?"
    r"|-(server|client)|-verbose(:\w+)?|--enable-preview"
    rf"|({'|'.join(sorted(WITH_VALUE))})(=[\w.,/=-]+)?"
    r"|-D[\w.$-]+(=.*)?",
    re.DOTALL,
)
_REFUSED_PROPERTY: Final = re.compile(
    r"-D(java\.(class\.path|library\.path|home|ext\.dirs|endorsed\.dirs|system\.class\.loader|security\..*"
    r"|util\.logging\.config\..*)|sun\.boot\..*|jdk\.(module|internal|attach)\..*|com\.sun\.management\..*"
    r"|log4j.*|logback.*|spark\..*|hadoop\..*|java\.rmi\.server\.codebase|jna\..*|org\.xerial\..*|library\..*"
    # Native libraries that jars bring along, and would take from elsewhere.
    r"|[\w.$-]*(?i:lib(rary)?[._]?(path|name|dir)|native[._]?(path|lib|dir))[\w.$-]*)(=.*)?",
    re.DOTALL,
)


def check_java_option(option: str) -> str:
    """Return *option* of a JVM if it is one of those that load no file; raises ProgramFailed."""
    refuse_mark(option)
    if not _ALLOWED.fullmatch(option) or _REFUSED_PROPERTY.fullmatch(option):
        raise ProgramFailed(
            f"the JVM option {option[:64]!r} loads code that nothing measures, or is not one that the agent knows",
            hint="Give Spark's settings with --conf and jars with --jars.",
        )
    return option


def refuse_mark(text: str) -> None:
    """Raise ProgramFailed if *text* holds what stands for a folder of the agent."""
    if MARK in text:
        raise ProgramFailed(f"a word of the program holds {MARK!r}, which only the agent writes")
