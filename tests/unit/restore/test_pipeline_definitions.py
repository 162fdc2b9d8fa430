"""Pipeline definitions as a vault has them, whatever they are."""

from __future__ import annotations

import pytest

from pachvault.errors import CorruptError
from pachvault.format.ids import RepoName
from pachvault.format.records import Pipeline
from pachvault.restore import pipeline_definitions


def pipeline(name: str, *inputs: str, **changes: object) -> Pipeline:
    details: dict[str, object] = {"input": {"cross": [{"pfs": {"repo": repo}} for repo in inputs]}}
    definition = Pipeline(project="p", name=name, version=1, stopped=False, spec_json="{}", details=details)
    return definition.model_copy(update=changes)


def in_order(*known: Pipeline) -> list[str]:
    return [
        name.repo
        for name in pipeline_definitions._topological(
            {RepoName("p", pipeline_known.name): pipeline_known for pipeline_known in known}
        )
    ]


def test_each_comes_after_those_that_it_reads_from() -> None:
    assert in_order(pipeline("a", "c", "b"), pipeline("b", "data"), pipeline("c", "b")) == ["b", "c", "a"]


def test_long_chains_and_circles_come_to_an_end() -> None:
    chain = [pipeline(f"x{number}", f"x{number + 1}") for number in range(5000)]
    assert in_order(*chain)[0] == "x4999"
    assert sorted(in_order(pipeline("a", "b"), pipeline("b", "a"))) == ["a", "b"]


@pytest.mark.parametrize("spec", ["", "[]", "null", "{", "[" * 100_000])
def test_a_spec_that_is_no_object_is_damage_of_that_pipeline(spec: str) -> None:
    with pytest.raises(CorruptError, match="the definition of pipeline p/x is no JSON object"):
        pipeline_definitions._plan(pipeline("x", spec_json=spec))


@pytest.mark.parametrize(
    "details", [{}, {"input": 5}, {"input": {"cross": 5}, "transform": {"secrets": [{}, 5]}}]
)
def test_details_of_another_form_say_nothing(details: dict[str, object]) -> None:
    odd = pipeline("x", details=details)
    assert list(pipeline_definitions._inputs(odd)) == []
    assert pipeline_definitions._secrets(odd) == set()
