from __future__ import annotations

import torch
from transformers import LlamaConfig, LlamaForCausalLM

from workbench.training.copying import write_induction


def small_llama(write: bool) -> LlamaForCausalLM:
    torch.manual_seed(0)
    rope = {"rope_type": "default", "rope_theta": 1e6}
    sizes = {"hidden_size": 192, "intermediate_size": 256, "num_hidden_layers": 2, "num_attention_heads": 6}
    model = LlamaForCausalLM(
        LlamaConfig(vocab_size=512, tie_word_embeddings=True, rope_parameters=rope, **sizes)
    ).eval()
    if write:
        write_induction(model)
    model.set_attn_implementation("eager")
    return model


@torch.no_grad()
def test_a_fresh_model_finds_where_a_random_sequence_stood_before_and_what_came_next():
    torch.manual_seed(1)
    words = torch.randint(0, 512, (8, 20))
    ids = torch.cat([torch.randint(0, 512, (8, 60)), words, torch.randint(0, 512, (8, 60)), words], dim=1)
    right, looked = {}, {}
    for write in (False, True):
        output = small_llama(write)(input_ids=ids, output_attentions=True)
        rank = (output.logits[:, -20:-1] > output.logits[:, -20:-1].gather(2, ids[:, -19:, None])).sum(-1)
        right[write] = float((rank < 5).float().mean())
        # the token to copy stands 79 places before the one that asks for it
        looked[write] = float(output.attentions[1][:, :2].diagonal(-79, 2, 3)[..., -15:].mean())
    assert looked[False] < 0.05 and looked[True] > 0.5
    assert right[False] < 0.05 and right[True] > 0.5


@torch.no_grad()
def test_the_first_heads_look_one_and_two_tokens_back():
    ids = torch.randint(0, 512, (4, 50))
    attention = small_llama(True)(input_ids=ids, output_attentions=True).attentions[0]
    assert [float(attention[:, h].diagonal(-h - 1, 1, 2).mean()) > 0.6 for h in (0, 1)] == [True, True]
