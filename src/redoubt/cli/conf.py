"""``redoubt conf``: the Spark configuration of submitted programs, and why each setting is there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from redoubt.cli.session import Session, command, group
from redoubt.cli.submit import AllowOption, settings_of, with_spark_options
from redoubt.errors import UsageError

if TYPE_CHECKING:
    from redoubt.spark.conf import Setting
    from redoubt.spark.submission import Configuration

app = group("Show the Spark configuration that `redoubt submit` gives a program, and explain it.")


def show(session: Session, *, allow: AllowOption = None, **given: Any) -> None:
    """Print the whole configuration of a program, with the options that `redoubt submit` would get."""
    made = _configuration(session, given, allow)
    rows = [(str(it.group), it.key, made.conf[it.key], it.reason) for it in _ordered(made) if it.key in made.conf]
    ours = {it.key for it in made.settings}
    rows += [("yours", key, value, "") for key, value in sorted(made.conf.items()) if key not in ours]
    rows += [("yours", key, value, "copied and measured") for key, value in sorted(made.files.items())]
    session.output.table(
        {
            "conf": {key: value for _, key, value, _ in rows},
            "settings": [
                {"group": group, "key": key, "value": value, "reason": why} for group, key, value, why in rows
            ],
            "notices": list(made.notices),
        },
        columns=("group", "key", "value", "reason"),
        rows=rows,
    )


command(app, example="redoubt conf show --master 'local[2]' --conf spark.executor.memory=4g")(with_spark_options(show))


@command(app, example="redoubt conf explain spark.network.timeout")
def explain(
    session: Session,
    key: Annotated[str | None, typer.Argument(metavar="KEY", help="The setting (default: all).")] = None,
) -> None:
    """Say why a setting is there, and which values of your own are accepted."""
    from redoubt.spark.conf_legacy import LEGACY
    from redoubt.spark.conf_program import REFUSED
    from redoubt.spark.submission import configuration

    rows = [
        {"key": it.key, "group": str(it.group), "value": it.value, "reason": it.reason, "yours": _accepted(it)}
        for it in _ordered(configuration({}))
        if key in (None, it.key)
    ]
    rows += [
        {"key": f"{it.prefix}*", "group": "refused", "value": "", "reason": it.reason, "yours": "none"}
        for it in REFUSED
        if key is None or key.startswith(it.prefix)
    ]
    raised = [{"key": it.key, "values": it.values, "instead": it.instead} for it in LEGACY if key in (None, it.key)]
    if not rows and not raised:
        raise UsageError(f"Redoubt does not set {key}", hint="See `redoubt conf explain` for all that it sets.")
    data = {"settings": rows, "legacy": raised}
    blocks = [f"{it['key']} = {it['value']}\n  {it['group']}: {it['reason']}\n  yours: {it['yours']}" for it in rows]
    blocks += [f"{it['key']} = {it['values']}\n  of older instructions: raised to {it['instead']}" for it in raised]
    session.output.result(data, text="\n".join(blocks))


def _configuration(session: Session, given: dict[str, Any], allow: list[str] | None) -> Configuration:
    from redoubt.spark.submission import configuration

    made = configuration(settings_of(given), allow=frozenset(allow or ()))
    for notice in made.notices:
        session.output.say(notice)
    return made


def _ordered(made: Configuration) -> list[Setting]:
    from redoubt.spark.conf import Group

    groups = list(Group)
    return sorted(made.settings, key=lambda it: groups.index(it.group))


def _accepted(setting: Setting) -> str:
    return f"{setting.compare} ({setting.bound})" if setting.bound else str(setting.compare)
