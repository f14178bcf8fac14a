"""Tells glad sentences from sad ones by looking the words up in a list.

No model, no download: what is shown is the Space around the app."""

import re

import gradio as gr

WEIGHTS = {
    "good": 1.5, "great": 2.5, "lovely": 2.5, "love": 2.5, "like": 1.0, "fast": 1.0,
    "happy": 2.0, "nice": 1.5, "best": 2.5, "enjoy": 2.0, "works": 1.0, "thanks": 1.5,
    "bad": -1.5, "awful": -2.5, "hate": -2.5, "slow": -1.0, "sad": -2.0, "worst": -2.5,
    "broken": -2.0, "boring": -1.5, "wrong": -1.5, "never": -0.5, "lost": -1.0, "fails": -2.0,
}
NEGATIONS = {"not", "no", "never", "hardly", "isn't", "don't", "doesn't", "wasn't", "didn't"}
STRENGTHENERS = {"very": 1.5, "really": 1.5, "so": 1.3, "extremely": 2.0, "slightly": 0.5}


def score(text: str) -> float:
    """The sum of the words' weights; a negation turns the word after it around."""
    total, factor = 0.0, 1.0
    for word in re.findall(r"[a-z']+", text.lower()):
        if word in NEGATIONS:
            factor = -factor
        elif word in STRENGTHENERS:
            factor *= STRENGTHENERS[word]
        elif word in WEIGHTS:
            total += factor * WEIGHTS[word]
            factor = 1.0
    return total


def classify(text: str) -> dict[str, float]:
    """Shares of "glad" and "sad" that add up to one."""
    glad = 1.0 / (1.0 + 2.718281828 ** -score(text))
    return {"glad": glad, "sad": 1.0 - glad}


demo = gr.Interface(
    fn=classify,
    inputs=gr.Textbox(label="A sentence", placeholder="The build was really fast."),
    outputs=gr.Label(label="It sounds"),
    examples=["The build was really fast, I love it.", "This is not good at all."],
    title="Glad or sad?",
    flagging_mode="never",
)

if __name__ == "__main__":
    # Visitors come in through app_port of README.md, from outside the container.
    demo.launch(server_name="0.0.0.0", server_port=7860)
