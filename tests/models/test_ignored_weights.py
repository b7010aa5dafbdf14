"""Every weight that a family leaves unread stays outside its encoder, and no other is unread.

Our own loader drops what is on a list, so that changing it cannot move anything here. Three proofs
stand together: the lists hold only prefixes with a proof (`PROOF`); changing what is on a list
moves no query, key or output, and changing anything else moves one; and the authors'
own classes say that heads are heads (fixtures made by them with random heads, which the families'
parity tests reproduce without the heads; transformers, run here).
"""

from __future__ import annotations

import importlib
import pkgutil
import re
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from octoscope import models
from octoscope.demo.demo import data
from octoscope.errors import InputError
from octoscope.models import (
    aidocell,
    geneformer,
    nicheformer_file,
    scfoundation_file,
    scgpt_file,
    scprint2_file,
    scprint_file,
)
from octoscope.models import weights as reading
from safetensors.torch import load_file, save_file

from tests.models.parity import DATA, states

DEMO = data("checkpoints")
State = dict[str, torch.Tensor]

LISTS: Mapping[str, tuple[str, ...]] = {
    "scgpt": scgpt_file.HEADS,
    "scprint": scprint_file.HEADS,
    "scprint2": scprint2_file.HEADS,
    "aidocell": aidocell.HEADS,
    "scfoundation": scfoundation_file.DECODER,
    "geneformer": geneformer.HEADS,
    "nicheformer": nicheformer_file.HEADS,
}
# "fixture": in tests/data with random values, and the dump beside it is the authors' code's.
# "class": changed in the authors' class, which runs in this module.
# "once": changed once in the authors' class (the package is no dependency of the tests).
# "source": where the authors' source uses it.
_SCGPT = "once: scgpt 0.2.4 TransformerModel._encode, each tensor changed, output equal to the bit"
_MVC = "source: scprint 2.3.8 model.py 648-654, called with the transformer's output"
_TASK = "source: modelgenerator tasks.py, called with backbone(...).last_hidden_state"
PROOF: Mapping[str, Mapping[str, str]] = {
    "scgpt": {
        "flag_encoder.": "fixture",
        "decoder.": "fixture",
        "mvc_decoder.": "fixture",
        "cls_decoder.": _SCGPT,
        "grad_reverse_discriminator.": _SCGPT,
        "batch_encoder.": _SCGPT,
        "mod_encoder.": "source: scgpt multiomic_model.py forward, joined to the layers' output",
    },
    "scprint": {
        "expr_decoder.fc.": "fixture",
        "expr_decoder.pred_var_zero.": "fixture",
        "cls_decoders.": "fixture",
        "grad_reverse_discriminator_loss.": "fixture",
        "mvc_decoder.gene2query.": "fixture",
        "mvc_decoder.norm.": "fixture",
        "mvc_decoder.pred_var_zero.": "fixture",
        "mvc_decoder.fc1.": _MVC,
        "mvc_decoder.fc2.": _MVC,
        "bottleneck_mlps.": "source: scprint 2.3.8 model.py 622-632, on the transformer's output",
    },
    "scprint2": {
        "expr_decoder.": "fixture",
        "splicing_head.": "source: scprint2 1.0.3 model.py 1135, on the transformer's output",
        "cls_decoders.": "fixture",
        "adv_assay_decoder.": "source: scprint2 1.0.3 model.py 2104, on the cells' output",
        "adv_organism_decoder.": "source: scprint2 1.0.3 model.py 2110, on the cells' output",
        "compressor.": "fixture",
        "cell_transformer.": "fixture",
        "cross_attention.": "fixture",
        "expr_encoder.neighbors_layers.": "fixture",
        "mvc_decoder.": "source: scprint2 1.0.3 model.py 1235, called with the cells' output",
        "grad_reverse_discriminator_loss.": "source: scprint2 1.0.3 model.py 770, dropped on load",
    },
    "aidocell": {
        "cls.predictions.transform.": "fixture",
        "cls.predictions.decoder.": "fixture",
        "cls.predictions.bias": "fixture",
        "adapter.": _TASK,
        "classifier.": "source: aido.cell finetune.py, called with the pooled last_hidden_state",
    },
    "scfoundation": {
        "decoder_embed.": "fixture",
        "decoder.performer.": "fixture",
        "decoder.norm.": "fixture",
        "norm.": "fixture",
        "to_final.": "fixture",
    },
    "geneformer": {
        "cls.predictions.bias": "class",
        "cls.predictions.transform.": "class",
        "cls.predictions.decoder.": "class",
        "pooler.dense.": "class",
        "cls.seq_relationship.": "class",
        "classifier.": "class",
        "classification_heads.": "class",
        "attention_pool.": "class",
        "attention_layer.": "class",
        "adapter.": _TASK,
    },
    "nicheformer": {
        "classifier_head.": "fixture",
        "encoder_layer.": "fixture",
        "pooler_head.": "source: nicheformer _fine_tune_model.py 143-145, on the encoder's output",
        "cls_head.": "source: nicheformer _nicheformer.py 131, made and used by no forward pass",
    },
}
BUFFERS = {"pos"}  # not read, and refused where they are not what the code makes
_RENAMED: Mapping[str, Callable[[str], str]] = {
    "scgpt": scgpt_file.own_name,
    "scprint": lambda n: n,
    "scprint2": lambda n: scprint2_file.own_name(n, True),
    "scprint2 tokens": lambda n: n,
    "aidocell": lambda n: n.removeprefix("bert."),
    "scfoundation": lambda n: n.split("model.", 1)[-1],
    "geneformer": geneformer._current,
    "nicheformer": lambda n: n.removeprefix("nicheformer."),
}
CASES = {
    "scgpt": (DATA / "scgpt/checkpoint", {}),
    "scgpt demo": (DEMO / "scgpt-demo", {}),
    "scprint": (DATA / "scprint/checkpoint", {"context": "some"}),
    "scprint demo": (DEMO / "scprint-demo", {"context": "some"}),
    "scprint2": (DATA / "scprint2/checkpoint", {"context": "some"}),
    "scprint2 tokens": (DATA / "scprint2/tokens/checkpoint", {"context": "some"}),
    "aidocell": (DATA / "aidocell/checkpoint", {"context": "shared"}),
    "aidocell bias": (DATA / "aidocell/checkpoint_bias", {"context": "shared"}),
    "aidocell demo": (DEMO / "aidocell-demo", {"context": "shared"}),
    "scfoundation": (DATA / "scfoundation/checkpoint", {}),
    "scfoundation cell": (DATA / "scfoundation/checkpoint", {"section": "cell"}),
    "scfoundation demo": (DEMO / "scfoundation-demo", {}),
    "geneformer": (DATA / "geneformer/checkpoint", {}),
    "geneformer V1": (DATA / "geneformer/v1/checkpoint", {}),
    "geneformer demo": (DEMO / "geneformer-demo", {}),
    "nicheformer": (
        DATA / "nicheformer/checkpoint",
        {
            "species": "human",
            "assay": "CosMx",
            "modality": "spatial",
            "technology_mean": str(DATA / "nicheformer/technology_mean.npy"),
        },
    ),
}


