"""Hatchling's hook: every wheel contains the jar.

A wheel without it would install and then fail in Spark, so a wheel is not built where javac or pyspark is missing. An
editable install is different: the Python side alone needs neither, and ``redoubt.spark.jar`` says what to do.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class JarHook(BuildHookInterface):  # type: ignore[type-arg]
    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        program = Path(self.root) / "jvm" / "build.py"
        spec = importlib.util.spec_from_file_location("redoubt_jvm_build", program)
        assert spec is not None
        assert spec.loader is not None
        jvm_build = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(jvm_build)
        try:
            jar = jvm_build.build()
        except jvm_build.BuildError as error:
            if version != "editable":
                raise
            self.app.display_warning(f"Redoubt's jar was not built, Spark will not work: {error}")
        else:
            self.app.display_info(f"built {jar}")
