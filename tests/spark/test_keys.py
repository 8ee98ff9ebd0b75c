"""Where a Spark job gets its keys: from the agent that started the program, before any workspace."""

from __future__ import annotations

from pathlib import Path
from uuid import uuid4

import pytest

from redoubt.agent.client import EndpointClient
from redoubt.agent.endpoint import KeyEndpoint
from redoubt.errors import EndpointError, WorkspaceMissing
from redoubt.keys.types import WrapContext
from redoubt.keys.workspace import Workspace
from redoubt.spark import job


def test_a_job_in_an_attested_program_uses_the_agents_endpoint(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # no workspace here
    monkeypatch.delenv("REDOUBT_ENDPOINT", raising=False)
    with pytest.raises(WorkspaceMissing):
        job()
    with KeyEndpoint(workspace) as endpoint:
        monkeypatch.setenv("REDOUBT_ENDPOINT", str(endpoint.folder))
        with job() as running:
            context = WrapContext(uuid4(), uuid4())
            key, wrapped = EndpointClient(running.endpoint).new_data_key(None, context)
            assert workspace.unwrap([wrapped])[0].secret == key.secret
    with pytest.raises(EndpointError), job() as running:
        EndpointClient(running.endpoint).new_data_key(None, context)
