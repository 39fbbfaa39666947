"""Languages are told by their words where that is sure, and text in the wrong one is found."""

import pytest

from aidsafe_dagster.quality.languages import identify_language
from aidsafe_dagster.recipe.languages import (
    are_alike,
    asked_text,
    not_in_language,
    other_language,
    told_language,
)
from aidsafe_dagster.recipe.records import Message
from tests.builders import a_prompt
from tests.recipe.refusal_wordings import REFUSALS, RESPONSES, THOUGHTS

PROMPTS = {
    "en": "How can I open a door when the key is broken off inside the lock?",
    "de": "Wie kann ich eine Tür öffnen, wenn der Schlüssel im Schloss abgebrochen ist?",
    "fr": "Comment puis-je ouvrir une porte quand la clé est cassée dans la serrure ?",
    "es": "¿Cómo puedo abrir una puerta cuando la llave se ha roto dentro de la cerradura?",
    "it": "Come posso aprire una porta quando la chiave si è spezzata nella serratura?",
    "pt": "Como posso abrir uma porta quando a chave quebrou dentro da fechadura?",
    "nl": "Hoe kan ik een deur openen als de sleutel in het slot is afgebroken?",
    "ru": "Как открыть дверь, если ключ сломался внутри замка?",
    "ar": "كيف يمكنني فتح الباب إذا انكسر المفتاح داخل القفل؟",
    "zh": "如果钥匙断在锁里面了，我该怎么打开这扇门呢？",
    "ja": "鍵が錠の中で折れてしまった場合、どうやってドアを開ければよいですか？",
    "ko": "열쇠가 자물쇠 안에서 부러졌을 때 문을 어떻게 열 수 있나요?",
    "hi": "अगर चाबी ताले के अंदर टूट गई हो तो मैं दरवाज़ा कैसे खोल सकता हूँ?",
    "tr": "Anahtar kilidin içinde kırıldığında kapıyı nasıl açabilirim?",
    "vi": "Làm thế nào để mở cửa khi chìa khóa bị gãy bên trong ổ khóa?",
    "id": "Bagaimana saya bisa membuka pintu kalau kuncinya patah di dalam gembok?",
    "pl": "Jak mogę otworzyć drzwi, gdy klucz złamał się w zamku?",
}
ANSWERS = {
    "en": "Pull the broken piece out with thin pliers, or ask a locksmith to take the lock apart. Do not push it in further.",
    "de": "Ziehen Sie das abgebrochene Stück mit einer schmalen Zange heraus oder bitten Sie einen Schlosser, das Schloss auszubauen.",
    "fr": "Retirez le morceau cassé avec une pince fine, ou demandez à un serrurier de démonter la serrure sans forcer.",
    "es": "Saque el trozo roto con unos alicates finos o pida a un cerrajero que desmonte la cerradura sin forzarla.",
    "it": "Estragga il pezzo rotto con una pinza sottile oppure chieda a un fabbro di smontare la serratura senza forzare.",
    "pt": "Retire o pedaço quebrado com um alicate fino ou peça a um chaveiro que desmonte a fechadura sem forçar.",
    "nl": "Trek het afgebroken stuk er met een smalle tang uit of vraag een slotenmaker om het slot uit elkaar te halen.",
    "ru": "Вытащите обломок тонкими плоскогубцами или попросите слесаря разобрать замок. Не толкайте его глубже.",
    "ar": "اسحب القطعة المكسورة بكماشة رفيعة، أو اطلب من صانع أقفال أن يفكك القفل، ولا تدفعها إلى الداخل.",
    "zh": "请用细嘴钳把断掉的部分拔出来，或者请锁匠把锁拆开，千万不要再往里面推，以免损坏。",
    "ja": "細いペンチで折れた部分を引き抜くか、鍵屋に錠を分解してもらってください。奥に押し込まないでください。",
    "ko": "가는 집게로 부러진 조각을 빼내거나 열쇠공에게 자물쇠를 분해해 달라고 부탁하세요. 더 밀어 넣지 마세요.",
    "hi": "पतले प्लास से टूटा हुआ टुकड़ा बाहर खींचें, या ताला बनाने वाले से ताला खुलवाएँ। उसे और अंदर न धकेलें।",
    "tr": "Kırık parçayı ince bir penseyle çekip çıkarın ya da bir çilingirden kilidi sökmesini isteyin, daha içeri itmeyin.",
    "vi": "Hãy dùng kìm nhỏ kéo mảnh gãy ra, hoặc nhờ thợ khóa tháo ổ khóa, và đừng đẩy nó vào sâu hơn nữa.",
    "id": "Tarik potongan yang patah dengan tang kecil atau mintalah tukang kunci untuk membongkar gembok itu, jangan didorong masuk.",
    "pl": "Wyciągnij złamany kawałek cienkimi szczypcami albo poproś ślusarza, żeby rozebrał zamek, i nie wpychaj go głębiej.",
}


def found(text: str, prompt: str) -> str | None:
    return other_language(text, prompt, identify_language)


@pytest.mark.parametrize("asked", PROMPTS)
def test_an_answer_in_the_prompts_language_passes(asked: str) -> None:
    assert found(ANSWERS[asked], PROMPTS[asked]) is None


