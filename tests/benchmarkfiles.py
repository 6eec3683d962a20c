"""Made-up benchmark files in the published columns, a tiny real-format model, and a model that knows the answers."""

import json

import pandas as pd
import pytest

CHOICES = ["one", "two", "three"]
# Two made-up questions a benchmark, in the columns of the hub's data set or of the public files, and their golds.
MADE = {
    "mmlu_pro": [{"question_id": 7, "question": "1 + 1?", "options": CHOICES, "answer": "B", "src": "x-Sums",
                  "category": "math"},
                 {"question_id": 9, "question": "1 + 2?", "options": CHOICES, "answer": "C", "src": "x-Sums",
                  "category": "health"}],
    "supergpqa": [{"question": "1 + 1?\n Options are:\nA. one\nB. two", "answer": "B. two"},
                  {"question": "0 + 1?\n Options are:\nA. one\nB. two", "answer": "A. one"}],
    "bbeh": [{"task": "word sorting", "input": "Sort b, a.", "target": "a, b"},
             {"task": "boolean", "input": "Is not not True?", "target": "Yes"}],
    "math500": [{"problem": "Half of 1?", "solution": r"It is $\boxed{\frac{1}{2}}$.", "answer": r"\frac{1}{2}"},
                {"problem": "Half of 6?", "solution": r"It is $\boxed{3}$.", "answer": "3"}],
    "gsm8k": [{"question": "Ann has 500 and 700?", "answer": "500 + 700 = <<500+700=1200>>1200\n#### 1,200"},
              {"question": "Ann loses 3?", "answer": "#### -3"}],
    "aime24": [{"id": 60, "problem": "Fifth of 125?", "answer": "025"},
               {"id": 61, "problem": "9 x 9?", "answer": "81"}],
    "amc23": [{"id": 0, "question": "3 x 9?", "answer": 27.0}, {"id": 1, "question": "Half of 1?", "answer": 0.5}],
    "minerva": [{"problem": "How far?", "solution": r"So \boxed{1.6} \mathrm{~cm}", "type": "Astronomy", "idx": 0},
                {"problem": "How hot?", "solution": r"So \boxed{4e33}", "type": "Chemistry", "idx": 1}],
    "olympiadbench": [{"id": 1606, "question": "How many?", "context": None, "final_answer": ["2"]},
                      {"id": 1607, "question": "And?", "context": "Let n = 1.", "final_answer": ["$n+1$"]}],
    "aime25": [{"problem": "7 x 10?", "answer": "70"}, {"problem": "2 x 8?", "answer": "16"}],
}  # fmt: skip
GOLDS = {
    "mmlu_pro": ["B", "C"], "supergpqa": ["B", "A"], "bbeh": ["a, b", "Yes"], "math500": [r"\frac{1}{2}", "3"],
    "gsm8k": ["1200", "-3"], "aime24": ["025", "81"], "amc23": ["27", "0.5"], "minerva": ["1.6", "4e33"],
    "olympiadbench": ["2", "$n+1$"], "aime25": ["70", "16"],
}  # fmt: skip


@pytest.fixture(scope="session")
def benchmark_files(tmp_path_factory):
    """A folder of made-up files, named as public copies are."""
    return write(tmp_path_factory.mktemp("benchmarks"))


def write(folder):
    """The files of `benchmark_files`, in `folder`, which is returned."""
    folder.mkdir(exist_ok=True)
    for task, rows in MADE.items():
        if task == "bbeh":
            (folder / "mini.json").write_text(json.dumps({"examples": rows, "canary": "x"}))
        elif task == "aime25":
            pd.DataFrame(rows).to_parquet(folder / "aime25.parquet")
        else:
            (folder / f"{task}_test.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "mmlu_pro_validation.jsonl").write_text(
        "".join(
            json.dumps(row | {"cot_content": "A: Let's think step by step. The answer is (B)."}) + "\n"
            for row in MADE["mmlu_pro"] * 5
        )
    )
    return folder


BOXED = "Please reason step by step, and put your final answer within \\boxed{}."


def tiny_bpe(folder, seed=0, context=2048, texts=(BOXED,) * 3, words=400):
    """A random Qwen3 (2 layers of 32) with a byte-level BPE tokenizer of `texts`, saved to `folder`; returns that."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM

    torch.set_num_threads(1)
    size, words = words, Tokenizer(models.BPE())
    words.pre_tokenizer, words.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    end, letters = "<|endoftext|>", pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=size, initial_alphabet=letters, special_tokens=[end], show_progress=False)
    words.train_from_iterator(texts, trainer)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=words, eos_token=end)
    tokenizer.save_pretrained(folder)
    config = Qwen3Config(
        vocab_size=len(tokenizer), hidden_size=32, intermediate_size=64, num_hidden_layers=2,
        num_attention_heads=2, num_key_value_heads=1, head_dim=16, max_position_embeddings=context,
        tie_word_embeddings=True, pad_token_id=None, eos_token_id=0, bos_token_id=None,
    )  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        Qwen3ForCausalLM(config).save_pretrained(folder)
    return str(folder)


def oracle(answer):
    """A model of the harness whose i-th completion of a prompt is answer(prompt, i); it reads 4,000 letters."""

    class Oracle:  # no LM by name, but all that the harness asks of one
        max_length, rank, world_size = 4000, 0, 1

        def tokenizer(self, texts, **_):
            return {"input_ids": [list(text) for text in texts]}

        def generate_until(self, requests):
            seen, said = {}, []
            for request in requests:
                prompt = request.args[0]
                seen[prompt] = seen.get(prompt, -1) + 1
                said.append(answer(prompt, seen[prompt]))
            return said

    return Oracle()
