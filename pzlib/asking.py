"""G answers to each of some texts, from the model being trained: the one place that touches TRL's way of generating.
Leaves out chat templates: a prompt is raw text."""

from pzlib.sampling import sample

ROLLOUT_TOKENS = 200_000  # prompt and completion tokens that grow at once: bounds the key-value cache's memory


def ask(run, tokenizer, texts, trainer, generator, stop=()):
    """For each text a list of G (prompt_ids, completion_ids, text, entropy, clipped, logprobs), by vLLM or `sample`.

    entropy: mean nats a token; clipped: cut at max_completion_tokens; logprobs: of the drawn tokens, None without vLLM.
    stop: ids of tokens that end an answer besides the end token; `settings` tells vLLM of them.
    """
    if not texts:
        return []
    G, prompts = run.group, tokenizer(texts)["input_ids"]
    ends = [*trainer.eos_token_ids, *stop]
    if trainer.use_vllm:
        repeated = [p for p in prompts for _ in range(G)]
        _, ids, logprobs, _ = trainer.vllm_generation.generate(prompts=repeated, images=None, num_generations=G)
        logprobs = [[token[0] for token in row] for row in logprobs]
        # vLLM gives no distribution; minus the drawn tokens' log-probabilities estimates its entropy
        # unbiasedly.
        entropy = [-sum(p or 0.0 for p in row) / len(row) for row in logprobs]
        clipped = [row[-1] not in ends for row in ids]
    else:
        model = trainer.accelerator.unwrap_model(trainer.model_wrapped)
        with trainer.accelerator.autocast():
            drawn = sample(
                model,
                prompts,
                G,
                max_new_tokens=run.max_completion_tokens,
                eos_ids=ends,
                pad_id=tokenizer.pad_token_id,
                temperature=run.temperature,
                top_p=run.top_p,
                generator=generator,
                max_rows=G * max(1, ROLLOUT_TOKENS // (run.max_prompt_tokens + G * run.max_completion_tokens)),
            )
        ids, entropy, clipped = drawn.completion_ids, drawn.entropy, drawn.clipped
        logprobs = [None] * len(ids)
    # Only the end token goes: a tokenizer may call `\mask{` special, and skipping special tokens would
    # eat it.
    bare = [row if cut else row[:-1] for row, cut in zip(ids, clipped, strict=True)]
    said = tokenizer.batch_decode(bare, skip_special_tokens=False, clean_up_tokenization_spaces=False)
    each = zip((p for p in prompts for _ in range(G)), ids, said, entropy, clipped, logprobs, strict=True)
    each = list(each)
    return [each[i : i + G] for i in range(0, len(each), G)]
