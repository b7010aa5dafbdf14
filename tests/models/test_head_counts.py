"""Heads share one weight: where only a settings file tells their number, it is confirmed."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from octoscope.errors import InputError, OctoscopeWarning
from octoscope.models.families import families, load_model
from octoscope.models.head_counts import heads_of

DATA = Path(__file__).parents[1] / "data"
UNCONFIRMED = "no weight tells the number of heads"
# family -> settings file, its field of heads, options that loading needs
FILES: dict[str, tuple[str, str, dict[str, Any]]] = {
    "scgpt": ("args.json", "nheads", {}),
    "geneformer": (
        "config.json",
        "num_attention_heads",
        {"dictionaries": str(DATA / "geneformer/dictionaries")},
    ),
    "aidocell": ("config.json", "num_attention_heads", {"context": "shared"}),
    "nicheformer": (
        "config.json",
        "nheads",
        {"species": "none", "assay": "none", "modality": "none", "technology_mean": "none"},
    ),
}


def changed(family: str, folder: Path, **values: Any) -> Path:
    """Copy a fixture with other values in its settings file."""
    copy = shutil.copytree(DATA / family / "checkpoint", folder / family)
    file = copy / FILES[family][0]
    file.write_text(json.dumps(json.loads(file.read_text()) | values))
    return copy


@pytest.mark.parametrize("family", ["scgpt", "nicheformer"])
def test_heads_of_a_size_that_is_not_published_are_warned_of(family: str, tmp_path: Path) -> None:
    name, field, options = FILES[family]
    checkpoint = changed(family, tmp_path, **{field: 2})  # the fixture has 4
    with pytest.warns(OctoscopeWarning, match=f"{name}: {field}: 2: {UNCONFIRMED}"):
        assert load_model(checkpoint, family=family, options=options).n_heads == 2


@pytest.mark.filterwarnings("error::octoscope.errors.OctoscopeWarning")
def test_workers_of_a_run_get_what_was_warned_of_as_options(tmp_path: Path) -> None:
    checkpoint = changed("scgpt", tmp_path, nheads=2, pad_value=0)
    with pytest.warns(OctoscopeWarning):
        model = load_model(checkpoint)
    settled = model.dataset_options(None, model.match(model.genes))
    assert settled == {"n_heads": 2, "pad_value": 0}
    assert load_model(checkpoint, options=settled).n_heads == 2
    geneformer = load_model(DATA / "geneformer/checkpoint", options=FILES["geneformer"][2])
    settled = geneformer.dataset_options(None, geneformer.match(geneformer.genes))
    assert settled == {"dictionaries": FILES["geneformer"][2]["dictionaries"]}  # a known size


@pytest.mark.parametrize("family", ["geneformer", "aidocell"])
def test_other_heads_than_a_known_size_has_are_refused(family: str, tmp_path: Path) -> None:
    name, field, options = FILES[family]
    checkpoint = changed(family, tmp_path, **{field: 2})  # the demonstration's size has 4
    with pytest.raises(InputError, match=rf"{name}: {field}: 2; .* has 4, .*options.n_heads"):
        load_model(checkpoint, family=family, options=options)


@pytest.mark.parametrize("family", FILES)
@pytest.mark.filterwarnings("error::octoscope.errors.OctoscopeWarning")
def test_declared_heads_stand_for_those_of_the_file(family: str, tmp_path: Path) -> None:
    _, field, options = FILES[family]
    checkpoint = changed(family, tmp_path, **{field: 2})
    model = load_model(checkpoint, family=family, options=options | {"n_heads": 4})
    right = load_model(
        DATA / family / "checkpoint", family=family, options=options | {"n_heads": 4}
    )
    torch.manual_seed(0)
    residual = torch.randn(2, 5, right.d)
    mask = torch.ones(2, 5, dtype=torch.bool)
    ours, expected = (m.layer(0, residual, mask)[1] for m in (model, right))
    assert model.n_heads == 4
    assert torch.equal(ours, expected)
    with pytest.raises(InputError, match="n_heads: 3 do not divide d"):
        load_model(checkpoint, family=family, options=options | {"n_heads": 3})


@pytest.mark.filterwarnings("error::octoscope.errors.OctoscopeWarning")
def test_published_sizes_need_no_option_and_other_heads_are_refused() -> None:
    sizes = [
        (name, int(v.n_layers), int(v.d), int(v.n_heads))
        for name, family in families().items()
        if name in FILES
        for v in family.variants
        if v.n_layers.isdigit()
    ]
    assert {name for name, *_ in sizes} == set(FILES)
    for name, n_layers, d, heads in sizes:
        assert heads_of(name, n_layers, d, heads, None, where="config.json: heads") == heads
        with pytest.raises(InputError, match=f"config.json: heads: 1; the published .* {heads},"):
            heads_of(name, n_layers, d, 1, None, where="config.json: heads")
        assert heads_of(name, n_layers, d, 1, 2, where="config.json: heads") == 2


def test_another_value_of_padding_is_said(tmp_path: Path) -> None:
    checkpoint = changed("scgpt", tmp_path, pad_value=0)
    with pytest.warns(OctoscopeWarning, match=r"args.json: pad_value: 0; published models have -2"):
        assert load_model(checkpoint).options["pad_value"] == 0


@pytest.mark.filterwarnings("error:.*pad_value:octoscope.errors.OctoscopeWarning")
def test_a_declared_value_of_padding_is_not_warned_of(tmp_path: Path) -> None:
    checkpoint = changed("scgpt", tmp_path, pad_value=0)
    assert load_model(checkpoint, options={"pad_value": 0}).options["pad_value"] == 0