class Changer:
    """Stands between a file's tensors and the family: notes their names, changes the named ones."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.names: list[str] = []
        self.change: set[str] = set()
        self.to_nan = False
        whole = reading.tensors_of

        def changed(path: Path, state: Any, **given: Any) -> State:
            weights = whole(path, state, **given)
            self.names = list(weights)
            rng = torch.Generator().manual_seed(1)
            for name in self.change:
                old = weights[name]
                if self.to_nan and old.is_floating_point():
                    weights[name] = torch.full_like(old, torch.nan)
                elif old.is_floating_point():
                    weights[name] = old + torch.randn(old.shape, generator=rng).to(old)
                else:
                    weights[name] = old + 1
            return weights

        monkeypatch.setattr(reading, "tensors_of", changed)
        monkeypatch.setattr(scfoundation_file, "tensors_of", changed)


def test_every_list_of_the_package_is_here() -> None:
    """Red: a family whose list of heads this module does not ask about."""
    modules = [
        importlib.import_module(m.name)
        for m in pkgutil.walk_packages(models.__path__, "octoscope.models.")
    ]
    lists = {getattr(m, n) for m in modules for n in ("HEADS", "DECODER") if hasattr(m, n)}
    assert lists == set(LISTS.values())
    takers = {m.__name__ for m in modules if "take_strict" in vars(m)}
    owners = {m.__name__ for m in modules if hasattr(m, "HEADS") or hasattr(m, "DECODER")}
    strict = {"octoscope.models.weights", "octoscope.models.scgpt_batch_norm"}  # ignore nothing
    assert takers - strict <= owners


@pytest.mark.parametrize("family", LISTS)
def test_every_prefix_on_a_list_has_a_proof(family: str) -> None:
    """Red: a prefix is added to a list without a proof (as `dsbn.` was), or none needs it."""
    assert set(PROOF[family]) == set(LISTS[family])


@pytest.mark.parametrize("case", CASES)
def test_only_listed_weights_are_without_effect(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Red: an encoder's weight is on a list (`encoder.enc_norm.`), or is read and not used."""
    path, options = CASES[case]
    family = case.split()[0]
    changer = Changer(monkeypatch)
    before = states(path, options)
    named = {n: _RENAMED.get(case, _RENAMED[family])(n) for n in changer.names}
    listed = {n for n, ours in named.items() if ours.startswith(LISTS[family])}
    changer.change = listed
    assert all(torch.equal(a, b) for a, b in zip(before, states(path, options), strict=True))
    if "demo" not in case:
        assert listed
        changer.to_nan = True  # of a head of one's own whose training diverged
        with pytest.warns(UserWarning, match="outside the encoder and left unread"):
            after = states(path, options)
        assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))
        changer.to_nan = False
    for name in sorted(set(named) - listed):
        layer = re.search(r"(?:layers?|blocks|transformer_encoder)\.(\d+)\.", name)
        if layer and layer[1] != "0":
            continue  # alike in every layer
        changer.change = {name}
        if named[name] in BUFFERS:
            with pytest.raises(InputError, match=named[name]):
                states(path, options)
            continue
        after = states(path, options)
        moved = max(float((a - b).abs().max()) for a, b in zip(before, after, strict=True))
        assert moved > 1e-4, name  # more than rounding


