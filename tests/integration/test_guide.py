# SPDX-License-Identifier: Apache-2.0
"""The guide's own Dockerfile and README block, word for word.

The text is taken from shared/guide.txt beside the checkout; the project holds no
copy of it. The small test installs Gradio alone. The full one, `make test-guide`,
is the guide's app with transformers and torch, and a tiny DistilBERT made here,
since it must work without a hub."""

import json
import random
import re
import shutil
import struct
import subprocess
from pathlib import Path

import gradio_client
import pytest
from conftest import ROOT

GUIDE = ROOT.parent / "shared/guide.txt"
MODEL = "distilbert/distilbert-base-uncased-finetuned-sst-2-english"


@pytest.fixture
def guide():
    if not GUIDE.exists():
        pytest.skip(f"no guide at {GUIDE}")
    return GUIDE.read_text()


def between(text, first, last):
    """The text from `first` to the end of `last`, both included."""
    start = text.index(first)
    return text[start:text.index(last, start) + len(last)] + "\n"


def dockerfile(guide):
    return between(guide, "FROM python:3.13-slim", '"--frozen", "python", "app.py"]')


def readme(guide):
    return between(guide, "---\ntitle:", "\n---")


def app(guide):
    """The guide's app. Its text has lost the indentation, which these lines get back."""
    text = between(guide, "import gradio as gr", "server_port=7860)")
    return re.sub(r"^(result =|return|# Spaces|demo\.launch)", r"    \1", text, flags=re.MULTILINE)


@pytest.mark.may_skip
def test_the_guides_texts_are_found(guide):
    assert dockerfile(guide).count("RUN ") == 3 and "USER user\n" in dockerfile(guide)
    assert "sdk: docker\napp_port: 7860\n" in readme(guide)
    assert "pipeline(" in app(guide)
    compile(app(guide), "app.py", "exec")


@pytest.mark.may_skip
def test_the_guides_dockerfile(running_space, guide, example):
    space_dir = example("sentiment")
    (space_dir / "Dockerfile").write_text(dockerfile(guide))
    (space_dir / "README.md").write_text(readme(guide))
    with running_space(space_dir, timeout=600) as space:
        assert space.url.startswith("http://localhost:78")
        client = gradio_client.Client(space.url, verbose=False)
        assert client.predict("I love it", api_name="/classify")["label"] == "glad"


@pytest.mark.may_skip
def test_the_guides_secret_step(spaceport, guide, make_space):
    """The guide's RUN with a secret mount, with a stand-in for the download."""
    step = between(guide, "RUN --mount=type=secret", "HF_TOKEN=$(cat /run/secrets/HF_TOKEN) \\")
    space = make_space("FROM busybox:latest\nUSER 1000\n" + step
                       + "sh -c 'test ${#HF_TOKEN} = 11'\n")
    env = {"HF_TOKEN": "guide-t0ken"}
    assert spaceport.build(space, "--secret", "id=HF_TOKEN", env=env).image
    spaceport.build(space, "--no-cache").failed(1, says=["Dockerfile:3"])


def tensor_shapes(size, inner, words):
    """Names and shapes of a DistilBERT for two classes, with one layer."""
    shapes = {"distilbert.embeddings.word_embeddings.weight": (words, size),
              "distilbert.embeddings.position_embeddings.weight": (64, size)}
    layer = "distilbert.transformer.layer.0."
    dense = {f"{layer}attention.{part}_lin": (size, size) for part in ("q", "k", "v", "out")}
    dense |= {f"{layer}ffn.lin1": (inner, size), f"{layer}ffn.lin2": (size, inner),
              "pre_classifier": (size, size), "classifier": (2, size)}
    norms = ["distilbert.embeddings.LayerNorm", layer + "sa_layer_norm",
             layer + "output_layer_norm"]
    for name, shape in dense.items():
        shapes |= {f"{name}.weight": shape, f"{name}.bias": shape[:1]}
    for name in norms:
        shapes |= {f"{name}.weight": (size,), f"{name}.bias": (size,)}
    return shapes


def write_model(snapshot):
    """A tiny DistilBERT with random weights, as the files of a hub's repository."""
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "i", "love", "hate", "it", "."]
    (snapshot / "vocab.txt").write_text("\n".join(words) + "\n")
    (snapshot / "tokenizer_config.json").write_text(json.dumps(
        {"do_lower_case": True, "tokenizer_class": "DistilBertTokenizer", "model_max_length": 64}))
    (snapshot / "config.json").write_text(json.dumps({
        "model_type": "distilbert", "architectures": ["DistilBertForSequenceClassification"],
        "dim": 16, "hidden_dim": 32, "n_heads": 2, "n_layers": 1, "vocab_size": len(words),
        "max_position_embeddings": 64, "id2label": {"0": "NEGATIVE", "1": "POSITIVE"},
        "label2id": {"NEGATIVE": 0, "POSITIVE": 1}}))
    numbers, header, data = random.Random(1), {"__metadata__": {"format": "pt"}}, b""
    for name, shape in tensor_shapes(16, 32, len(words)).items():
        count = shape[0] * (shape[1] if len(shape) > 1 else 1)
        values = struct.pack(f"<{count}f", *(numbers.gauss(0, 0.5) for _ in range(count)))
        header[name] = {"dtype": "F32", "shape": list(shape),
                        "data_offsets": [len(data), len(data) + len(values)]}
        data += values
    text = json.dumps(header).encode()
    (snapshot / "model.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + data)


def write_hub_cache(cache):
    """The model where huggingface_hub would have put it after a download."""
    repository = cache / ("models--" + MODEL.replace("/", "--"))
    # The revision that transformers asks for by name is main; pipelines may pin another.
    revision = "714eb0fa89d2f80546fda750413ed43d93601a13"
    snapshot = repository / "snapshots" / revision
    snapshot.mkdir(parents=True)
    (repository / "refs").mkdir()
    for name in ("main", revision[:7]):
        (repository / "refs" / name).write_text(revision)
    write_model(snapshot)


@pytest.mark.guide_full
@pytest.mark.timeout(5400)
def test_the_whole_guide(running_space, guide, make_space, account):
    space_dir = make_space(dockerfile(guide), {"app.py": app(guide), "pyproject.toml": (
        '[project]\nname = "my-space"\nversion = "0.1.0"\nrequires-python = ">=3.11"\n')},
        readme=readme(guide))
    uv = Path(shutil.which("uv") or ROOT / ".cache/tools/bin/uv")
    subprocess.run([uv, "add", "--no-sync", "gradio", "transformers[torch]"],
                   cwd=space_dir, check=True)
    write_hub_cache(space_dir / "hub")
    account.owns(space_dir)
    offline = ["-e", "HF_HUB_OFFLINE=1", "-e", "HF_HUB_CACHE=/home/user/app/hub"]
    with running_space(*offline, "--timeout", "15m", space_dir, timeout=5000) as space:
        client = gradio_client.Client(space.url, verbose=False)
        answer = client.predict("I love it.", api_name="/classify")
        assert answer["label"] in ("POSITIVE", "NEGATIVE")
