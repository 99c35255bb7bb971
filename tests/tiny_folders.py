"""Tiny models with random weights, saved by their own libraries, and tiny videos and pictures to show them."""

import json
from fractions import Fraction
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from nclbench.models import libraries

WORDS = ["a", "b", "dog", "cat", "man", "runs", "eats", "red", "the", "is"]


def clip_tokenizer(folder: Path) -> None:
    """The files of a CLIP tokenizer that knows bytes and a few words."""
    letters = [chr(code) for code in range(97, 123)]
    merges: list[str] = []
    vocab = letters + [f"{letter}</w>" for letter in letters]
    for word in WORDS:
        pieces = [*word[:-1], f"{word[-1]}</w>"]
        while len(pieces) > 1:
            pair = f"{pieces[0]} {pieces[1]}"
            if pair not in merges:
                merges.append(pair)
                vocab.append(pieces[0] + pieces[1])
            pieces = [pieces[0] + pieces[1], *pieces[2:]]
    vocab += ["<|startoftext|>", "<|endoftext|>"]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.json").write_text(json.dumps({token: at for at, token in enumerate(dict.fromkeys(vocab))}))
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *merges]) + "\n")


def clip(folder: Path, seed: int = 0, **saving: object) -> Path:
    """A folder with a CLIPModel, its tokenizer and its preprocessing."""
    library = libraries.transformers()
    clip_tokenizer(folder)
    tokens = library.CLIPTokenizer(str(folder / "vocab.json"), str(folder / "merges.txt"))
    size = len(tokens)
    text = {
        "vocab_size": size, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4,
        "max_position_embeddings": 20, "projection_dim": 24, "bos_token_id": tokens.bos_token_id,
        "eos_token_id": tokens.eos_token_id, "pad_token_id": tokens.pad_token_id,
    }  # fmt: skip
    vision = {
        "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4, "image_size": 32,
        "patch_size": 8, "projection_dim": 24,
    }  # fmt: skip
    torch.manual_seed(seed)
    config = library.CLIPConfig(text_config=text, vision_config=vision, projection_dim=24)
    library.CLIPModel(config).save_pretrained(folder, **saving)
    tokens.save_pretrained(folder)
    library.CLIPImageProcessor(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}).save_pretrained(folder)
    return folder


def bert(folder: Path, seed: int = 0) -> Path:
    """A folder with a BertModel and its tokenizer."""
    library = libraries.transformers()
    folder.mkdir(parents=True, exist_ok=True)
    vocab = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS]
    (folder / "vocab.txt").write_text("\n".join(vocab) + "\n")
    torch.manual_seed(seed)
    config = library.BertConfig(
        vocab_size=len(vocab), hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=24,
        max_position_embeddings=16,
    )  # fmt: skip
    library.BertModel(config).save_pretrained(folder)
    library.BertTokenizer(vocab={word: at for at, word in enumerate(vocab)}, model_max_length=16).save_pretrained(folder)
    return folder


def sentence_folder(folder: Path, mode: str = "mean", unit: bool = True, seed: int = 0) -> Path:
    """The same as a folder of sentence-transformers."""
    bert(folder, seed)
    steps = ["Transformer", "Pooling"] + ["Normalize"] * unit
    places = ["", "1_Pooling", "2_Normalize"]
    (folder / "modules.json").write_text(
        json.dumps(
            [
                {"idx": at, "name": str(at), "path": places[at], "type": f"sentence_transformers.models.{name}"}
                for at, name in enumerate(steps)
            ]
        )
    )
    (folder / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": 10, "do_lower_case": False}))
    keys = {"cls": "cls_token", "max": "max_tokens", "mean": "mean_tokens", "mean_sqrt_len_tokens": "mean_sqrt_len_tokens"}
    pooling = {f"pooling_mode_{name}": key == mode for key, name in keys.items()}
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text(json.dumps({"word_embedding_dimension": 16} | pooling))
    (folder / "2_Normalize").mkdir()
    return folder


def frame(seed: int, at: int, size: tuple[int, int] = (48, 40)) -> Image.Image:
    """Smooth colours that differ from video to video and from frame to frame; (width, height)."""
    rng = np.random.default_rng(1000 * seed + at)
    small = Image.fromarray(rng.integers(0, 255, (5, 6, 3), dtype=np.uint8))
    return small.resize(size, Image.Resampling.BICUBIC)


def video(path: Path, frames: int = 30, rate: int = 10, seed: int = 0, codec: str = "mpeg4") -> Path:
    """A real video file."""
    import av

    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as out:
        stream = out.add_stream(codec, rate=Fraction(rate))
        stream.width, stream.height, stream.pix_fmt = 48, 40, "yuv420p"
        for at in range(frames):
            for packet in stream.encode(av.VideoFrame.from_image(frame(seed, at))):
                out.mux(packet)
        for packet in stream.encode():
            out.mux(packet)
    return path
