"""Ask a served run with OpenAI's own client.

    formtune serve out/reviews/best
    python examples/client.py http://127.0.0.1:8000 "A film that I would see again."

The key is read from FORMTUNE_API_KEY, where the server asks for one.
"""

import os
import sys

import openai


def main(url: str, text: str) -> None:
    """Ask for whatever the run can answer: a label, a chat answer word by word, a continuation."""
    key = os.environ.get("FORMTUNE_API_KEY", "none")
    with openai.OpenAI(base_url=f"{url}/v1", api_key=key) as client:
        model = client.models.list().data[0]
        answers = (model.model_extra or {})["answers"]
        print(f"{model.id} answers {', '.join(answers)}")
        if "classify" in answers:
            found = client.post("/classify", body={"input": text}, cast_to=dict[str, list[dict[str, object]]])
            print("label:", found["data"][0]["label"], found["data"][0]["probabilities"])
        if "chat" in answers:
            chat(client, model.id, text)
        if "completions" in answers:
            print("goes on:", client.completions.create(model=model.id, prompt=text, max_tokens=16).choices[0].text)


def chat(client: openai.OpenAI, model: str, text: str) -> None:
    """Print an answer as it is written."""
    stream = client.chat.completions.create(model=model, messages=[{"role": "user", "content": text}], stream=True)
    print("answer: ", end="")
    for chunk in stream:
        print(chunk.choices[0].delta.content, end="", flush=True)
    print()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
