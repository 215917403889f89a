"""The engine as programs embed it."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

from spir.embed import Engine
from spir.model.decision import Effect
from spir.model.request import Action, Entity, Request

POLICY = """\
spir: "1"
kind: PolicySet
name: wards
layer: institution
jurisdiction: cn/a
version: 1.0.0
policies:
  - {id: reads, effect: permit, operations: ["read:report"], when: subject.role == "nurse"}
  - {id: secret, effect: deny, operations: ["read:report"], when: resource.status == "secret"}
"""


def test_a_mapping_that_has_a_default_for_everything_still_lacks_what_it_does_not_hold(tmp_path: Path) -> None:
    (tmp_path / "wards.yaml").write_text(POLICY, "utf-8")
    engine = Engine.load(tmp_path, organization="cn/a")
    nurse = Entity("person", "n", {"role": "nurse"})
    status: defaultdict[str, str] = defaultdict(str)
    request = Request(nurse, Action("read"), Entity("report", "1", status))
    for _ in range(3):
        decision = engine.decide(request)
        assert decision.effect is Effect.DENY
        assert [str(lack) for lack in decision.unknowns] == ["resource.status: missing"]
    assert not status
    status["status"] = "final"
    assert engine.decide(request).effect is Effect.PERMIT
