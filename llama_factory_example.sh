#!/usr/bin/env bash
# Recipes to copy from. Each is one command; run it by its name:
#
#     bash llama_factory_example.sh                 lists them
#     bash llama_factory_example.sh lora            runs one
#     bash llama_factory_example.sh lora --demo     20 steps on the bundled demo model (CPU)
#
# Your own model and data: MODEL=... DATA=... CHAT_DATA=... bash llama_factory_example.sh lora
set -euo pipefail
here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
python="$here/.venv/bin/python"
[ -x "$python" ] || python=python3

MODEL="${MODEL:-Qwen/Qwen3-0.6B}"
DATA="${DATA:-my_data.json}"
CHAT_DATA="${CHAT_DATA:-my_chats.json}"
PAIRS="${PAIRS:-my_pairs.json}"
RUNS="${RUNS:-runs}"
demo=()

tune() { # prints the command, then runs it
    printf '+ python llama_factory_fine_tuning.py'
    printf ' %q' "$@" ${demo[@]+"${demo[@]}"}
    printf '\n'
    "$python" "$here/llama_factory_fine_tuning.py" "$@" ${demo[@]+"${demo[@]}"}
}

lora() { ## LoRA on instruction data (Alpaca)
    tune --model_name_or_path "$MODEL" --dataset_path "$DATA" --dataset_format alpaca \
        --output_dir "$RUNS/lora" --lora_rank 8 --lora_alpha 32 --epochs 3
}

qlora4() { ## QLoRA: the base model in 4 bits
    tune --model_name_or_path "$MODEL" --dataset_path "$DATA" --dataset_format alpaca \
        --output_dir "$RUNS/qlora4" --lora_rank 16 --quantization "4bit" --batch_size 4
}

qlora8() { ## QLoRA: the base model in 8 bits
    tune --model_name_or_path "$MODEL" --dataset_path "$DATA" --dataset_format alpaca \
        --output_dir "$RUNS/qlora8" --lora_rank 16 --quantization "8bit" --batch_size 4
}

chat() { ## LoRA on conversations of several turns (ShareGPT)
    tune --model_name_or_path "$MODEL" --dataset_path "$CHAT_DATA" --dataset_format sharegpt \
        --output_dir "$RUNS/chat"
}

full() { ## all weights are trained
    tune --model_name_or_path "$MODEL" --dataset_path "$DATA" --method full \
        --output_dir "$RUNS/full" --epochs 1
}

preset() { ## settings from a file in configs/, one of them overridden
    tune --preset lora --model_name_or_path "$MODEL" --dataset_path "$DATA" \
        --output_dir "$RUNS/preset" --lora_rank 32
}

dpo() { ## a chain: LoRA on answers, then preference pairs from that very model
    lora
    tune --from_run "$RUNS/lora" --stage dpo --dataset_path "$PAIRS" --output_dir "$RUNS/dpo"
}

reward() { ## a chain: LoRA on answers, a reward model of it, answers that this rewards (GRPO)
    lora
    tune --from_run "$RUNS/lora" --stage rm --dataset_path "$PAIRS" --output_dir "$RUNS/reward" \
        --export_dir "$RUNS/judge"
    tune --from_run "$RUNS/lora" --stage grpo --reward "$RUNS/judge" --dataset_path "$DATA" \
        --output_dir "$RUNS/reward-grpo"
    "$python" "$here/llama_factory_fine_tuning.py" score --model_name_or_path "$RUNS/judge" \
        --dataset_path "$PAIRS" --report "$RUNS/judge-scores.json"
}

export() { ## the merged model of a finished run (here: of the recipe lora)
    tune --model_name_or_path "$MODEL" --dataset_path "$DATA" \
        --output_dir "$RUNS/lora" --export_dir "$RUNS/lora-merged"
}

grpo() { ## rewards of its own answers (GRPO), from where the recipe lora ended
    tune --from_run "$RUNS/lora" --stage grpo --reward exact_match=1 length:200=0.2 \
        --dataset_path "$DATA" --dataset_format alpaca --output_dir "$RUNS/grpo" --epochs 1
}

