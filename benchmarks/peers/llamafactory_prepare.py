"""LLaMA-Factory's own preparation of conversations; prints one JSON object.

python llamafactory_prepare.py MODEL ROWS.jsonl N_PROCESSES OUT

Run with the Python of LLaMA-Factory's environment. Counted and left out is the same as in `trl_prepare.py`.
"""

import json
import sys
from pathlib import Path

import pyarrow.compute as pc
from llamafactory_dataset import made

CAPACITY = 2048
ROLES = {"user_tag": "user", "assistant_tag": "assistant", "system_tag": "system"}
LAYOUT = {
    "formatting": "sharegpt",
    "columns": {"messages": "messages"},
    "tags": {"role_tag": "role", "content_tag": "content", **ROLES},
}


def main(model_folder: str, rows_path: str, *, n_processes: int, out: str) -> None:
    """Prepare and tell what it took."""
    Path(out).mkdir()
    described = {"rows": {"file_name": rows_path, **LAYOUT}}
    (Path(out) / "dataset_info.json").write_text(json.dumps(described), encoding="utf-8")
    packed, seconds = made(
        model_folder,
        dataset_dir=out,
        cutoff_len=CAPACITY,
        packing=True,
        neat_packing=True,
        preprocessing_num_workers=n_processes if n_processes > 1 else None,
        output_dir=f"{out}/run",
    )
    columns = packed.with_format("arrow").data
    told = {
        "seconds": seconds,
        "n_packs": len(packed),
        "n_tokens": pc.sum(pc.greater(pc.list_flatten(columns.column("attention_mask")), 0)).as_py(),
        "n_learned": pc.sum(pc.not_equal(pc.list_flatten(columns.column("labels")), -100)).as_py(),
    }
    print(json.dumps(told))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], n_processes=int(sys.argv[3]), out=sys.argv[4])
