"""No secret is kept."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from journal import mask

SECRET = "S3cr3tV4lue9xQ"


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        (f"Authorization: Bearer {SECRET}", "Authorization: Bearer ***"),
        (f"authorization: Basic {SECRET}==", "authorization: Basic ***"),
        (f"{{'Authorization': 'Bearer {SECRET}', 'x': 1}}", "{'Authorization': 'Bearer ***', 'x': 1}"),
        (f"Authorization: {SECRET}", "Authorization: ***"),
        (f"sent bearer {SECRET} to host", "sent bearer *** to host"),
        (f"api_key={SECRET} rest", "api_key=*** rest"),
        (f"CIVITAI_API_KEY={SECRET}", "CIVITAI_API_KEY=***"),
        (f"export HF_TOKEN='{SECRET} with blanks' && run", "export HF_TOKEN=*** && run"),
        (f'{{"client_secret": "{SECRET}", "port": 8188}}', '{"client_secret": ***, "port": 8188}'),
        (f"X-Api-Key: {SECRET}", "X-Api-Key: ***"),
        (f"password = {SECRET}", "password = ***"),
        (f"PASSWD: {SECRET}", "PASSWD: ***"),
        (f"main.py --port 8188 --api-key {SECRET} --cpu", "main.py --port 8188 --api-key *** --cpu"),
        (f"main.py --comfy-api-token={SECRET}", "main.py --comfy-api-token=***"),
        (f"--password '{SECRET} {SECRET}' -v", "--password *** -v"),
        (
            f"GET https://civitai.com/api/download/1?token={SECRET}&type=x",
            "GET https://civitai.com/api/download/1?token=***&type=x",
        ),
        (f"git clone https://me:{SECRET}@example.org/r.git", "git clone https://me:***@example.org/r.git"),
        (f"git clone https://{SECRET}@example.org/r.git", "git clone https://***@example.org/r.git"),
        (f"http://u:{SECRET}/x@proxy:3128", f"http://u:{SECRET}/x@proxy:3128"),  # a path, not credentials
        ("loading hf_abcdefghijklmnop from hub", "loading *** from hub"),
        ("loading hf_transferredelsewhere1 from hub", "loading *** from hub"),
        ("key sk-proj-abcdefghijklmnop1234 used", "key *** used"),
        ("ghp_abcdefghijklmnopqrst1234", "***"),
        ("github_pat_11ABCDEFG0abcdefghij_x", "***"),
        ("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.abcdefghijk", "***"),
    ],
)
def test_a_secret_is_masked_and_the_rest_stays(text: str, masked: str):
    assert mask(text) == masked


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Starting server\n\nTo see the GUI go to: http://127.0.0.1:8188",
        "python main.py --listen 0.0.0.0 --port 8188 --max-tokens 77",
        "max_tokens=77 tokenizer=clip num_tokens: 5",
        "got prompt; sk- and hf_ are prefixes",
        "https://files.example.org/hf_transfer-0.1.9-cp38-abi3.whl",
        "http://[::1]:8188/system_stats?x=1@2",
        "mail me@example.org",
        "RuntimeError: size mismatch for token_embedding.weight: [1, 2]",
        "a ring-bearer",
    ],
)
def test_text_without_secrets_stays_as_it_is(text: str):
    assert mask(text) == text


PIECES = st.sampled_from(
    [
        "token",
        "=",
        ":",
        " ",
        "--api-key",
        SECRET,
        "Bearer",
        "Authorization",
        "https://",
        "@",
        "'",
        '"',
        "hf_",
        "\n",
        "***",
    ]
)


@given(st.lists(PIECES | st.text(max_size=5), max_size=12).map("".join))
@example("token=''token")
@example("hf_tokentoken--api-key token")
def test_masking_twice_changes_nothing(text: str):
    assert mask(mask(text)) == mask(text)


@pytest.mark.parametrize("piece", ["a", "token", "api_key-", "://", "http://a", "Bearer ", "-_", "eyJa.", "'"])
def test_a_very_long_line_is_masked_in_no_time(piece: str):
    assert mask(piece * (50_000 // len(piece)))
