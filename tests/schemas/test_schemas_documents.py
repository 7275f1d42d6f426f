"""Contracts of JSON files: what they let through, and what they say of the rest."""

import dataclasses
import json
from typing import Any

import pytest

from schemas.contract import ContractError
from schemas.document import Document, Field
from schemas.model import MODEL
from schemas.reference import REFERENCE
from schemas.registry import CONTRACTS
from schemas.run import RUN, Receipt, RunRecord
from schemas.status import STATUS
from schemas.training import TRAINING

RECIPE = Document(
    name="recipe",
    noun="recipe",
    version=2,
    readable=(1,),
    description="recipe.json",
    remedy="Cook it again.",
    fields=(
        Field(name="dish", type="string", description="what it is", choices=("soup", "cake")),
        Field(name="minutes", type="integer", description="time", minimum=0, maximum=1000),
        Field(name="share", type="number", description="of the pot", minimum=0, maximum=1, exclusive=True, optional=True),
        Field(name="spices", type="strings", description="by name", nullable=True),
        Field(
            name="oven",
            type="object",
            description="how it is heated",
            optional=True,
            fields=(Field(name="hot", type="boolean", description="whether it is on"),),
        ),
        Field(
            name="steps",
            type="objects",
            description="what to do",
            optional=True,
            fields=(Field(name="verb", type="string", description="what"),),
        ),
    ),
)
GOOD: dict[str, Any] = {"dish": "soup", "minutes": 20, "spices": ["salt"], "share": 0.5, "oven": {"hot": True, "rack": 2}}


def test_what_is_written_is_read_and_looks_the_same_every_time() -> None:
    text = RECIPE.to_json(GOOD)
    assert RECIPE.parse(text.encode(), "r.json") == {**GOOD, "version": 2}
    assert text == RECIPE.to_json(dict(reversed(GOOD.items())))
    assert text.endswith("}\n") and '"version": 2' in text


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"dish": "pie"}, 'dish is "pie", expected soup or cake'),
        ({"minutes": "20"}, 'minutes is "20", expected a whole number from 0 to 1,000'),
        ({"minutes": True}, "minutes is true, expected a whole number"),
        ({"minutes": 1001}, "minutes is 1001, expected"),
        ({"minutes": 2.0}, "minutes is 2.0, expected a whole number"),
        ({"minutes": 10**60}, "minutes is 1" + "0" * 38 + "…, expected"),
        ({"share": 1.0}, "share is 1.0, expected a number between 0 and 1"),
        ({"share": float("nan")}, "share is NaN, expected a number"),
        ({"spices": ["salt", 3]}, 'spices is ["salt", 3], expected a list of strings or null'),
        ({"oven": {"hot": 1}}, "oven.hot is 1, expected a boolean"),
        ({"oven": {}}, "oven.hot is missing, expected a boolean"),
        ({"steps": {"verb": "stir"}}, 'steps is {"verb": "stir"}, expected a list of objects'),
        ({"steps": ["stir"]}, 'steps is ["stir"], expected a list of objects'),
        ({"steps": [{"verb": "stir"}, {"verb": 3}]}, "steps[1].verb is 3, expected a string"),
        ({"dish": None, "minutes": -1}, "dish is null, expected soup or cake; minutes is -1, expected"),
    ],
)
def test_a_wrong_field_is_named_with_what_is_allowed_and_what_to_do(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ContractError) as caught:
        RECIPE.check({**GOOD, **changes, "version": 2}, "kitchen/r.json")
    assert str(caught.value).startswith("kitchen/r.json is not a valid recipe: ")
    assert message in str(caught.value)
    assert str(caught.value).endswith("Cook it again.")


def test_what_may_be_absent_or_null_may_and_further_fields_too() -> None:
    found = {"version": 1, "dish": "cake", "minutes": 0, "spices": None, "guests": 4}
    assert RECIPE.check(found, "r.json") == found
    del found["spices"]
    with pytest.raises(ContractError, match="spices is missing, expected a list of strings or null"):
        RECIPE.check(found, "r.json")


@pytest.mark.parametrize("content", [b"{", b"[1]", b"7", b"\xff\xfe", b"[" * 200_000, b"{}", b'{"version": "2"}'])
def test_what_is_no_such_object_is_refused(content: bytes) -> None:
    with pytest.raises(ContractError, match=r"r\.json is not a recipe: "):
        RECIPE.parse(content, "r.json")


def test_a_newer_version_asks_for_a_newer_release_and_an_unknown_older_one_for_the_remedy() -> None:
    with pytest.raises(ContractError, match=r"version 3 of the recipe contract; this release reads 1, 2\. Upgrade"):
        RECIPE.check({**GOOD, "version": 3}, "r.json")
    with pytest.raises(ContractError, match=r"version 0 of the recipe contract; .* Cook it again\."):
        RECIPE.check({**GOOD, "version": 0}, "r.json")


def test_nothing_is_written_that_could_not_be_read() -> None:
    with pytest.raises(ContractError, match="the recipe that is to be written is not a valid recipe: dish is missing"):
        RECIPE.to_json({"minutes": 1, "spices": []})


def test_a_run_record_has_the_fields_of_its_contract() -> None:
    assert {field.name for field in dataclasses.fields(RunRecord)} | {"version"} == set(RUN.names)
    receipt = dataclasses.asdict(Receipt(run_id="1-x", command="x", seconds=0.5))
    record = RunRecord(
        run_id="1-x", command="x", started="a", finished="b", outcome="done", exit_code=0, config={}, receipt=receipt
    )
    assert RUN.parse(record.to_json().encode(), "1-x.json")["receipt"] == receipt


@pytest.mark.parametrize("contract", [MODEL, REFERENCE, TRAINING, RUN, STATUS])
def test_the_schema_command_lists_every_field(contract: Document) -> None:
    assert CONTRACTS[contract.name] is contract
    shown = json.loads(json.dumps(contract.to_dict()))
    top = [column["name"] for column in shown["columns"] if "." not in column["name"]]
    assert top == list(contract.names)
    assert all(column["description"] and column["type"] for column in shown["columns"])
