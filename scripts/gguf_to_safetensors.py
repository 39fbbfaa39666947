"""Turns a GGUF file into a folder that vLLM and transformers load.

    python scripts/gguf_to_safetensors.py FILE.gguf FOLDER

The folder gets the weights as bf16 safetensors, the tokenizer and the chat template. The weights
keep the precision that quantization left them. Needs torch, transformers 5, gguf and accelerate.
"""

import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer
from transformers.utils.quantization_config import GgufConfig


def convert(file: Path, folder: Path) -> None:
    """Write the folder as a whole or not at all."""
    source = {"pretrained_model_name_or_path": file.parent, "gguf_file": file.name}
    tokenizer = AutoTokenizer.from_pretrained(**source)
    model = AutoModelForCausalLM.from_pretrained(
        **source,
        dtype=torch.bfloat16,
        quantization_config=GgufConfig(gguf_file=file.name, dequantize=True),
    )
    # The weights are plain numbers by now, but transformers refuses to save what it believes to be
    # quantized.
    model.hf_quantizer = None
    model.config.__dict__.pop("quantization_config", None)
    # Beside its final place, so that the rename stays within one file system.
    with TemporaryDirectory(dir=folder.parent) as temporary:
        unfinished = Path(temporary) / folder.name
        model.save_pretrained(unfinished)
        tokenizer.save_pretrained(unfinished)
        unfinished.rename(folder)


if __name__ == "__main__":
    convert(Path(sys.argv[1]), Path(sys.argv[2]))