def _fixture_weights(family: str) -> State:
    if family in ("geneformer", "nicheformer"):
        return load_file(DATA / family / "checkpoint/model.safetensors")
    file = {
        "scgpt": "best_model.pt",
        "scprint": "model.ckpt",
        "scprint2": "model.ckpt",
        "aidocell": "pytorch_model.bin",
        "scfoundation": "models.ckpt",
    }[family]
    whole = torch.load(DATA / family / "checkpoint" / file, weights_only=True)
    whole = whole["gene"] if family == "scfoundation" else whole
    state: State = whole.get("state_dict", whole)
    return state


@pytest.mark.parametrize("family", [f for f in LISTS if "fixture" in PROOF[f].values()])
def test_fixtures_of_the_authors_hold_the_heads_that_they_prove(family: str) -> None:
    """Red: a fixture whose head is absent or zero proves nothing about it."""
    state = {_RENAMED[family](n): v for n, v in _fixture_weights(family).items()}
    for prefix, proof in PROOF[family].items():
        hits = [v.float() for n, v in state.items() if n.startswith(prefix)]
        assert (proof != "fixture") or any(v.abs().max() > 1e-3 for v in hits), prefix


@pytest.mark.parametrize(
    ("kind", "prefixes"),
    [
        ("BertForPreTraining", ("cls.", "bert.pooler.")),
        ("BertForSequenceClassification", ("classifier.", "bert.pooler.")),
        ("BertForTokenClassification", ("classifier.",)),
    ],
)
def test_geneformers_heads_stay_outside_the_authors_class(
    tmp_path: Path, kind: str, prefixes: tuple[str, ...]
) -> None:
    """Red: a head that acts before or in the encoder (tried: `bert.encoder.` as a head)."""
    import transformers

    torch.manual_seed(0)
    config = transformers.BertConfig(
        vocab_size=20, hidden_size=16, num_hidden_layers=2, num_attention_heads=2,
        intermediate_size=24, max_position_embeddings=12, num_labels=3,
    )  # fmt: skip
    family = getattr(transformers, kind)
    family(config).save_pretrained(tmp_path / "a")
    state = load_file(tmp_path / "a/model.safetensors")
    embedding = state["bert.embeddings.word_embeddings.weight"]
    if kind == "BertForPreTraining":  # files may hold the tied decoder
        state["cls.predictions.decoder.weight"] = embedding + 1
        state["cls.predictions.decoder.bias"] = torch.ones(20)
    changed = {n: v + 1 if n.startswith(prefixes) else v for n, v in state.items()}
    assert sum(n.startswith(prefixes) for n in state) >= 2
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    save_file(changed, tmp_path / "b/model.safetensors", metadata={"format": "pt"})
    ids = torch.arange(1, 11)[None]
    seen = []
    for folder in ("a", "b"):
        model = family.from_pretrained(tmp_path / folder).eval()
        with torch.no_grad():
            seen.append(model(input_ids=ids, output_hidden_states=True).hidden_states)
    assert all(torch.equal(a, b) for a, b in zip(*seen, strict=True))
    for name in changed:  # and each of these is one that Geneformer's list names
        ours = geneformer._current(name)
        assert ours.startswith(geneformer.HEADS) == name.startswith(prefixes), name