def test_an_answer_in_another_language_is_found() -> None:
    pairs = [(a, b) for a in PROMPTS for b in ANSWERS if a != b]
    caught = [pair for pair in pairs if found(ANSWERS[pair[1]], PROMPTS[pair[0]])]
    assert len(caught) >= 0.9 * len(pairs)


@pytest.mark.parametrize("said", [code for code in ANSWERS if code != "en"])
def test_an_answer_in_another_language_than_english_is_found(said: str) -> None:
    assert found(ANSWERS[said], PROMPTS["en"])


def test_a_language_that_is_ruled_out_is_not_the_texts() -> None:
    wrong = []
    for code, text in (*REFUSALS, *THOUGHTS, *RESPONSES):
        # Some quote another language.
        if any(sign in text for sign in "«„「"):
            continue
        shares = identify_language(text)
        likeliest = next(iter(shares))
        is_sure = shares[likeliest] >= 0.99 and len(text) >= 25
        if is_sure and not are_alike(likeliest, code):
            wrong.append((code, likeliest, text))
    assert wrong == []


@pytest.mark.parametrize(
    ("prompt", "response"),
    [
        (
            "Translate 'Pull it out with thin pliers' into German, please.",
            ANSWERS["de"],
        ),
        ("Please answer in Spanish: how do I get a broken key out?", ANSWERS["es"]),
        ("How do you say this in Japanese: pull the piece out?", ANSWERS["ja"]),
        ("Übersetze das bitte ins Englische: Ziehen Sie es heraus.", ANSWERS["en"]),
        ("用英文回答：钥匙断在锁里面了怎么办？", ANSWERS["en"]),
        ("Réponds en anglais : comment ouvrir une porte sans clé ?", ANSWERS["en"]),
        ("Key?", ANSWERS["de"]),
        ("Johann Sebastian Bach", ANSWERS["de"]),
        ("print(sorted(x)) # 你好世界你好世界 what does this do", ANSWERS["zh"]),
        (PROMPTS["en"], "Gesundheit!"),
        (PROMPTS["en"], "```\nfür jede Tür öffne das Schloss und gehe weiter\n```"),
        (PROMPTS["en"], 'Say: "Ziehen Sie das Stück mit einer Zange heraus, bitte."'),
        (PROMPTS["en"], "Le Monde, Die Zeit, El País, Corriere della Sera"),
        (PROMPTS["en"], "x = 12; y = 3 ** 4; z = x / y; print(z, x, y)"),
        (f"{PROMPTS['en']} {PROMPTS['zh']}", ANSWERS["zh"]),
        ("", ANSWERS["de"]),
        (PROMPTS["en"], ""),
    ],
)
def test_no_verdict_where_another_language_is_due_or_nothing_is_sure(
    prompt: str, response: str
) -> None:
    assert found(response, prompt) is None


def test_english_beside_the_prompts_language_may_be_allowed() -> None:
    reason = other_language(ANSWERS["en"], PROMPTS["de"], identify_language)
    assert reason is not None
    assert "'en'" in reason
    also = ("en",)
    assert other_language(ANSWERS["en"], PROMPTS["de"], identify_language, also) is None
    assert other_language(ANSWERS["fr"], PROMPTS["de"], identify_language, also)


def test_an_answer_half_in_another_script_is_found() -> None:
    prompt = "How do I make soap from lye at home?"
    english = "Lye burns the skin, so wear gloves and goggles first. "
    chinese = "碱液具有强烈的腐蚀性，所以首先要戴上手套和护目镜。"
    assert other_language(english + chinese, prompt, identify_language)
    # A term in brackets is no half.
    term = "The hills are called 丹霞地貌 and are red. " + english
    assert other_language(term, prompt, identify_language) is None


@pytest.mark.parametrize("code", PROMPTS)
def test_a_sentence_is_in_its_language(code: str) -> None:
    told = told_language(PROMPTS[code], identify_language)
    assert told in ("", code) or are_alike(told, code)


@pytest.mark.parametrize("text", ["", "ok", "42 + 1 = ?", "`ls -l`", "да yes हाँ 是"])
def test_of_a_short_or_mixed_text_no_language_is_told(text: str) -> None:
    assert told_language(text, identify_language) == ""


@pytest.mark.parametrize("wanted", ["de", "zh", "ar", "en"])
def test_where_one_language_is_due_the_prompts_own_does_not_count(wanted: str) -> None:
    for language, said in ANSWERS.items():
        reason = not_in_language(said, PROMPTS["fr"], wanted, identify_language)
        assert (reason is None) == (language == wanted), language


def test_the_last_turn_tells_the_language_of_a_conversation_unless_it_is_short() -> (
    None
):
    before = (
        Message(role="user", content=PROMPTS["de"]),
        Message(role="assistant", content=ANSWERS["fr"]),
    )
    short = a_prompt(prompt="OK?", earlier=before)
    assert other_language(ANSWERS["fr"], asked_text(short), identify_language)
    assert not other_language(ANSWERS["de"], asked_text(short), identify_language)
    long = a_prompt(prompt=PROMPTS["zh"], earlier=before)
    assert other_language(ANSWERS["de"], asked_text(long), identify_language)
    assert not other_language(ANSWERS["zh"], asked_text(long), identify_language)