form() { ## answers in one form (GRPO, rewarded by a pattern): seen to be learned in minutes
    tune --from_run "$RUNS/lora" --stage grpo --reward "regex:${FORM:-^\{.+\}\$}" \
        --dataset_path "$DATA" --output_dir "$RUNS/form" --temperature 1.3
}

gate() { ## is the fine-tune of the recipe lora good enough? (exit code 1: no; for CI)
    cat >"$RUNS/gate.yaml" <<'YAML'
loss: {better_by: 0.05, confidence: 0.95}
stops: {at_least: 0.9}
secrets: {at_most: 0}
YAML
    tune eval --output_dir "$RUNS/lora" --gate "$RUNS/gate.yaml" --junit "$RUNS/gate.xml" \
        --no_forgetting
}

webui() { ## LLaMA Board in the browser, over the prepared datasets
    tune webui
}

gpus() { ## several GPUs of one machine (without the flag: all of them)
    tune --model_name_or_path "$MODEL" --dataset_path "$DATA" \
        --output_dir "$RUNS/gpus" --nproc_per_node "${GPUS:-2}"
}

nodes() { ## several machines: run it on each, with NODE_RANK=0, 1 ...
    tune --model_name_or_path "$MODEL" --dataset_path "$DATA" \
        --output_dir "$RUNS/nodes" --nnodes "${NNODES:-2}" --nproc_per_node "${GPUS:-8}" \
        --node_rank "${NODE_RANK:-0}" --master_addr "${MASTER_ADDR:-10.0.0.1}" --master_port 29500
}

recipes() {
    grep -E '^[a-z0-9]+\(\) \{ ## ' "${BASH_SOURCE[0]}" | sed -E 's/\(\) \{ ## /\t/' | expand -t 10
}

# The demo model stands in for yours, and what the machine lacks is made small.
demo_nodes() { # two machines, both this one
    GPUS=1 MASTER_ADDR=127.0.0.1
    NODE_RANK=1 nodes &
    local other=$!
    NODE_RANK=0 nodes
    wait "$other"
}

demo_webui() { # starts, answers, ends
    local output
    output="$(mktemp)"
    "$python" "$here/llama_factory_fine_tuning.py" webui >"$output" 2>&1 &
    local server=$!
    for _ in $(seq 120); do
        if grep -q 'http://' "$output" || ! kill -0 "$server" 2>/dev/null; then break; fi
        sleep 1
    done
    kill -TERM "$server" 2>/dev/null || true # a shell's background job does not hear Ctrl-C
    wait "$server" || true
    cat "$output"
    grep -q 'http://' "$output"
}

if [ $# -eq 0 ]; then
    echo "Recipes (bash llama_factory_example.sh NAME [--demo]):"
    recipes
    exit 0
fi
name="$1"
if ! recipes | cut -d' ' -f1 | grep -qx -- "$name"; then
    echo "error: there is no recipe '$name'. Recipes:" >&2
    recipes >&2
    exit 2
fi
shift
if [ "${1:-}" = "--demo" ]; then
    MODEL="$here/demo_model" DATA="$here/data/alpaca.json" CHAT_DATA="$here/data/sharegpt.json"
    PAIRS="$here/data/preference.json"
    if [[ ! "$name" =~ ^(export|gate)$ ]]; then
        demo=(--use_cpu --max_steps 20 --score_samples 8)
        if [ "$name" = grpo ]; then demo=(--use_cpu --max_steps 3 --score_samples 8); fi
        if [ "$name" = form ]; then # the sample's card, which the recipe lora has half learned
            FORM='^\{"(topic|主题)": "[^"]+"(, "[^"]+": "[^"]+")+\}$'
            demo=(--use_cpu --max_steps 20 --max_completion_length 48)
        fi
    fi
    [ "$(type -t "demo_$name" || true)" = function ] && { "demo_$name"; exit; }
fi
"$name"