class MultiTask(torch.nn.Module):
    """As geneformer/mtl/model.py: pooling and heads over the last hidden state of ``bert``."""

    def __init__(self, config: Any, pool: str) -> None:
        import transformers

        super().__init__()
        self.bert, self.pool = transformers.BertModel(config), pool
        attention = torch.nn.Module()
        attention.attention_weights = torch.nn.Parameter(torch.randn(16, 1))
        self.add_module(pool, attention)
        self.classification_heads = torch.nn.ModuleList(torch.nn.Linear(16, n) for n in (3, 2))

    def forward(self, ids: torch.Tensor) -> tuple[torch.Tensor, ...]:
        hidden = self.bert(input_ids=ids, output_hidden_states=True)
        last = hidden.last_hidden_state
        share = torch.softmax(last @ getattr(self, self.pool).attention_weights, dim=1)
        for head in self.classification_heads:
            head((last * share).sum(dim=1))
        return tuple(hidden.hidden_states)


@pytest.mark.parametrize("pool", ["attention_pool", "attention_layer"])
def test_multi_task_heads_stay_outside_geneformers_encoder(pool: str) -> None:
    """Red: a head of the multi-task class that moves a hidden state."""
    import transformers

    torch.manual_seed(0)
    model = MultiTask(
        transformers.BertConfig(
            vocab_size=20, hidden_size=16, num_hidden_layers=2, num_attention_heads=2,
            intermediate_size=24, max_position_embeddings=12,
        ),
        pool,
    ).eval()  # fmt: skip
    ids = torch.arange(1, 11)[None]
    with torch.no_grad():
        before = model(ids)
        heads = [n for n, _ in model.named_parameters() if not n.startswith("bert.")]
        assert len(heads) == 5
        for name, weight in model.named_parameters():
            assert geneformer._current(name).startswith(geneformer.HEADS) == (
                name in heads or name.startswith("bert.pooler.")
            ), name
            if name in heads:
                weight += 1
        assert all(torch.equal(a, b) for a, b in zip(before, model(ids), strict=True))
